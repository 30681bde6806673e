"""Instance ids for Occ3D labels, from the annotated boxes, as SparseOcc's panoptic labels have them.

Source: Liu et al., "Fully Sparse 3D Occupancy Prediction" (SparseOcc, ECCV 2024); Panoptic-FlashOcc is scored on the same labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from occ_perception.datasets.nuscenes import NuScenes, Sample
from occ_perception.datasets.nuscenes_objects import occ3d_class
from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.geometry.transforms import apply, inverse
from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import FREE

BOXED_CLASSES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
"""Classes whose instances are told apart by boxes; all others get one id for the whole class."""
MARGIN_M = 0.4
"""How far outside a box, on each side, voxels of its class still belong to it."""


@dataclass(frozen=True)
class ClassBox:
    """A box of an Occ3D class in the ego frame: ego_from_box (4, 4), x along its length; size_m length, width, height."""

    label: int
    ego_from_box: np.ndarray
    size_m: tuple[float, float, float]


def boxes_of(tables: NuScenes, sample: Sample, fixed_from_ego: np.ndarray) -> list[ClassBox]:
    """A key frame's annotated objects of the ten detection classes, in the order of the table, however little of them is seen."""
    ego_from_fixed = inverse(fixed_from_ego)
    found = [(occ3d_class(box.category), box) for box in tables.boxes(sample)]
    return [ClassBox(label, ego_from_fixed @ box.fixed_from_box, box.size_m) for label, box in found if label]


def with_instances(truth: OccupancyTruth, boxes: Sequence[ClassBox], grid: VoxelGridSpec = OCC3D_GRID) -> OccupancyTruth:
    """The truth with instance ids (uint16, 0 = none).

    Boxes are taken in order: each gets the next id if there is a voxel centre of its class in it that has none yet. Then each class
    without boxes gets one id. Voxels left over join the box of their class with the nearest centre whose borders, moved out by
    MARGIN_M, hold them.
    """
    index = np.argwhere(truth.labels < FREE)
    labels = truth.labels[tuple(index.T)]
    points = (np.asarray(grid.origin_m) + grid.resolution_m * (index + 0.5)).astype(np.float64)
    ids = np.zeros(len(index), np.uint16)
    numbered: list[tuple[int, ClassBox]] = []
    for box in boxes:
        inside = (labels == box.label) & (ids == 0)
        inside[inside] = _within(points[inside], box, 0.0)
        if inside.any():
            numbered.append((len(numbered) + 1, box))
            ids[inside] = len(numbered)
    following = len(numbered)
    for label in np.unique(labels):
        if label not in BOXED_CLASSES:
            following += 1
            ids[labels == label] = following
    left = np.flatnonzero(ids == 0)
    nearest, chosen = np.full(len(left), np.inf), np.zeros(len(left), np.uint16)
    for number, box in numbered:
        distance = ((points[left] - box.ego_from_box[:3, 3]) ** 2).sum(axis=1)
        better = (labels[left] == box.label) & (distance < nearest)
        better[better] = _within(points[left][better], box, MARGIN_M)
        nearest[better], chosen[better] = distance[better], number
    ids[left] = chosen
    instances = np.zeros(truth.labels.shape, np.uint16)
    instances[tuple(index.T)] = ids
    return replace(truth, instances=instances)


def _within(points: np.ndarray, box: ClassBox, margin_m: float) -> np.ndarray:
    """(M,) bool; a point on the border is inside, within a micrometre."""
    return (np.abs(apply(inverse(box.ego_from_box), points)) <= np.asarray(box.size_m) / 2 + margin_m + 1e-6).all(axis=1)

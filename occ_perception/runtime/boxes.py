"""Boxes of a query-based box decoder, and what they make of voxels and points: objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import THINGS
from occ_perception.runtime.frames import Box, Instance
from occ_perception.runtime.panoptic import CORRECTED_CLASSES, HEATMAP_CLASSES

BOX_CLASSES = HEATMAP_CLASSES
"""Classes of the boxes: those of the centre heads, in the same order."""
LABEL_OF_BOX = np.array(CORRECTED_CLASSES.label_of_channel, np.uint8)
"""Occ3D label of each class."""
MAX_BOXES = 300
"""Boxes kept of all queries and classes together (published)."""
CENTER_LIMIT_M = (61.2, 61.2, 10.0)
"""Largest |x|, |y|, |z| of a box's centre (published)."""


@dataclass(frozen=True)
class Boxes:
    """Boxes, the most certain first, in the frame of the network's voxels, metres.

    center (K, 3), size (K, 3) length, width, height, yaw (K,) of the length about z [rad], velocity (K, 2) along x and y [m/s],
    score (K,) 0..1, all float32; label (K,) int64 in BOX_CLASSES. Objects may have several.
    """

    center: np.ndarray
    size: np.ndarray
    yaw: np.ndarray
    velocity: np.ndarray
    score: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def take(self, chosen: np.ndarray) -> Boxes:
        """Some of them."""
        return Boxes(*(getattr(self, name)[chosen] for name in ('center', 'size', 'yaw', 'velocity', 'score', 'label')))

    def listed(self) -> tuple[Box, ...]:
        """The same one by one, with Occ3D labels."""
        columns = (LABEL_OF_BOX[self.label], self.score, self.center, self.size, self.yaw, self.velocity)
        return tuple(Box(label, score, tuple(center), tuple(size), yaw, (*velocity, 0.0))
                     for label, score, center, size, yaw, velocity in zip(*(column.tolist() for column in columns), strict=True))

    def inside(self, number: int, points: np.ndarray) -> np.ndarray:
        """Which points (M, 3) lie in one box, (M,) bool."""
        offset = points - self.center[number]
        cos, sin = np.cos(self.yaw[number]), np.sin(self.yaw[number])
        along, across = offset[:, 0] * cos + offset[:, 1] * sin, offset[:, 1] * cos - offset[:, 0] * sin
        length, width, height = self.size[number] / 2
        return (np.abs(along) <= length) & (np.abs(across) <= width) & (np.abs(offset[:, 2]) <= height)


def decode_boxes(scores: np.ndarray, codes: np.ndarray) -> Boxes:
    """Boxes of a decoder's queries: scores (B, 10) logits, codes (B, 10): cx, cy [m], log width, log length, cz [m], log height,
    sine and cosine of the turn, velocity x, y.

    No suppression (the decoder was trained to name each object once). The turn is counted as mmdetection3d did before version 1:
    from the negative y axis, clockwise.
    """
    chance = expit(scores.astype(np.float32)).reshape(-1)
    best = np.argsort(-chance, kind='stable')[:MAX_BOXES]
    query, label = np.divmod(best, scores.shape[1])
    code = codes[query].astype(np.float32)
    center = code[:, [0, 1, 4]]
    turn = np.arctan2(code[:, 6], code[:, 7])
    yaw = (-turn - np.pi / 2 + np.pi) % (2 * np.pi) - np.pi
    found = Boxes(center, np.exp(code[:, [3, 2, 5]]), yaw.astype(np.float32), code[:, 8:10], chance[best], label)
    return found.take(np.flatnonzero((np.abs(center) <= np.array(CENTER_LIMIT_M, np.float32)).all(1)))


def owners(points: np.ndarray, labels: np.ndarray, boxes: Boxes, things: Sequence[int]) -> np.ndarray:
    """Number of the box that each point (M, 3) with label (M,) belongs to, (M,) int64, -1 for none.

    Boxes take, in the order of their scores, the things inside that no box before them took. A box with things inside most of which
    are taken names an object that has a better box, and takes nothing.
    """
    owner = np.full(len(points), -1, np.int64)
    candidates = np.flatnonzero(np.isin(labels, np.array(things, labels.dtype)))
    spots = points[candidates, :3]
    free = np.ones(len(candidates), bool)
    for number in range(len(boxes)):
        # a coarse cut by one axis first: most points are far from most boxes
        reach = float(np.linalg.norm(boxes.size[number, :2])) / 2
        near = np.flatnonzero(np.abs(spots[:, 0] - boxes.center[number, 0]) <= reach)
        held = near[boxes.inside(number, spots[near])]
        fresh = held[free[held]]
        if len(fresh) * 2 > len(held):
            owner[candidates[fresh]] = number
            free[fresh] = False
    return owner


@dataclass(frozen=True)
class BoxedObjects:
    """Objects that boxes make of a grid's voxels and of points: instance_ids (nx, ny, nz) and point_ids (M,) uint16, 0 = none;
    instances by ascending id, those with most voxels first."""

    instance_ids: np.ndarray
    point_ids: np.ndarray
    instances: tuple[Instance, ...]


def objects_from_boxes(labels: np.ndarray, boxes: Boxes, grid: VoxelGridSpec, points: np.ndarray, point_labels: np.ndarray,
                       things: Sequence[int] = THINGS) -> BoxedObjects:
    """Share out thing voxels of labels (nx, ny, nz), which are refined in place, and thing points (M, 3) among boxes there.

    PanoOcc (Wang et al., CVPR 2024) joins its boxes and its voxels so, in outline: the authors have released no code for it. Boxes
    that own neither voxel nor point are no objects.
    """
    voxels = np.flatnonzero(np.isin(labels, np.array(things, np.uint8)))
    place = np.stack(np.unravel_index(voxels, labels.shape), 1).astype(np.float32)
    centres = place * np.float32(grid.resolution_m) + np.array(grid.origin_m, np.float32) + np.float32(grid.resolution_m / 2)
    flat = labels.reshape(-1)
    owner = owners(centres, flat[voxels], boxes, things)
    point_owner = owners(points, point_labels, boxes, things)
    flat[voxels] = refined(flat[voxels], owner, boxes, things)
    count = np.bincount(owner[owner >= 0], minlength=len(boxes))
    point_count = np.bincount(point_owner[point_owner >= 0], minlength=len(boxes))
    chosen = np.flatnonzero(count + point_count)
    chosen = chosen[np.argsort(-count[chosen], kind='stable')]
    number = np.zeros(len(boxes) + 1, np.uint16)  # the last one, -1, is that of no box
    number[chosen] = np.arange(1, len(chosen) + 1)
    ids = np.zeros(labels.shape, np.uint16)
    ids.reshape(-1)[voxels] = number[owner]
    instances = tuple(Instance(i, box.label, box.score, box.center_m, box.size_m, box.yaw_rad, int(count[at]), box.velocity_m_s)
                      for i, (at, box) in enumerate(zip(chosen, boxes.take(chosen).listed(), strict=True), start=1))
    return BoxedObjects(ids, number[point_owner], instances)


def refined(labels: np.ndarray, owner: np.ndarray, boxes: Boxes, things: Sequence[int]) -> np.ndarray:
    """Labels (M,) of which those that belong to a box (owners) take its class, unless it is no class of things."""
    out = labels.copy()
    taken = np.flatnonzero(owner >= 0)
    of_box = LABEL_OF_BOX[boxes.label[owner[taken]]]
    counts = np.isin(of_box, np.array(things, np.uint8))
    out[taken[counts]] = of_box[counts]
    return out

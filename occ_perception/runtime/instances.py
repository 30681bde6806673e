"""Objects from semantic voxels: boxes around groups of voxels, and connected components for networks without an instance head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import THINGS
from occ_perception.runtime.frames import Instance

_HALF_NEIGHBOURS = [(dx, dy, dz) for dx in (-1, 0, 1) for dy in (-1, 0, 1) for dz in (-1, 0, 1) if (dx, dy, dz) > (0, 0, 0)]


def instances_from_labels(labels: np.ndarray, grid: VoxelGridSpec, min_voxels: int = 3,
                          things: Sequence[int] = THINGS) -> tuple[np.ndarray, tuple[Instance, ...]]:
    """Group thing voxels to objects: (ids (nx, ny, nz) uint16, 0 = none; instances, the largest first, ids from 1).

    labels (nx, ny, nz) uint8. Components of fewer than min_voxels stay without an id. Boxes lie in the grid frame; the heading
    is that of the longer horizontal axis (front and back cannot be told apart). score is 1: components carry no probability.
    """
    lookup = np.zeros(256, bool)
    lookup[list(things)] = True
    voxels = np.flatnonzero(lookup[labels])
    if not len(voxels):
        return np.zeros(labels.shape, np.uint16), ()
    label = labels.reshape(-1)[voxels]
    component = _components(np.stack(np.unravel_index(voxels, labels.shape), axis=1), label, labels.shape)
    return number_groups(voxels, label, component, np.ones(component.max() + 1), grid, min_voxels)


def number_groups(voxels: np.ndarray, label: np.ndarray, group: np.ndarray, score: np.ndarray, grid: VoxelGridSpec,
                  min_voxels: int = 1) -> tuple[np.ndarray, tuple[Instance, ...]]:
    """Ids and boxes of groups of voxels: (ids (nx, ny, nz) uint16, 0 = none; instances, the largest first, ids from 1).

    voxels (M,) flat indices into the grid, label (M,) their class, one class per group; group (M,) group number from 0; score
    (G,) per group. Groups of fewer than min_voxels stay without an id.
    """
    ids = np.zeros(grid.shape, np.uint16)
    count = np.bincount(group, minlength=len(score))
    chosen = np.argsort(-count, kind='stable')
    chosen = chosen[count[chosen] >= max(min_voxels, 1)][:np.iinfo(np.uint16).max]
    number = np.zeros(len(count), np.uint16)
    number[chosen] = np.arange(1, len(chosen) + 1)
    ids.reshape(-1)[voxels] = number[group]
    in_order = np.argsort(number[group], kind='stable')
    in_order = in_order[np.count_nonzero(number[group] == 0):]
    starts = np.cumsum(count[chosen]) - count[chosen]
    index = np.stack(np.unravel_index(voxels[in_order], grid.shape), axis=1)
    points = np.asarray(grid.origin_m) + grid.resolution_m * (index + 0.5)
    center, size, yaw = _boxes(points, starts, grid.resolution_m)
    columns = (label[in_order][starts], score[chosen], center, size, yaw, count[chosen])
    instances = tuple(
        Instance(id=i, label=of_class, score=confidence, center_m=tuple(middle), size_m=tuple(extent), yaw_rad=turn,
                 voxel_count=members)
        for i, (of_class, confidence, middle, extent, turn, members)
        in enumerate(zip(*(column.tolist() for column in columns), strict=True), start=1))
    return ids, instances


def _boxes(points: np.ndarray, starts: np.ndarray, resolution_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upright boxes around groups of voxel centres: centre (G, 3), size (G, 3) (length >= width, height), yaw (G,).

    points (M, 3) group by group, the first of each at starts (G,). The yaw is that of the horizontal principal axis.
    """
    if not len(starts):
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
    count = np.diff(starts, append=len(points))
    group = np.repeat(np.arange(len(starts)), count)
    mean = np.add.reduceat(points[:, :2], starts) / count[:, None]
    dx, dy = (points[:, :2] - mean[group]).T
    xx, yy, xy = np.add.reduceat(np.stack([dx * dx, dy * dy, dx * dy]), starts, axis=1)
    yaw = 0.5 * np.arctan2(2 * xy, xx - yy)
    cos, sin = np.cos(yaw), np.sin(yaw)
    along = np.stack([dx * cos[group] + dy * sin[group], dy * cos[group] - dx * sin[group], points[:, 2]])
    low, high = np.minimum.reduceat(along, starts, axis=1), np.maximum.reduceat(along, starts, axis=1)
    middle = (low + high) / 2
    center = np.stack([mean[:, 0] + middle[0] * cos - middle[1] * sin, mean[:, 1] + middle[0] * sin + middle[1] * cos, middle[2]])
    return center.T, (high - low).T + resolution_m, yaw


def _components(index: np.ndarray, label: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Component number (M,) of voxels (M, 3); voxels join when they touch (26 neighbours) and share their label."""
    padded = tuple(size + 2 for size in shape)
    linear = np.ravel_multi_index(tuple((index + 1).T), padded)
    position = np.full(math.prod(padded), len(linear), np.int32)
    position[linear] = np.arange(len(linear), dtype=np.int32)
    label = np.append(label, np.uint8(255))  # the label of what is no voxel of a thing
    rows, columns = [], []
    for dx, dy, dz in _HALF_NEIGHBOURS:
        at = position[linear + (dx * padded[1] + dy) * padded[2] + dz]
        joined = np.flatnonzero(label[at] == label[:-1])
        rows.append(joined)
        columns.append(at[joined])
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), np.uint8), (row, column)), shape=(len(linear), len(linear)))
    return connected_components(graph, directed=False)[1]

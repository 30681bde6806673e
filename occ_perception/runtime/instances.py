"""Objects from semantic voxels, for networks without an instance head: connected components of each thing class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import THINGS
from occ_perception.runtime.frames import Instance

_HALF_NEIGHBOURS = [(dx, dy, dz) for dx in (-1, 0, 1) for dy in (-1, 0, 1) for dz in (-1, 0, 1) if (dx, dy, dz) > (0, 0, 0)]


def _components(index: np.ndarray, label: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Component number (M,) of voxels (M, 3); voxels join when they touch (26 neighbours) and share their label."""
    padded = np.array(shape) + 2
    linear = np.ravel_multi_index(tuple((index + 1).T), tuple(padded))
    rows, columns = [], []
    for dx, dy, dz in _HALF_NEIGHBOURS:
        wanted = linear + (dx * padded[1] + dy) * padded[2] + dz
        at = np.minimum(np.searchsorted(linear, wanted), len(linear) - 1)
        joined = np.flatnonzero((linear[at] == wanted) & (label[at] == label))
        rows.append(joined)
        columns.append(at[joined])
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), np.uint8), (row, column)), shape=(len(linear), len(linear)))
    return connected_components(graph, directed=False)[1]


def _box(points: np.ndarray, resolution_m: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Upright box around voxel centres (M, 3): centre, size (length >= width, height), yaw of the length axis."""
    offset = points[:, :2] - points[:, :2].mean(axis=0)
    covariance = offset.T @ offset
    yaw = 0.5 * float(np.arctan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1]))
    axes = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    along = points[:, :2] @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    center = np.append((low + high) / 2 @ axes, (points[:, 2].min() + points[:, 2].max()) / 2)
    size = np.append(high - low, np.ptp(points[:, 2])) + resolution_m
    return center, size, yaw


def instances_from_labels(labels: np.ndarray, grid: VoxelGridSpec, min_voxels: int = 3,
                          things: Sequence[int] = THINGS) -> tuple[np.ndarray, tuple[Instance, ...]]:
    """Group thing voxels to objects: (ids (nx, ny, nz) uint16, 0 = none; instances, the largest first, ids from 1).

    labels (nx, ny, nz) uint8. Components of fewer than min_voxels stay without an id. Boxes lie in the grid frame; the heading
    is that of the longer horizontal axis (front and back cannot be told apart). score is 1: components carry no probability.
    """
    ids = np.zeros(labels.shape, np.uint16)
    lookup = np.zeros(256, bool)
    lookup[list(things)] = True
    index = np.argwhere(lookup[labels])
    if not len(index):
        return ids, ()
    label = labels[tuple(index.T)]
    component = _components(index, label, grid.shape)
    count = np.bincount(component)
    order = np.argsort(-count, kind='stable')
    order = order[count[order] >= min_voxels][:np.iinfo(np.uint16).max]
    by_component = np.split(np.argsort(component, kind='stable'), np.cumsum(count)[:-1])
    centers = (np.asarray(grid.origin_m) + grid.resolution_m * (index + 0.5))
    instances = []
    for number, chosen in enumerate(order, start=1):
        members = by_component[chosen]
        ids[tuple(index[members].T)] = number
        center, size, yaw = _box(centers[members], grid.resolution_m)
        instances.append(Instance(
            id=number, label=int(label[members[0]]), score=1.0, center_m=(float(center[0]), float(center[1]), float(center[2])),
            size_m=(float(size[0]), float(size[1]), float(size[2])), yaw_rad=yaw, voxel_count=len(members)))
    return ids, tuple(instances)

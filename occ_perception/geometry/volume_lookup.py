"""Places in a coarse volume of scores as weighted sums of its voxels: what a published code path of two resamplings reads there.

Sums of few voxels need no resampled volume (10 million voxels of 17 scores) and are gathers and products in an exported network.
"""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.voxel_grid import VoxelGridSpec


def point_sums(points: np.ndarray, origin_m: tuple[float, float, float], extent_m: tuple[float, float, float],
               shape: tuple[int, int, int], fine: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """For points (M, 3) [m] in a box: (index (M, K) int64, share (M, K) float32) into a flat volume of `shape` (z, y, x).

    The volume is doubled by trilinear interpolation and read in the voxel of the doubled one that holds the point; points outside
    read the nearest border voxel (PanoOcc's LiDAR segmentation). K = 8. fine: the doubled volume is first resampled to 0.2 x 0.2 x
    0.05 m voxels as published under HR_TEST, whose first and last samples lie half a voxel outside, where zeros mix in. K = 64.
    """
    axes = []
    for axis, size in zip((2, 1, 0), shape, strict=True):
        cells = (_FINE_CELLS[axis] if fine else 2 * size)
        edge = np.float32(extent_m[axis] / cells)
        cell = np.floor((points[:, axis].astype(np.float32) - np.float32(origin_m[axis])) / edge)
        axes.append(_axis_sums(cell.clip(0, cells - 1).astype(np.int64), size, cells if fine else None))
    index = np.zeros((len(points), 1), np.int64)
    share = np.ones((len(points), 1), np.float32)
    for (place, part), size in zip(axes, shape, strict=True):
        index = (index[:, :, None] * size + place[:, None]).reshape(len(points), place.shape[1] * index.shape[1])
        share = (share[:, :, None] * part[:, None]).reshape(index.shape)
    return index, share


def axis_matrix(places_m: np.ndarray, origin_m: float, extent_m: float, size: int) -> np.ndarray:
    """(len(places), size) float32: row by row the shares of an axis's `size` voxels in the doubled voxel that holds each place."""
    cell = np.floor((places_m - origin_m) / (extent_m / (2 * size))).clip(0, 2 * size - 1).astype(np.int64)
    index, share = _axis_sums(cell, size, None)
    matrix = np.zeros((len(places_m), size), np.float32)
    for column in range(index.shape[1]):
        np.add.at(matrix, (np.arange(len(places_m)), index[:, column]), share[:, column])
    return matrix


def fine_shape(queries: tuple[int, int, int]) -> tuple[int, int, int]:
    """(z, y, x) of the scores that PanoOcc's panoptic form makes of voxel queries (along y, x, z)."""
    along_y, along_x, along_z = queries
    return 2 * along_z, 4 * along_y, 4 * along_x


HEIGHTS = 3
"""Places along the vertical middle line of a voxel that are looked up for its label: what is looked up has flatter voxels."""
AXES = 'along_x', 'along_y', 'along_z'


def grid_rows(grid: VoxelGridSpec, queries: tuple[int, int, int], origin_m: tuple[float, float, float],
              extent_m: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """AXES by name, each of axis_matrix: how the scores of a box are read at HEIGHTS places of each voxel of an even grid."""
    shape = fine_shape(queries)
    out = {}
    for axis, name in enumerate(AXES):
        per_voxel = HEIGHTS if name == 'along_z' else 1
        places = grid.origin_m[axis] + grid.resolution_m * (np.arange(grid.shape[axis] * per_voxel) + 0.5) / per_voxel
        out[name] = axis_matrix(places, origin_m[axis], extent_m[axis], shape[2 - axis])
    return out


_FINE_CELLS = 512, 512, 160
"""Voxels along x, y, z of the finer lookup."""


def _doubled(cell: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (M, 2) and shares of cells of the axis doubled; borders repeat."""
    place = (cell + 0.5) / 2 - 0.5
    below = np.floor(place)
    beyond = place - below
    index = np.stack([below, below + 1], 1).clip(0, size - 1).astype(np.int64)
    return index, np.stack([1 - beyond, beyond], 1).astype(np.float32)


def _axis_sums(cell: np.ndarray, size: int, fine_cells: int | None) -> tuple[np.ndarray, np.ndarray]:
    if fine_cells is None:
        return _doubled(cell, size)
    place = (np.linspace(-1, 1, fine_cells, dtype=np.float32)[cell] + 1) * size - np.float32(0.5)
    below = np.floor(place)
    indices, shares = [], []
    for step, part in ((0, 1 - (place - below)), (1, place - below)):
        at = below + step
        inside = (at >= 0) & (at < 2 * size)
        index, share = _doubled(at.clip(0, 2 * size - 1).astype(np.int64), size)
        indices.append(index)
        shares.append(share * (part * inside)[:, None])
    return np.concatenate(indices, 1), np.concatenate(shares, 1).astype(np.float32)

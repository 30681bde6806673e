"""How a bird's-eye-view map of an earlier moment has to be moved to lie under the present one."""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.voxel_grid import VoxelGridSpec


def map_warp(past_from_present: np.ndarray, grid: VoxelGridSpec) -> np.ndarray:
    """(2, 3) float32 that takes a present cell (u, v, 1) to where it lay in the past map.

    past_from_present: (4, 4) between the two ego frames; its motion in the plane counts. u runs along x and v along y, both from -1
    at the centre of the first cell to 1 at that of the last.
    """
    nx, ny, _ = grid.shape
    low = np.asarray(grid.origin_m[:2]) + grid.resolution_m / 2
    half = grid.resolution_m * (np.array([nx, ny]) - 1) / 2
    metres = np.array([[half[0], 0, low[0] + half[0]], [0, half[1], low[1] + half[1]], [0, 0, 1]])
    motion = np.eye(3)
    motion[:2, :2], motion[:2, 2] = past_from_present[:2, :2], past_from_present[:2, 3]
    return (np.linalg.inv(metres) @ motion @ metres)[:2].astype(np.float32)

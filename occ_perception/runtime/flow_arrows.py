"""Voxel flow as few arrows: one for each block of columns in which something moves."""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.voxel_grid import VoxelGridSpec

SLOWEST_M_S = 0.5
"""Slower voxels do not count as moving."""
BLOCK = 4
"""Columns along the edge of a block."""


def flow_arrows(flow: np.ndarray, grid: VoxelGridSpec) -> tuple[np.ndarray, np.ndarray]:
    """Starts (K, 3) float32 and velocities (K, 2) float32 of the blocks' moving voxels, m and m/s, in the grid's frame.

    flow: (nx, ny, nz, 2) m/s. A start is the mean place of a block's moving voxels, at the height of the highest; the velocity
    their mean.
    """
    voxels = np.argwhere((flow ** 2).sum(axis=-1) > SLOWEST_M_S ** 2)
    velocity = flow[tuple(voxels.T)].astype(np.float64)
    blocks_y = -(-grid.shape[1] // BLOCK)
    block, inverse, count = np.unique(voxels[:, 0] // BLOCK * blocks_y + voxels[:, 1] // BLOCK, return_inverse=True,
                                      return_counts=True)
    centers = np.asarray(grid.origin_m) + grid.resolution_m * (voxels + 0.5)
    starts, means = np.zeros((len(block), 3)), np.zeros((len(block), 2))
    for axis in range(2):
        starts[:, axis] = np.bincount(inverse, centers[:, axis], len(block)) / np.maximum(count, 1)
        means[:, axis] = np.bincount(inverse, velocity[:, axis], len(block)) / np.maximum(count, 1)
    starts[:, 2] = -np.inf
    np.maximum.at(starts[:, 2], inverse, centers[:, 2])
    return starts.astype(np.float32), means.astype(np.float32)

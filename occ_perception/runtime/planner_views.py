"""What planners and viewers take, made from labelled voxels: 2D grids, obstacle and clearing points, coloured points."""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import FLAT, FREE, UNKNOWN

CELL_FREE, CELL_OCCUPIED, CELL_UNKNOWN = 0, 100, -1
"""nav_msgs/OccupancyGrid values."""


def obstacle_mask(labels: np.ndarray, flat: tuple[int, ...] = FLAT) -> np.ndarray:
    """Voxels that are in the way, (nx, ny, nz) bool: occupied and not ground."""
    is_obstacle = np.ones(256, bool)
    is_obstacle[[FREE, UNKNOWN, *flat]] = False
    return is_obstacle[labels]


def height_slice(grid: VoxelGridSpec, low_m: float, high_m: float) -> slice:
    """Layers of voxels whose centres lie between two heights of the grid's frame; at least one layer."""
    centers = grid.origin_m[2] + grid.resolution_m * (np.arange(grid.shape[2]) + 0.5)
    inside = np.flatnonzero((centers >= low_m) & (centers <= high_m))
    if not len(inside):
        nearest = int(np.abs(centers - (low_m + high_m) / 2).argmin())
        return slice(nearest, nearest + 1)
    return slice(int(inside[0]), int(inside[-1]) + 1)


def occupancy_grid(labels: np.ndarray, grid: VoxelGridSpec, low_m: float, high_m: float,
                   flat: tuple[int, ...] = FLAT) -> np.ndarray:
    """(ny, nx) int8 of the height band, rows along y as nav_msgs/OccupancyGrid has them.

    A column is occupied when the band holds an obstacle; else unknown when none of its voxels was seen; else free.
    """
    band = labels[:, :, height_slice(grid, low_m, high_m)]
    cells = np.full(labels.shape[:2], CELL_FREE, np.int8)
    cells[(band == UNKNOWN).all(axis=2)] = CELL_UNKNOWN
    cells[obstacle_mask(band, flat).any(axis=2)] = CELL_OCCUPIED
    return np.ascontiguousarray(cells.T)


def obstacle_points(labels: np.ndarray, grid: VoxelGridSpec, low_m: float, high_m: float,
                    flat: tuple[int, ...] = FLAT) -> np.ndarray:
    """(M, 3) float32 centres of the obstacle voxels of the height band, metres."""
    band = height_slice(grid, low_m, high_m)
    index = np.argwhere(obstacle_mask(labels[:, :, band], flat))
    index[:, 2] += band.start
    return _centers(index, grid)


def clearing_points(labels: np.ndarray, grid: VoxelGridSpec, low_m: float, high_m: float, flat: tuple[int, ...] = FLAT,
                    bearings: int = 720) -> np.ndarray:
    """(M, 3) float32: for each bearing around the vehicle the farthest free cell before the first obstacle or unseen column.

    A costmap that traces rays from the vehicle to these points clears what is free and nothing else; z is the band's middle.
    """
    cells = occupancy_grid(labels, grid, low_m, high_m, flat).T
    angles = np.arange(bearings) * (2 * np.pi / bearings)
    ranges = np.arange(1, int(np.hypot(*grid.shape[:2])) * 2) * (grid.resolution_m / 2)
    xy = ranges[None, :, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)[:, None]
    index = np.floor((xy - grid.origin_m[:2]) / grid.resolution_m).astype(int)
    inside = ((index >= 0) & (index < grid.shape[:2])).all(axis=-1)
    index[~inside] = 0
    free = inside & (cells[index[..., 0], index[..., 1]] == CELL_FREE)
    # The cell under the vehicle itself may not be seen; rays begin where space is first free, within 3 m.
    begin = np.where(free[:, :int(6 / grid.resolution_m)].any(axis=1), free.argmax(axis=1), len(ranges))
    running = free | (np.arange(len(ranges))[None] < begin[:, None])
    length = np.where(running.all(axis=1), len(ranges), running.argmin(axis=1))
    rays = (length > begin) & (begin < len(ranges))
    reach = ranges[length[rays] - 1]
    out = np.empty((int(rays.sum()), 3), np.float32)
    out[:, 0], out[:, 1] = reach * np.cos(angles[rays]), reach * np.sin(angles[rays])
    out[:, 2] = (low_m + high_m) / 2
    return out


def occupied_points(labels: np.ndarray, grid: VoxelGridSpec) -> tuple[np.ndarray, np.ndarray]:
    """Centres (M, 3) float32 and labels (M,) uint8 of all voxels that are occupied."""
    index = np.argwhere((labels != FREE) & (labels != UNKNOWN))
    return _centers(index, grid), labels[index[:, 0], index[:, 1], index[:, 2]]


def _centers(index: np.ndarray, grid: VoxelGridSpec) -> np.ndarray:
    return (np.asarray(grid.origin_m) + grid.resolution_m * (index + 0.5)).astype(np.float32)

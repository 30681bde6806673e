"""Regular voxel grids: where a voxel lies in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VoxelGridSpec:
    """A regular grid, indexed (x, y, z), axes along its frame's (REP-103: x forward, y left, z up).

    origin_m is the corner of voxel (0, 0, 0), not its centre; resolution_m the edge of the cubic voxels.
    """

    origin_m: tuple[float, float, float]
    resolution_m: float
    shape: tuple[int, int, int]

    @property
    def upper_m(self) -> tuple[float, float, float]:
        """Corner opposite to origin_m, metres."""
        x, y, z = (o + self.resolution_m * n for o, n in zip(self.origin_m, self.shape, strict=True))
        return x, y, z

    def centers(self) -> np.ndarray:
        """Voxel centres, (nx, ny, nz, 3) float32, metres."""
        axes = [o + self.resolution_m * (np.arange(n) + 0.5) for o, n in zip(self.origin_m, self.shape, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).astype(np.float32)

    def indices(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Voxel of each point: ((M, 3) int32 indices, (M,) bool inside); points (M, >=3) in metres."""
        index = np.floor((points[:, :3] - np.asarray(self.origin_m)) / self.resolution_m)
        inside = ((index >= 0) & (index < np.asarray(self.shape))).all(axis=1)
        return np.where(inside[:, None], index, 0).astype(np.int32), inside


OCC3D_GRID = VoxelGridSpec((-40.0, -40.0, -1.0), 0.4, (200, 200, 16))
"""Occ3D-nuScenes: 80 x 80 x 6.4 m around the ego vehicle, 0.4 m voxels."""
PANOOCC_GRID = VoxelGridSpec((-51.2, -51.2, -5.0), 0.4, (256, 256, 20))
"""What PanoOcc's panoptic form sees, around the LiDAR; the published code has voxels of 0.256 x 0.256 x 0.125 m there."""
OPENOCCUPANCY_GRID = VoxelGridSpec((-51.2, -51.2, -5.0), 0.2, (512, 512, 40))
"""nuScenes-Occupancy (OpenOccupancy), in the LiDAR's frame."""

"""Which voxels a camera rig can see at all: the border between `free` and `unknown`."""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.transforms import inverse
from occ_perception.geometry.voxel_grid import VoxelGridSpec


def camera_coverage(grid: VoxelGridSpec, intrinsics: np.ndarray, ego_from_camera: np.ndarray, image_size: tuple[int, int],
                    max_range_m: float) -> np.ndarray:
    """Voxels of which one camera's frustum covers any part, (nx, ny, nz) bool; occlusion is not looked at.

    intrinsics (3, 3) of an image of image_size (height, width); ego_from_camera (4, 4). A network's image is the bottom part
    of the camera's: its upper border is taken as far above the principal point as its lower border is below it. Voxels whose
    centre is deeper than max_range_m along the optical axis are not covered. A voxel counts as a ball of its half diagonal.
    """
    height, width = image_size
    centers = grid.centers().reshape(-1, 3)
    camera_from_ego = inverse(ego_from_camera).astype(np.float32)
    x, y, z = (centers @ camera_from_ego[:3, :3].T + camera_from_ego[:3, 3]).T
    radius = np.float32(grid.resolution_m * np.sqrt(3) / 2)
    fx, fy, cx, cy = (np.float32(v) for v in (intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]))
    depth = np.maximum(z, radius)
    u, v = fx * x / depth + cx, fy * y / depth + cy
    margin_u, margin_v = fx * radius / depth, fy * radius / depth
    top = min(0.0, 2 * float(cy) - height)
    seen = ((z > 0) & (z < max_range_m) & (u > -margin_u) & (u < width + margin_u)
            & (v > top - margin_v) & (v < height + margin_v))
    return seen.reshape(grid.shape)

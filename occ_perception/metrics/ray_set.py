"""The rays of the ray metrics: one LiDAR-like fan, cast from where the vehicle's LiDAR stood during the scene.

Source: Liu et al., "Fully Sparse 3D Occupancy Prediction" (SparseOcc, ECCV 2024), and the CVPR 2024 occupancy and flow challenge.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

RANGE_M = 39.0
"""An origin counts when |x| and |y| in the ego frame are below this."""
MAX_ORIGINS = 8


@functools.cache
def pitches() -> tuple[float, ...]:
    """The 39 elevation angles in radians, lowest first: -45.0 degrees to +12.5 degrees."""
    angles = [-(math.pi / 2 - math.atan(k + 1)) for k in range(10)]
    while angles[-1] < 0.21:
        angles.append(angles[-1] + (angles[-1] - angles[-2]))
    return tuple(angles)


@functools.cache
def lidar_rays() -> np.ndarray:
    """Unit directions (14040, 3) float32, read-only: 39 pitches, and within each the azimuths 0, 1 ... 359 degrees."""
    # one angle at a time with the C library's functions: numpy's vectorised ones differ in the last bit between processors
    azimuths = [math.radians(degree) for degree in range(360)]
    fan = [(math.cos(p) * math.cos(a), math.cos(p) * math.sin(a), math.sin(p)) for p in pitches() for a in azimuths]
    rays = np.array(fan, np.float32)
    rays.flags.writeable = False
    return rays


def ray_origins(fixed_from_ego: Sequence[np.ndarray], ego_from_lidar: Sequence[np.ndarray], index: int) -> np.ndarray:
    """Where the rays of one key frame start: the LiDAR's places at all key frames of its scene, in this frame's ego frame.

    fixed_from_ego, ego_from_lidar: (4, 4) poses of every key frame of the scene in time order, past and future; index: the key
    frame to be scored. Returns (n, 3) float64 metres, 1 <= n <= 8 as a rule (see RANGE_M), in time order; fewer are not padded.

    Raises ValueError when the lists differ in length, IndexError for an index outside them.
    """
    if len(fixed_from_ego) != len(ego_from_lidar):
        raise ValueError(f'{len(fixed_from_ego)} poses fixed_from_ego but {len(ego_from_lidar)} ego_from_lidar: '
                         'give one of each for every key frame of the scene')
    if not 0 <= index < len(fixed_from_ego):
        raise IndexError(f'key frame {index} of a scene of {len(fixed_from_ego)}: count from 0')
    mount = np.asarray(ego_from_lidar[index], np.float64)
    lidar_from_fixed = np.linalg.inv(np.asarray(fixed_from_ego[index], np.float64) @ mount)
    kept = []
    for frame, (pose, lidar) in enumerate(zip(fixed_from_ego, ego_from_lidar, strict=True)):
        place = np.ones(4)
        # quirk: the translation between the two LiDAR frames is rounded to float32 before it is moved to the ego frame
        place[:3] = 0 if frame == index else (lidar_from_fixed @ (np.asarray(pose) @ np.asarray(lidar)))[:3, 3].astype(np.float32)
        origin = mount[:3] @ place
        if abs(origin[0]) < RANGE_M and abs(origin[1]) < RANGE_M:
            kept.append(origin)
    if len(kept) > MAX_ORIGINS:
        kept = [kept[i] for i in np.round(np.linspace(0, len(kept) - 1, MAX_ORIGINS)).astype(int)]
    return np.array(kept).reshape(-1, 3)

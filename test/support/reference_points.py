"""LiDAR clouds behind the golden figures of the fusion networks, made from names alone."""

from __future__ import annotations

import numpy as np
import reference_inputs

from occ_perception.geometry.voxelise import VoxelSpec
from occ_perception.networks.fusionocc.points import in_range

EGO_FROM_LIDAR = np.array([[0, 1, 0, 0.943], [-1, 0, 0, 0], [0, 0, 1, 1.84], [0, 0, 0, 1]])
"""The LiDAR is mounted turned by -90 degrees, as on nuScenes."""


def sweep(age: int, count: int = 20_000) -> np.ndarray:
    """(count, 5) float32, LiDAR frame: x, y, z, intensity 0 ... 255, 0. A ground plane (six points of ten) and walls."""
    random = reference_inputs.generator(f'points/0/{age}')
    bearing, kind = random.uniform(-np.pi, np.pi, count), random.uniform(0, 1, count)
    ground = kind < 0.6
    reach = np.where(ground, 2 + 48 * random.uniform(0, 1, count) ** 1.5, 6 + 30 * np.abs(np.sin(3 * bearing + 1)))
    height = np.where(ground, 0.05 * random.standard_normal(count) - 1.84, random.uniform(-1.8, 2.5, count))
    return np.stack([reach * np.cos(bearing), reach * np.sin(bearing), height, random.uniform(0, 255, count), np.zeros(count)],
                    1).astype(np.float32)


def to_ego(points: np.ndarray) -> np.ndarray:
    """Points in the ego frame, moved in float32."""
    turn = np.eye(4)
    yaw = np.radians(-90)
    turn[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    turn[:3, 3] = EGO_FROM_LIDAR[:3, 3]
    turn = turn.astype(np.float32)
    out = points.copy()
    out[:, :3] = points[:, :3] @ turn[:3, :3].T + turn[:3, 3]
    return out


def sweeps(sweeps: int = 4, count: int = 20_000, ego: bool = True) -> np.ndarray:
    """(sweeps * count, 5) float32: sweeps 0.05 s apart, the newest first, all as if measured from one place; time lag last."""
    parts = [sweep(age, count) for age in range(sweeps)]
    for age, part in enumerate(parts):
        part[:, 4] = 0.05 * age
    points = np.concatenate(parts)
    return to_ego(points) if ego else points


def key_sweeps(voxels: VoxelSpec) -> np.ndarray:
    """(M, 5) float32 of eight sweeps of 10,000 points each, ego frame: x, y, z, intensity, ring; those in the voxels' box."""
    parts = []
    for age in range(8):
        points = sweep(age, 10_000)
        points[:, 4] = reference_inputs.generator(f'fusionocc/ring/{age}').integers(0, 32, 10_000)
        parts.append(to_ego(points))
    return in_range(np.concatenate(parts), voxels)

"""Sweeps of the spinning 32-beam LiDAR: each beam is cast from where the vehicle is at that very moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occ_perception.datasets.sample_world.rig import (
    LIDAR_AZIMUTH_STEPS,
    LIDAR_BEAMS_DEG,
    LIDAR_RANGE_M,
    LIDAR_RATE_HZ,
    ego_from_lidar,
)
from occ_perception.datasets.sample_world.scene import StreetScene
from occ_perception.datasets.sample_world.street import Street
from occ_perception.geometry.transforms import inverse
from occ_perception.runtime.intake.sweeps import to_ego

_SECTORS = 5
_REFLECTANCE = np.array([30, 45, 25, 40, 35, 40, 25, 20, 70, 35, 38, 12, 22, 24, 16, 30, 20], np.float32)


@dataclass(frozen=True)
class LidarSweep:
    """One turn of the LiDAR that ends at time_s.

    points (M, 3) float32 in the LiDAR's own axes at each point's own time (x right, y forward, as nuScenes writes them, not
    motion compensated); intensity (M,) float32 0..255; ring (M,) uint16, 0 = lowest; time (M,) float32 s relative to time_s,
    <= 0; label (M,) uint8 Occ3D id; instance (M,) uint16. origins, ends (R, 3) float32: start and end of every beam, misses
    included, in the ego frame at time_s (for visibility).
    """

    time_s: float
    points: np.ndarray
    intensity: np.ndarray
    ring: np.ndarray
    time: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    origins: np.ndarray
    ends: np.ndarray


def render_sweep(scene: StreetScene, time_s: float) -> LidarSweep:
    """The sweep that ends at time_s; beams turn clockwise seen from above, starting and ending behind the vehicle."""
    street = scene.street
    mount = ego_from_lidar()
    ego_now = inverse(street.ego_pose(time_s))
    rng = np.random.default_rng([street.seed, round(time_s * 1e6) + 10**9])
    elevation = np.radians(LIDAR_BEAMS_DEG)
    parts = []
    for sector in np.array_split(np.arange(LIDAR_AZIMUTH_STEPS), _SECTORS):
        fraction = (sector + 1) / LIDAR_AZIMUTH_STEPS
        azimuth = -np.pi / 2 - 2 * np.pi * fraction
        lag = (fraction - 1) / LIDAR_RATE_HZ
        middle = time_s + float(lag.mean())
        local = np.stack([np.cos(elevation) * np.cos(azimuth)[:, None], np.cos(elevation) * np.sin(azimuth)[:, None],
                          np.broadcast_to(np.sin(elevation), (len(azimuth), len(elevation)))], axis=-1)
        first, last = (street.ego_pose(time_s + float(v)) @ mount for v in (lag[0], lag[-1]))
        weight = np.linspace(0, 1, len(sector))[:, None, None]
        origins = (first[:3, 3] * (1 - weight[:, 0]) + last[:3, 3] * weight[:, 0] - scene.origin)[:, None].repeat(
            len(elevation), axis=1
        )
        directions = (local @ first[:3, :3].T) * (1 - weight) + (local @ last[:3, :3].T) * weight
        origins, directions = origins.reshape(-1, 3).astype(np.float32), directions.reshape(-1, 3).astype(np.float32)
        reach, label, instance = _cast(scene, origins, directions, middle, float(azimuth.mean()), first)
        world = origins.astype(np.float64) + scene.origin
        parts.append(
            (
                local.reshape(-1, 3),
                reach,
                label,
                instance,
                np.repeat(lag, len(elevation)),
                np.tile(np.arange(len(elevation)), len(sector)),
                world,
                world + directions * np.minimum(reach, LIDAR_RANGE_M)[:, None],
            )
        )
    local, reach, label, instance, lag, ring, start, end = (np.concatenate(p) for p in zip(*parts, strict=True))
    rotation, translation = ego_now[:3, :3].T, ego_now[:3, 3]
    returned = (reach < LIDAR_RANGE_M) & (rng.random(len(reach)) > 0.02 + 0.10 * (np.minimum(reach, 70) / 70) ** 2)
    noisy = reach + rng.normal(0, 0.02, len(reach))
    intensity = _REFLECTANCE[np.minimum(label, 16)] * rng.uniform(0.6, 1.4, len(reach))
    hits = np.flatnonzero(returned)
    return LidarSweep(time_s, (local[hits] * noisy[hits, None]).astype(np.float32), intensity[hits].astype(np.float32),
                      ring[hits].astype(np.uint16), lag[hits].astype(np.float32), label[hits], instance[hits],
                      (start @ rotation + translation).astype(np.float32), (end @ rotation + translation).astype(np.float32))


def points_at(street: Street, sweep: LidarSweep, time_s: float) -> np.ndarray:
    """The sweep's points in the ego frame at time_s, as runtime.frames.LidarSweep has them: (M, 6) float32."""
    points = np.column_stack([sweep.points, sweep.intensity, sweep.ring, sweep.time]).astype(np.float32)
    first, last = (street.ego_pose(sweep.time_s + float(moment)) for moment in (sweep.time.min(), sweep.time.max()))
    return to_ego(points, ego_from_lidar(), first, last, street.ego_pose(time_s), time_s - sweep.time_s)


def _cast(scene: StreetScene, origins: np.ndarray, directions: np.ndarray, time_s: float, azimuth: float,
          world_from_lidar: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Range (N,) in metres (1e9 = nothing), label and object id of what each beam meets."""
    hit = scene.static_scene.run(origins, directions, output=1)
    prim = hit['primID']
    reach = np.where(prim >= 0, hit['tfar'], 1e9)
    label = np.where(prim >= 0, scene.static.label[prim], 17).astype(np.uint8)
    instance = np.where(prim >= 0, scene.static.instance[prim], 0).astype(np.uint16)
    movers = scene.movers_at(time_s, world_from_lidar[:3, 3], LIDAR_RANGE_M)
    local = (movers.centers - (world_from_lidar[:3, 3] - scene.origin)) @ world_from_lidar[:3, :3]
    bearing = np.arctan2(local[:, 1], local[:, 0])
    distance = np.hypot(local[:, 0], local[:, 1])
    half_sector = np.pi / _SECTORS + np.arcsin(np.clip(movers.radii / np.maximum(distance, 1e-3), 0, 1))
    off = np.abs((bearing - azimuth + np.pi) % (2 * np.pi) - np.pi)
    moving = movers.build((off < half_sector + 0.05) | (distance < movers.radii + 1))
    if moving is not None:
        found = moving[0].run(origins, directions, output=1)
        nearer = (found['primID'] >= 0) & (found['tfar'] < reach)
        q = found['primID'][nearer]
        reach[nearer], label[nearer], instance[nearer] = found['tfar'][nearer], moving[1].label[q], moving[1].instance[q]
    return reach, label, instance

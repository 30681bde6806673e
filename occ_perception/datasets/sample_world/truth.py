"""Exact truth of a moment: Occ3D labels, what the cameras and the LiDAR could see of it, object ids, flow.

labels: a voxel is occupied when solid geometry touches it: surfaces are sampled at most 0.15 m apart, and solids are filled.
Where several classes meet in a voxel, thin and small ones win over large ones, and everything wins over the ground (_ORDER).
mask_camera: a voxel is seen by the cameras when a pixel's ray ends in it, or when its centre lies in a picture and not more
than half a voxel diagonal behind the surface that is seen there (so free space in front of surfaces, and their front layer).
mask_lidar: the same from one sweep: voxels in which beams end, and voxels that beams pass before they end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from occ_perception.datasets.sample_world.camera import CameraView
from occ_perception.datasets.sample_world.lidar import LidarSweep
from occ_perception.datasets.sample_world.rig import CAMERAS, SOURCE_SIZE, ego_from_camera, intrinsics
from occ_perception.datasets.sample_world.scene import StreetScene
from occ_perception.geometry.transforms import apply, inverse
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import FREE, THINGS

_ORDER = (15, 16, 9, 10, 3, 5, 4, 0, 1, 6, 2, 8, 7)
"""Obstacle classes from the weakest claim on a voxel to the strongest."""
_GROUND_RAYS_PER_VOXEL = 2
_HALF_DIAGONAL = OCC3D_GRID.resolution_m * 3 ** 0.5 / 2


@dataclass(frozen=True)
class WorldTruth:
    """Truth on the Occ3D grid in the ego frame at time_s.

    semantics (200, 200, 16) uint8, mask_lidar, mask_camera uint8 0/1, instances uint16 (0 = none; ids are the street's object
    ids, only for thing classes), flow (200, 200, 16, 2) float16: vx, vy in m/s along the ego axes at time_s, 0 for what stands.
    """

    time_s: float
    semantics: np.ndarray
    mask_lidar: np.ndarray
    mask_camera: np.ndarray
    instances: np.ndarray
    flow: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by their names in labels.npz."""
        return {'semantics': self.semantics, 'mask_lidar': self.mask_lidar, 'mask_camera': self.mask_camera,
                'instances': self.instances, 'flow': self.flow}


def occupancy_truth(scene: StreetScene, time_s: float, views: list[CameraView], sweep: LidarSweep | None) -> WorldTruth:
    """Truth at time_s; masks from the given pictures and sweep (mask_lidar is empty without one)."""
    street = scene.street
    ego_from_world = inverse(street.ego_pose(time_s))
    semantics, instances, flow = _labels(scene, time_s, ego_from_world)
    mask_camera = _seen_by_cameras(views, ego_from_world)
    mask_lidar = np.zeros_like(mask_camera) if sweep is None else _seen_by_lidar(sweep)
    return WorldTruth(time_s, semantics, mask_lidar, mask_camera, instances, flow)


def _flat_index(points: np.ndarray) -> np.ndarray:
    """Flat voxel index of the points (N, 3) that lie in the grid, -1 for the others."""
    scaled = (points - np.asarray(OCC3D_GRID.origin_m, np.float32)) * np.float32(1 / OCC3D_GRID.resolution_m)
    index = np.floor(scaled).astype(np.int32)
    nx, ny, nz = OCC3D_GRID.shape
    x, y, z = index[:, 0], index[:, 1], index[:, 2]
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny) & (z >= 0) & (z < nz)
    return np.where(inside, (x * ny + y) * nz + z, -1)


def _labels(scene: StreetScene, time_s: float, ego_from_world: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    street = scene.street
    shape = OCC3D_GRID.shape
    semantics = np.full(int(np.prod(shape)), FREE, np.uint8)
    instances = np.zeros(len(semantics), np.uint16)
    flow = np.zeros((len(semantics), 2), np.float16)
    _ground(scene, ego_from_world, semantics)
    _houses(street.houses, ego_from_world, semantics)
    near = scene.solids_near(ego_from_world)
    points = [apply(ego_from_world, near[0] + scene.origin).astype(np.float32)] if len(near[0]) else []
    labels, owners = [near[1]], [near[2]]
    velocity = np.zeros((len(street.objects) + 1, 2), np.float16)
    for mover in scene.movers:
        pose = ego_from_world @ mover.track.pose(time_s)
        if np.abs(pose[:2, 3]).max() > 40 + max(mover.size_m):
            continue
        points.append(apply(pose, mover.solid.astype(np.float64)).astype(np.float32))
        labels.append(np.full(len(mover.solid), mover.label, np.uint8))
        owners.append(np.full(len(mover.solid), mover.id, np.uint16))
        velocity[mover.id] = (ego_from_world[:3, :3] @ mover.track.velocity(time_s))[:2]
    place, label, owner = (np.concatenate(a) for a in (points, labels, owners))
    index = _flat_index(place)
    keep = index >= 0
    index, label, owner = index[keep], label[keep], owner[keep]
    for wanted in _ORDER:
        mine = label == wanted
        where = index[mine]
        semantics[where] = wanted
        if wanted in THINGS:
            instances[where] = owner[mine]
    things = np.flatnonzero(instances)
    things = things[np.isin(semantics[things], THINGS)]  # another class may have won a voxel since
    cleaned = np.zeros_like(instances)
    cleaned[things] = instances[things]
    flow[things] = velocity[cleaned[things]]
    return semantics.reshape(shape), cleaned.reshape(shape), flow.reshape(*shape, 2)


def _ground(scene: StreetScene, ego_from_world: np.ndarray, semantics: np.ndarray) -> None:
    """Ground classes, by rays straight down: _GROUND_RAYS_PER_VOXEL squared of them per column; the commonest class wins."""
    n = _GROUND_RAYS_PER_VOXEL
    nx, ny, _ = OCC3D_GRID.shape
    step = OCC3D_GRID.resolution_m / n
    xs = OCC3D_GRID.origin_m[0] + step * (np.arange(nx * n) + 0.5)
    ys = OCC3D_GRID.origin_m[1] + step * (np.arange(ny * n) + 0.5)
    grid = np.stack([*np.meshgrid(xs, ys, indexing='ij'), np.full((nx * n, ny * n), 8.0)], axis=-1).reshape(-1, 3)
    world_from_ego = inverse(ego_from_world)
    starts = (apply(world_from_ego, grid) - scene.origin).astype(np.float32)
    down = np.broadcast_to((-world_from_ego[:3, 2]).astype(np.float32), starts.shape)
    hit = scene.ground_scene.run(starts, np.ascontiguousarray(down), output=1)
    met = np.flatnonzero(hit['primID'] >= 0)
    points = grid[met].astype(np.float32)
    points[:, 2] -= hit['tfar'][met]
    index = _flat_index(points)
    label = scene.ground_label[hit['primID'][met]]
    keep = index >= 0
    index, label = index[keep], label[keep]
    votes = np.stack([np.bincount(index[label == c], minlength=len(semantics)) for c in (11, 12, 13, 14)])
    best = votes.argmax(axis=0)
    touched = np.flatnonzero(votes.sum(axis=0))
    semantics[touched] = 11 + best[touched]


def _houses(houses: np.ndarray, ego_from_world: np.ndarray, semantics: np.ndarray) -> None:
    """Inside of houses: manmade from the ground to their top."""
    grid = semantics.reshape(OCC3D_GRID.shape)
    xs, ys, zs = (
        o + OCC3D_GRID.resolution_m * (np.arange(n) + 0.5) for o, n in zip(OCC3D_GRID.origin_m, OCC3D_GRID.shape, strict=True)
    )
    column_x, column_y = np.meshgrid(xs, ys, indexing='ij')
    base_yaw = np.arctan2(ego_from_world[1, 0], ego_from_world[0, 0])
    for x, y, heading, depth, length, ground, top in houses:
        center = apply(ego_from_world, np.array([[x, y, ground]]))[0]
        if np.abs(center[:2]).max() > 40 + length / 2 + depth:
            continue
        yaw = heading + base_yaw
        c, s = np.cos(yaw), np.sin(yaw)
        along = (column_x - center[0]) * c + (column_y - center[1]) * s
        across = -(column_x - center[0]) * s + (column_y - center[1]) * c
        inside = (along < 0) & (along > -depth) & (np.abs(across) < length / 2)
        heights = (zs > center[2]) & (zs < center[2] + top - ground)
        grid[inside[:, :, None] & heights] = 15


@lru_cache(maxsize=1)
def _camera_candidates() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per camera: flat indices and centres (N, 3) float32 of the voxels that can lie in its picture, with a margin."""
    centers = OCC3D_GRID.centers().reshape(-1, 3)
    out = {}
    for name in CAMERAS:
        k = intrinsics(name, SOURCE_SIZE)
        local = apply(inverse(ego_from_camera(name)), centers)
        z = np.maximum(local[:, 2], 0.05)
        u, v = k[0, 0] * local[:, 0] / z + k[0, 2], k[1, 1] * local[:, 1] / z + k[1, 2]
        slack = 250.0 + 1500.0 / z
        inside = (local[:, 2] > -0.6) & (u > -slack) & (u < SOURCE_SIZE[0] + slack) & (v > -slack) & (v < SOURCE_SIZE[1] + slack)
        index = np.flatnonzero(inside)
        out[name] = index, centers[index]
    return out


def _seen_by_cameras(views: list[CameraView], ego_from_world: np.ndarray) -> np.ndarray:
    seen = np.zeros(int(np.prod(OCC3D_GRID.shape)), np.uint8)
    for view in views:
        ego_from_camera_now = ego_from_world @ view.fixed_from_ego @ view.ego_from_camera
        index, centers = _camera_candidates()[view.name]
        k = view.intrinsics.astype(np.float32)
        local = apply(inverse(ego_from_camera_now), centers)
        z = local[:, 2]
        safe = np.maximum(z, np.float32(0.1))
        u = np.rint(k[0, 0] * local[:, 0] / safe + k[0, 2]).astype(np.int32)
        v = np.rint(k[1, 1] * local[:, 1] / safe + k[1, 2]).astype(np.int32)
        height, width = view.depth.shape
        inside = np.flatnonzero((z > 0.1) & (u >= 0) & (u < width) & (v >= 0) & (v < height))
        u, v, z = u[inside], v[inside], z[inside]
        stretch = np.sqrt(1 + ((u - k[0, 2]) / k[0, 0]) ** 2 + ((v - k[1, 2]) / k[1, 1]) ** 2)
        visible = (z - view.depth[v, u]) * stretch <= _HALF_DIAGONAL
        seen[index[inside[visible]]] = 1
        seen[_pixel_voxels(view, ego_from_camera_now)] = 1
    return seen.reshape(OCC3D_GRID.shape)


def _pixel_voxels(view: CameraView, ego_from_camera_now: np.ndarray) -> np.ndarray:
    """Flat indices of the voxels in which pixels' rays end."""
    stride = max(view.depth.shape[1] // 800, 1)
    depth = view.depth[::stride, ::stride]
    rows, columns = np.nonzero(depth < 60)
    t = depth[rows, columns]
    x = (columns * stride - view.intrinsics[0, 2]) / view.intrinsics[0, 0]
    y = (rows * stride - view.intrinsics[1, 2]) / view.intrinsics[1, 1]
    points = np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float32) * (t + np.float32(0.01))[:, None]
    index = _flat_index(apply(ego_from_camera_now, points))
    return index[index >= 0]


def _seen_by_lidar(sweep: LidarSweep) -> np.ndarray:
    seen = np.zeros(int(np.prod(OCC3D_GRID.shape)), np.uint8)
    origins, ends = sweep.origins, sweep.ends
    reach = np.linalg.norm(ends - origins, axis=1)
    directions = (ends - origins) / np.maximum(reach, 1e-6)[:, None]
    end = _flat_index(ends + directions * np.float32(0.02))
    met = reach < 69.9
    seen[end[met & (end >= 0)]] = 1
    step = OCC3D_GRID.resolution_m * 0.75
    for distance in np.arange(1.0, 57.0, step, dtype=np.float32):
        going = np.flatnonzero(reach > distance)
        if not len(going):
            break
        index = _flat_index(origins[going] + directions[going] * distance)
        seen[index[index >= 0]] = 1
    return seen.reshape(OCC3D_GRID.shape)

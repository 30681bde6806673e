"""A small nuScenes tree written by hand: flat pictures, a wall of points, a vehicle that drives ahead evenly and turns a little."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import simplejpeg
from small_bag import camera_mount

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.dialects import NUSCENES_OFFSETS_S
from occ_perception.datasets.occ3d import OccupancyTruth, write_truth
from occ_perception.geometry.transforms import matrix, rotation_from_quaternion

START_US = 1_500_000_000_000_000
SPEED_M_S = 5.0
SIZE = (160, 90)
LIDAR_MOUNT = ((0.9, 0.0, 1.8), (0.0, 0.0, -np.sqrt(0.5), np.sqrt(0.5)))


def pose(seconds: float) -> np.ndarray:
    """fixed_from_ego at a time."""
    yaw = 0.1 * seconds
    return matrix(rotation_from_quaternion(0, 0, np.sin(yaw / 2), np.cos(yaw / 2)), (SPEED_M_S * seconds, 1.0, 0.5))


def wall() -> np.ndarray:
    """Points of a wall that stands still, (M, 3) in the fixed frame."""
    y, z = np.meshgrid(np.linspace(-3, 3, 7), np.linspace(0.5, 2.5, 3))
    return np.stack([np.full(y.size, 15.0), y.ravel(), z.ravel()], axis=1)


def truth(value: int = 15, instances: bool = False) -> OccupancyTruth:
    """Labels with one block of a class 10 m ahead of the vehicle."""
    labels = np.full((200, 200, 16), 17, np.uint8)
    labels[125:130, 95:105, 3:8] = value
    seen = np.ones(labels.shape, bool)
    return OccupancyTruth(labels, seen, seen, (labels == value).astype(np.uint16) if instances else None)


def write_tree(root: Path, version: str = 'v1.0-mini', scenes: tuple[str, ...] = ('scene-0103',), key_frames: int = 2,
               labels: str = 'gts') -> Path:
    """Write tables, samples/, sweeps/ and labels: cameras at 12 Hz, LiDAR at 20 Hz, key frames every 0.5 s, two boxes per scene."""
    tables: dict[str, list[dict]] = {name: [] for name in (
        'scene', 'sample', 'sample_data', 'ego_pose', 'calibrated_sensor', 'sensor', 'log', 'category', 'instance', 'attribute',
        'visibility', 'sample_annotation', 'map')}
    tables['category'] = [{'token': 'cat', 'name': 'vehicle.car', 'description': 'a {braced} "quoted" text, ümläut'}]
    tables['attribute'] = [{'token': 'parked', 'name': 'vehicle.parked', 'description': ''}]
    mounts = {name: camera_mount(name) for name in NUSCENES_CAMERAS} | {'LIDAR_TOP': LIDAR_MOUNT}
    for name, (place, (x, y, z, w)) in mounts.items():
        camera = name != 'LIDAR_TOP'
        tables['sensor'].append({'token': f's-{name}', 'channel': name, 'modality': 'camera' if camera else 'lidar'})
        tables['calibrated_sensor'].append({
            'token': f'c-{name}', 'sensor_token': f's-{name}', 'translation': list(place), 'rotation': [w, x, y, z],
            'camera_intrinsic': [[120.0, 0, 80.0], [0, 120.0, 45.0], [0, 0, 1]] if camera else []})
    for number, scene in enumerate(scenes):
        _write_scene(root, tables, scene, START_US + 60_000_000 * number, key_frames, mounts, labels)
    (root / version).mkdir(parents=True)
    for name, records in tables.items():
        (root / version / f'{name}.json').write_text(json.dumps(records, indent=0, ensure_ascii=False))
    return root


def _write_scene(root: Path, tables: dict, scene: str, start_us: int, key_frames: int, mounts: dict, labels: str) -> None:
    tables['log'].append({'token': f'log-{scene}', 'logfile': f'n-{scene}', 'vehicle': 'n', 'location': 'here'})
    tables['scene'].append({
        'token': f't-{scene}', 'log_token': f'log-{scene}', 'nbr_samples': key_frames, 'name': scene, 'description': 'a street',
        'first_sample_token': f'{scene}-0', 'last_sample_token': f'{scene}-{key_frames - 1}'})
    for k in range(key_frames):
        tables['sample'].append({
            'token': f'{scene}-{k}', 'timestamp': start_us + 500_000 * k, 'scene_token': f't-{scene}',
            'prev': f'{scene}-{k - 1}' if k else '', 'next': f'{scene}-{k + 1}' if k + 1 < key_frames else ''})
        write_truth(root / labels / scene / f'{scene}-{k}' / 'labels.npz', truth())
        tables['sample_annotation'].append({
            'token': f'a-{scene}-{k}', 'sample_token': f'{scene}-{k}', 'instance_token': f'i-{scene}', 'visibility_token': '4',
            'attribute_tokens': ['parked'], 'translation': [15.0 + k, 0.0, 1.0], 'size': [2.0, 4.0, 1.5], 'rotation': [1, 0, 0, 0],
            'num_lidar_pts': 5, 'num_radar_pts': 0, 'prev': f'a-{scene}-{k - 1}' if k else '',
            'next': f'a-{scene}-{k + 1}' if k + 1 < key_frames else ''})
    tables['instance'].append({'token': f'i-{scene}', 'category_token': 'cat', 'nbr_annotations': key_frames,
                               'first_annotation_token': f'a-{scene}-0', 'last_annotation_token': f'a-{scene}-{key_frames - 1}'})
    for name, (place, (x, y, z, w)) in mounts.items():
        lidar = name == 'LIDAR_TOP'
        rate, offset = (20, 0.0) if lidar else (12, NUSCENES_OFFSETS_S[name])
        count = (key_frames - 1) * rate // 2 + 1
        chain = [f'{scene}-{name}-{i}' for i in range(count)]
        for i, token in enumerate(chain):
            seconds, key = offset + i / rate, i % (rate // 2) == 0
            stamp = start_us + round(1e6 * seconds)
            file = f'{"samples" if key else "sweeps"}/{name}/{scene}_{stamp}.{"pcd.bin" if lidar else "jpg"}'
            fixed_from_ego = pose(seconds)
            yaw = 0.1 * seconds
            tables['ego_pose'].append({'token': token, 'timestamp': stamp, 'translation': fixed_from_ego[:3, 3].tolist(),
                                       'rotation': [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]})
            tables['sample_data'].append({
                'token': token, 'sample_token': f'{scene}-{round(seconds / 0.5)}', 'ego_pose_token': token,
                'calibrated_sensor_token': f'c-{name}', 'timestamp': stamp, 'fileformat': 'pcd' if lidar else 'jpg',
                'is_key_frame': key, 'height': 0 if lidar else SIZE[1], 'width': 0 if lidar else SIZE[0], 'filename': file,
                'prev': chain[i - 1] if i else '', 'next': chain[i + 1] if i + 1 < count else ''})
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            if lidar:
                mount = matrix(rotation_from_quaternion(x, y, z, w), place)
                seen = np.linalg.inv(fixed_from_ego @ mount) @ np.column_stack([wall(), np.ones(len(wall()))]).T
                rows = np.column_stack([seen[:3].T, np.full(len(wall()), 7.0), np.arange(len(wall())) % 32])
                rows.astype(np.float32).tofile(root / file)
            else:
                grey = np.full((SIZE[1], SIZE[0], 3), 40 + 10 * i, np.uint8)
                (root / file).write_bytes(simplejpeg.encode_jpeg(grey, colorspace='RGB'))

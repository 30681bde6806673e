"""Weights and inputs behind the golden figures, made from names alone, so that the goldens need no large files."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

CAMERAS = {
    # name: (focal length, cx, cy, yaw, pitch, roll [degrees], x, y, z [m], exposure relative to the key time [s])
    'CAM_FRONT_LEFT': (1272.6, 826.6, 479.8, 55.2, -0.4, 0.3, 1.524, 0.495, 1.509, -0.008),
    'CAM_FRONT': (1266.4, 816.3, 491.5, 0.3, -0.2, 0.1, 1.701, 0.016, 1.511, 0.0),
    'CAM_FRONT_RIGHT': (1260.8, 808.0, 495.3, -56.4, 0.5, -0.2, 1.551, -0.493, 1.496, 0.008),
    'CAM_BACK_LEFT': (1256.7, 792.1, 492.8, 108.6, 0.3, 0.2, 1.036, 0.485, 1.591, -0.015),
    'CAM_BACK': (809.2, 829.2, 481.8, 179.7, -0.7, 0.4, 0.028, 0.003, 1.579, 0.025),
    'CAM_BACK_RIGHT': (1259.5, 807.3, 501.2, -110.8, 0.6, -0.5, 1.015, -0.481, 1.562, 0.016),
}


def generator(name: str) -> np.random.Generator:
    """Random numbers that depend on a name only."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def weights(table: Mapping[str, tuple[tuple[int, ...], str]], family: str) -> dict[str, np.ndarray]:
    """Value of every entry of a {key: (shape, dtype)} table, by the rule of 'flashocc' or 'scocc'."""
    value = {'flashocc': _flashocc_value, 'scocc': _scocc_value}[family]
    return {key: np.zeros(shape, np.int64) if key.endswith('num_batches_tracked') else value(key, tuple(shape)).astype(np.float32)
            for key, (shape, _) in table.items()}


def calibrated(state: dict[str, np.ndarray], norms: np.ndarray, scales: np.ndarray) -> dict[str, np.ndarray]:
    """Weights with the statistics of the named batch norms scaled, which keeps SCOcc's cubic blocks in range."""
    out = dict(state)
    for norm, scale in zip(norms, scales.astype(np.float32), strict=True):
        out[f'{norm}.running_mean'] = out[f'{norm}.running_mean'] * scale
        out[f'{norm}.running_var'] = out[f'{norm}.running_var'] * scale * scale
    return out


def _norm_value(key: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Biases, norm weights and statistics."""
    if key.endswith(('running_mean', 'bias')):
        return 0.1 * random.standard_normal(shape)
    return random.uniform(0.5, 1.5, shape)


def _scocc_value(key: str, shape: tuple[int, ...]) -> np.ndarray:
    random = generator(key)
    if len(shape) <= 1:
        return _norm_value(key, shape, random)
    value = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    return value / 2 if 'img_neck.' in key or '.depth_net.' in key else value


def _flashocc_value(key: str, shape: tuple[int, ...]) -> np.ndarray:
    random = generator(key)
    if len(shape) <= 1:
        value = _norm_value(key, shape, random)
        if '.bn.' in key and key.startswith(('img_bev_encoder', 'pre_process')) and key.endswith(('running_mean', 'bias')):
            value = 0.05 * value
        closes_branch = key.endswith('bn3.weight') or (key.endswith('.bn2.weight') and not key.startswith('img_backbone'))
        return 0.3 * value if closes_branch else value
    gain = np.sqrt(0.5)
    if 'predicter.0.weight' in key:
        gain = 2.5
    elif 'img_view_transformer.depth_net.weight' in key:
        gain = 2.0
    elif 'depth_net.depth_conv.' in key:
        gain = 1.2
    elif any(part in key for part in ('img_bev_encoder', 'pre_process', 'occ_head', 'aux_centerness_head', 'pts_')):
        gain = 1.0
    if len(shape) == 5:
        gain *= 1.5
    value = random.standard_normal(shape) * (gain * np.sqrt(2 / np.prod(shape[1:])))
    if len(shape) == 5 or ('predicter' in key and shape[1] <= 64):
        value = value - value.mean(axis=tuple(range(1, len(shape))), keepdims=True)
    return value


def image(height: int, width: int, camera: int, age: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 RGB: five octaves of smooth noise; camera counts through CAMERAS, age key frames back."""
    random = generator(f'image/0/{age}/{camera}')
    total = np.zeros((height, width, 3))
    for cells, amplitude in ((4, 1.0), (8, 0.7), (16, 0.5), (48, 0.35), (128, 0.25)):
        coarse = random.standard_normal((cells, 2 * cells, 3))
        coarse = 0.7 * coarse.mean(axis=2, keepdims=True) * np.sqrt(3) + 0.3 * coarse
        total += amplitude * _enlarged(coarse, height, width)
    return np.clip(np.rint(110 + 48 * total), 0, 255).astype(np.uint8)


def _enlarged(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, corners on corners."""
    rows, columns = np.linspace(0, grid.shape[0] - 1, height), np.linspace(0, grid.shape[1] - 1, width)
    top, left = (np.minimum(p.astype(int), n - 2) for p, n in zip((rows, columns), grid.shape[:2], strict=True))
    down, right = (rows - top)[:, None, None], (columns - left)[:, None]

    def along(row: np.ndarray) -> np.ndarray:
        return grid[row][:, left] * (1 - right) + grid[row][:, left + 1] * right

    return along(top) * (1 - down) + along(top + 1) * down


def rig(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the six cameras: intrinsics (6, 3, 3) of the 1600x900 image, reference_from_camera (6, 4, 4), and
    network_from_source (6, 3, 3). The reference is the ego pose at the first camera's exposure."""
    scale = width / 1600
    post = np.array([[scale, 0, 0], [0, scale, -(int(900 * scale) - height)], [0, 0, 1]])
    intrinsics = [[[focal, 0, cx], [0, focal, cy], [0, 0, 1]] for focal, cx, cy, *_ in CAMERAS.values()]
    ego_from_camera, global_from_ego = poses()
    reference_from_camera = np.linalg.inv(global_from_ego[0]) @ global_from_ego @ ego_from_camera
    return np.array(intrinsics, np.float32), reference_from_camera, np.stack([post] * len(CAMERAS)).astype(np.float32)


def poses(age: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """ego_from_camera and, at each exposure, global_from_ego, both (6, 4, 4), `age` key frames back."""
    ego_from_camera, global_from_ego = [], []
    for _, _, _, yaw, pitch, roll, x, y, z, exposure in CAMERAS.values():
        pose = np.eye(4)
        pose[:3, :3] = (_turn(2, np.radians(yaw)) @ _turn(1, np.radians(pitch)) @ _turn(0, np.radians(roll))
                        @ np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
        pose[:3, 3] = x, y, z
        ego_from_camera.append(pose)
        global_from_ego.append(_ego_pose(exposure - 0.5 * age))
    # the published inputs are float32
    return np.array(ego_from_camera, np.float32).astype(np.float64), np.array(global_from_ego, np.float32).astype(np.float64)


def _ego_pose(time: float, speed: float = 8.4, yaw_rate: float = 0.12, yaw_0: float = -1.927) -> np.ndarray:
    """Pose on an arc driven at constant speed."""
    yaw, radius = yaw_0 + yaw_rate * time, speed / yaw_rate
    pose = np.eye(4)
    pose[:3, :3] = _turn(2, yaw) @ _turn(1, 0.004) @ _turn(0, -0.006)
    pose[:3, 3] = (411.3 + radius * (np.sin(yaw) - np.sin(yaw_0)), 1180.9 - radius * (np.cos(yaw) - np.cos(yaw_0)), 0.02 * time)
    return pose


def _turn(axis: int, angle: float) -> np.ndarray:
    """Rotation about x (0), y (1) or z (2)."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    out = np.eye(3)
    out[a, a] = out[b, b] = np.cos(angle)
    out[b, a], out[a, b] = np.sin(angle), -np.sin(angle)
    return out

"""Training samples: one file per frame with network-size images, geometry and every target; read with augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.labels import FREE

DEPTH_SAMPLES = 16
"""Pixels looked at per feature cell for the depth and class histograms (a 4 x 4 lattice)."""

_BITS = ('visible', 'lidar_hits')
_ADDED = {'points': np.zeros((0, 6), np.float32), 'sweep': np.zeros(0, np.uint8), 'moving': np.zeros(0, np.int32),
          'flow': np.zeros((0, 2), np.float16)}
"""What files written before networks with LiDAR lack."""


@dataclass(frozen=True)
class TrainingSample:
    """One frame at network size.

    images (N, H, W, 3) uint8 RGB; intrinsics (N, 3, 3) of them; reference_ego_from_camera (N, 4, 4), ego motion between exposure
    and reference included; labels (nx, ny, nz) uint8; visible (nx, ny, nz) bool, the camera mask; lidar_hits
    (nx, ny, nz) bool, voxels that the sweep ends in (all False without a sweep); depth_m (N, h, w, 16) float16
    along the optical axis, 0 = none, and pixel_class (N, h, w, 16) uint8, FREE = sky, of pixels under each feature cell.
    past_images (P, N, H, W, 3) uint8 of earlier frames, the newest first, with past_reference_ego_from_camera (P, N, 4, 4) into
    the ego frame at the present reference; the intrinsics are the same. P is 0 for networks of one frame.
    points (M, 6) float32 as LidarSweep.points of all sweeps of a network with LiDAR, sweep (M,) uint8 the number of each
    one's, 0 the present one; M is 0 for networks without. moving (K,) int32 flat indices of the voxels that move, flow (K, 2)
    float16 their velocities in m/s along the ego axes; all others stand.
    """

    images: np.ndarray
    intrinsics: np.ndarray
    reference_ego_from_camera: np.ndarray
    labels: np.ndarray
    visible: np.ndarray
    lidar_hits: np.ndarray
    depth_m: np.ndarray
    pixel_class: np.ndarray
    past_images: np.ndarray
    past_reference_ego_from_camera: np.ndarray
    points: np.ndarray
    sweep: np.ndarray
    moving: np.ndarray
    flow: np.ndarray


def save_sample(path: Path, sample: TrainingSample) -> None:
    """Write one sample, compressed; a file is there whole or not at all."""
    unfinished = path.with_suffix('.part.npz')
    arrays: dict[str, Any] = {name: np.packbits(value) if name in _BITS else value for name, value in vars(sample).items()}
    np.savez_compressed(unfinished, **arrays)
    unfinished.replace(path)


def load_sample(path: Path) -> TrainingSample:
    """Read a sample written by save_sample."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    shape = arrays['labels'].shape
    for name in _BITS:
        arrays[name] = np.unpackbits(arrays[name], count=int(np.prod(shape))).reshape(shape).astype(bool)
    arrays.setdefault('past_images', arrays['images'][None][:0])
    arrays.setdefault('past_reference_ego_from_camera', arrays['reference_ego_from_camera'][None][:0])
    for name, empty in _ADDED.items():
        arrays.setdefault(name, empty)
    return TrainingSample(**arrays)


def cell_pixels(image: np.ndarray, cell_rows: np.ndarray, cell_columns: np.ndarray) -> np.ndarray:
    """Values of image (H, W) at the 4 x 4 lattice of each feature cell: (h, w, 16).

    cell_rows (h, 4) and cell_columns (w, 4) are pixel positions in image; positions outside it give 0.
    """
    height, width = image.shape
    rows, columns = np.rint(cell_rows).astype(int), np.rint(cell_columns).astype(int)
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[None, :, None, :]
    values = image[np.clip(rows, 0, height - 1)[:, None, :, None], np.clip(columns, 0, width - 1)[None, :, None, :]]
    return np.where(inside, values, 0).reshape(len(rows), len(columns), -1)


def augment(sample: TrainingSample, random: np.random.Generator) -> TrainingSample:
    """A random variant of a sample.

    Mirrored images (with the camera geometry mirrored along), ego frame flipped in x and in y, each with probability 1/2
    (the BDA flips of BEVDet), and per camera another exposure, white balance and noise.
    """
    intrinsics = sample.intrinsics.copy()
    frames = np.concatenate([sample.images[None], sample.past_images])
    ego_from_camera = np.concatenate([sample.reference_ego_from_camera[None], sample.past_reference_ego_from_camera])
    depth, pixel_class = sample.depth_m, sample.pixel_class
    volumes = [sample.labels, sample.visible, sample.lidar_hits]
    points, flow = sample.points.copy(), sample.flow.copy()
    place = list(np.unravel_index(sample.moving, sample.labels.shape))
    if random.random() < 0.5:
        frames, depth, pixel_class = frames[:, :, :, ::-1], depth[:, :, ::-1], pixel_class[:, :, ::-1]
        intrinsics[:, 0, 2] = frames.shape[3] - 1 - intrinsics[:, 0, 2]
        ego_from_camera[:, :, :3, 0] *= -1
    for axis in (0, 1):
        if random.random() < 0.5:
            ego_from_camera[:, :, axis, :] *= -1
            volumes = [np.flip(volume, axis) for volume in volumes]
            points[:, axis] *= -1
            flow[:, axis] *= -1
            place[axis] = sample.labels.shape[axis] - 1 - place[axis]
    cameras = frames.shape[1]
    gain = random.uniform(0.75, 1.3, (cameras, 1, 1, 1)) * random.uniform(0.93, 1.07, (cameras, 1, 1, 3))
    offset = random.uniform(-12, 12, (cameras, 1, 1, 1))
    noisy = frames * gain.astype(np.float32) + offset.astype(np.float32)
    if random.random() < 0.5:
        noisy += random.standard_normal(noisy.shape, np.float32) * np.float32(random.uniform(0, 6))
    frames = np.clip(noisy, 0, 255).astype(np.uint8)
    labels, visible, lidar_hits = map(np.ascontiguousarray, volumes)
    return TrainingSample(frames[0], intrinsics, ego_from_camera[0], labels, visible, lidar_hits, depth, pixel_class,
                          frames[1:], ego_from_camera[1:], points, sample.sweep,
                          np.ravel_multi_index(tuple(place), labels.shape).astype(np.int32), flow)


def depth_histogram(depth_m: np.ndarray, first_m: float, step_m: float, bins: int) -> np.ndarray:
    """Share of each cell's pixels per depth bin, (N, bins, h, w) float32; pixels without depth in range are left out."""
    index = np.floor((depth_m.astype(np.float32) - (first_m - step_m / 2)) / step_m).astype(int)
    index[depth_m <= 0] = -1
    return _histogram(index, bins)


def class_histogram(pixel_class: np.ndarray, classes: int = FREE + 1) -> np.ndarray:
    """Share of each cell's pixels per class, (N, classes, h, w) float32."""
    return _histogram(pixel_class.astype(int), classes)


def _histogram(index: np.ndarray, bins: int) -> np.ndarray:
    cells = index.reshape(-1, index.shape[-1])
    valid = (cells >= 0) & (cells < bins)
    flat = (np.arange(len(cells))[:, None] * bins + cells)[valid]
    counts = np.bincount(flat, minlength=len(cells) * bins).reshape(*index.shape[:-1], bins)
    return np.moveaxis(counts.astype(np.float32) / index.shape[-1], -1, 1)

"""Training samples made up in no time: small but whole."""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.transforms import matrix
from occ_perception.training.samples import TrainingSample

FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def _turn(angle):
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def make_sample(seed: int) -> TrainingSample:
    """Small but whole: random pictures, a level ring of cameras, ground with blocks."""
    random = np.random.default_rng(seed)
    labels = np.full((200, 200, 16), 17, np.uint8)
    labels[:, :, 2] = 11
    for _ in range(20):
        x, y = random.integers(0, 190, 2)
        labels[x:x + 8, y:y + 5, 3:7] = random.integers(0, 17)
    intrinsics = np.array([[278.0, 0, 170], [0, 278.0, 40], [0, 0, 1]])
    poses = [matrix(_turn(np.pi / 3 * i + 0.1) @ FORWARD, (1.0, 0.2, 1.5)) for i in range(6)]
    depth = random.uniform(1, 44, (6, 16, 44, 16)).astype(np.float16)
    images = random.integers(0, 255, (6, 128, 352, 3), dtype=np.uint8)
    return TrainingSample(images, np.stack([intrinsics] * 6), np.stack(poses), labels,
                          random.random(labels.shape) < 0.1, random.random(labels.shape) < 0.01, depth,
                          random.integers(0, 18, depth.shape, dtype=np.uint8), images[None] // 2, np.stack(poses)[None],
                          *lidar_of(random, labels))


def lidar_of(random: np.random.Generator, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Points on the blocks and the ground, in three sweeps, and a block that moves."""
    voxels = np.argwhere(labels != 17)
    voxels = voxels[random.choice(len(voxels), 3000)]
    places = (voxels + random.random(voxels.shape)) * 0.4 - (40, 40, 1)
    rest = np.column_stack([random.uniform(0, 90, 3000), random.integers(0, 32, 3000), np.zeros(3000)])
    moving = np.flatnonzero(labels < 11)[:400]
    return (np.hstack([places, rest]).astype(np.float32), np.sort(random.integers(0, 3, 3000)).astype(np.uint8),
            moving.astype(np.int32), np.tile(np.array([[3.0, -1.0]], np.float16), (len(moving), 1)))

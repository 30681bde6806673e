"""The ray fan and the ray origins against the official ones."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from occ_perception.geometry.transforms import matrix
from occ_perception.metrics.ray_set import lidar_rays, pitches, ray_origins

GOLDEN = Path(__file__).resolve().parents[1] / 'golden'


def test_the_fan_is_the_official_one(expected: dict) -> None:
    golden = expected['rays']
    assert list(pitches()) == golden['pitch_rad']
    assert lidar_rays().shape == (golden['n'], 3)
    assert zlib.crc32(lidar_rays().tobytes()) == golden['crc32_float32']


def test_nobody_can_change_the_fan() -> None:
    with pytest.raises(ValueError, match='read-only'):
        lidar_rays()[0, 0] = 1


def test_origins_are_the_official_ones(expected: dict) -> None:
    with np.load(GOLDEN / 'metrics_raycast.npz') as data:
        for frame, (index, golden) in enumerate(zip((5, 1), expected['origins']['origins'], strict=True)):
            found = ray_origins(data[f'fixed_from_ego_{frame}'], data[f'ego_from_lidar_{frame}'], index)
            np.testing.assert_allclose(found, golden, rtol=0, atol=1e-14)


def test_origins_from_the_scene_itself(cases) -> None:
    for index, golden in zip(cases.expected('origins')['index'], cases.origins(), strict=True):
        np.testing.assert_allclose(ray_origins(*cases.scene_poses(index)), golden, rtol=0, atol=1e-14)


def drive(xs: list[float]) -> list[np.ndarray]:
    return [matrix(np.eye(3), np.array([x, 0, 0])) for x in xs]


def test_far_origins_are_left_out_and_few_are_not_padded() -> None:
    xs = [-50.0, -39.0, -38.9, 0.0, 38.9, 39.0]
    origins = ray_origins(drive(xs), drive([0] * len(xs)), 3)
    np.testing.assert_allclose(origins[:, 0], [-38.9, 0, 38.9], atol=1e-6)


def test_more_than_eight_are_thinned_evenly_with_halves_to_even() -> None:
    xs = [float(x) for x in range(12)]
    origins = ray_origins(drive(xs), drive([0] * 12), 0)
    np.testing.assert_allclose(origins[:, 0], [0, 2, 3, 5, 6, 8, 9, 11], atol=1e-6)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match='2 poses fixed_from_ego but 1 ego_from_lidar'):
        ray_origins(drive([0, 1]), drive([0]), 0)
    with pytest.raises(IndexError, match='key frame 2 of a scene of 2'):
        ray_origins(drive([0, 1]), drive([0, 0]), 2)

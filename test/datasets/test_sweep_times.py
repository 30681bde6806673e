"""Times of points and what the beams saw, out of sweeps as nuScenes stores them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from occ_perception.datasets.sweep_times import as_measured, turn_time
from occ_perception.geometry.transforms import apply, interpolate, inverse, matrix, rotation_from_quaternion

TURN_S = 0.05
COLUMNS, BEAMS = 400, 32
START = matrix(rotation_from_quaternion(0, 0, 0.3, 1), (100.0, -20.0, 1.8))
END = START @ matrix(rotation_from_quaternion(0, 0, 0.012, 1), (0.1, 0.75, 0.01))
"""15 m/s ahead (the LiDAR's y) and 28 degrees/s to the left."""


def turn(first_azimuth: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (M, 5) as the file has them (moved to END), what the beams saw (M, 3), when (M,)."""
    rng = np.random.default_rng(5)
    share = np.repeat((np.arange(COLUMNS) + 1) / COLUMNS, BEAMS)
    azimuth = first_azimuth - 2 * np.pi * share
    reach = rng.uniform(4, 60, len(share))
    seen = np.column_stack([reach * np.cos(azimuth), reach * np.sin(azimuth), rng.uniform(-2, 3, len(share))])
    moved = np.empty_like(seen)
    for value in np.unique(share):
        at = share == value
        moved[at] = apply(inverse(END) @ interpolate(START, END, float(value)), seen[at])
    ring = np.tile(np.arange(BEAMS), COLUMNS)
    points = np.column_stack([moved, np.full(len(share), 7), ring]).astype(np.float32)
    return points, seen, (share - 1) * TURN_S


@pytest.mark.parametrize('first_azimuth', [-np.pi / 2, np.pi, 0.4])
@pytest.mark.parametrize('misses', ['in the file', 'left out'])
def test_points_lie_where_and_when_the_beams_saw_them(first_azimuth: float, misses: str) -> None:
    points, seen, times = turn(first_azimuth)
    keep = np.ones(len(points), bool)
    if misses == 'left out':
        keep = np.random.default_rng(1).random(len(points)) < 0.7
        keep[: len(points) // 8] &= np.random.default_rng(2).random(len(points) // 8) < 0.2
    elsewhere = np.linalg.norm(points[keep, :3] - seen[keep], axis=1)
    assert np.percentile(elsewhere, 95) > 0.7
    found = as_measured(points[keep], TURN_S, START, END)
    assert found is not None
    np.testing.assert_allclose(found[1], times[keep], atol=1e-7 if misses == 'in the file' else 1e-4)
    np.testing.assert_allclose(found[0], seen[keep], atol=0.004)
    assert found[0].dtype == found[1].dtype == np.float32


def test_points_in_no_order_get_no_times() -> None:
    points, _, _ = turn(0.0)
    shuffled = np.random.default_rng(3).permutation(points[:-1])
    assert as_measured(shuffled, TURN_S, START, END) is None


def test_a_vehicle_at_rest_leaves_points_where_they_are() -> None:
    points, _, times = turn(1.0)
    found = as_measured(points, TURN_S, END, END)
    assert found is not None
    np.testing.assert_allclose(found[0], points[:, :3], atol=1e-5)
    np.testing.assert_allclose(found[1], times, atol=1e-7)


def test_turn_time_is_the_gap_to_the_last_sweep_unless_one_was_lost() -> None:
    assert turn_time(10_050_400_000, 10_000_000_000) == pytest.approx(0.0504)
    assert turn_time(10_100_000_000, 10_000_000_000) == TURN_S
    assert turn_time(10_100_000_000, None) == TURN_S


def test_a_real_sweep_is_in_the_order_of_firing(shared: Path) -> None:
    """Times by firing agree with the azimuths of far points: the sensor turns clockwise once, evenly."""
    file = next((shared / 'real_frame').glob('*.pcd.bin'))
    points = np.fromfile(file, np.float32).reshape(-1, 5)
    found = as_measured(points, TURN_S, np.eye(4), np.eye(4))
    assert found is not None
    _, times = found
    far = np.hypot(points[:, 0], points[:, 1]) > 15
    turned = np.unwrap(np.arctan2(points[far, 1], points[far, 0]).astype(np.float64))
    expected = turned[-1] - 2 * np.pi * times[far] / TURN_S
    assert np.abs(turned - expected).max() < np.radians(4)
    assert times[0] > -TURN_S and times[-1] == 0

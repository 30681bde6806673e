from __future__ import annotations

import numpy as np

from occ_perception.geometry.transforms import apply, inverse, matrix, rotation_from_quaternion
from occ_perception.runtime.intake.sweeps import PlacedSweep, gathered, time_span, to_ego, without_ego


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    return matrix(rotation_from_quaternion(0, 0, np.sin(yaw / 2), np.cos(yaw / 2)), (x, y, 0))


def test_a_wall_seen_from_a_turning_vehicle_comes_out_flat() -> None:
    """Points of a fixed wall, measured one after another while driving and turning, fall back onto the wall."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(-0.05, 0.0, 500)).astype(np.float32)
    ego_from_sensor = matrix(rotation_from_quaternion(0, 0, -np.sqrt(0.5), np.sqrt(0.5)), (0.9, 0.0, 1.8))
    speed, rate = 15.0, 0.8

    def pose_at(t: float) -> np.ndarray:
        return pose(100 + speed * t, 50.0, rate * t)

    wall = np.stack([np.full(500, 120.0), rng.uniform(40, 60, 500), rng.uniform(0, 3, 500)], axis=1)
    points = np.zeros((500, 6), np.float32)
    for i, t in enumerate(times):
        points[i, :3] = apply(inverse(pose_at(float(t)) @ ego_from_sensor), wall[i:i + 1])[0]
    points[:, 3], points[:, 4], points[:, 5] = 7, 3, times
    first, last = time_span(points)
    out = to_ego(points, ego_from_sensor, pose_at(first), pose_at(last), pose_at(0.0))
    moved = apply(pose_at(0.0), out[:, :3].astype(np.float64))
    assert np.abs(moved - wall).max() < 1e-3
    np.testing.assert_allclose(out[:, 5], -times, atol=1e-6)
    assert (out[:, 3] == 7).all() and (out[:, 4] == 3).all()
    still = to_ego(points, ego_from_sensor, pose_at(0.0), pose_at(0.0), pose_at(0.0))
    assert np.abs(apply(pose_at(0.0), still[:, :3].astype(np.float64)) - wall).max() > 0.3


def test_earlier_sweeps_are_moved_with_the_vehicle() -> None:
    """A post that stands still is at the same place in all sweeps; lags and the LiDAR's places grow with the age."""
    mount, post = pose(0.9), np.array([[20.0, 3.0, 1.0]])

    def sweep(seconds: float) -> PlacedSweep:
        there = pose(10 * seconds, 0.0, 0.3 * seconds)
        points = np.zeros((1, 6), np.float32)
        points[:, :3], points[:, 3], points[:, 4], points[:, 5] = apply(inverse(there), post), 7, 3, 0.02
        return PlacedSweep(round(1e9 * seconds), points, mount, there)

    present, *earlier = gathered(sweep(1.0), [sweep(0.75), sweep(0.5)])
    assert [each.stamp_ns for each in earlier] == [750_000_000, 500_000_000]
    for each, age_s in zip((present, *earlier), (0.0, 0.25, 0.5), strict=True):
        np.testing.assert_allclose(each.points[:, :3], present.points[:, :3], atol=1e-5)
        np.testing.assert_allclose(each.points[:, 3:], [[7, 3, age_s + 0.02]], atol=1e-6)
    np.testing.assert_allclose(present.ego_from_lidar, mount)
    np.testing.assert_allclose(earlier[1].ego_from_lidar, inverse(pose(10.0, 0.0, 0.3)) @ pose(5.0, 0.0, 0.15) @ mount, atol=1e-12)


def test_returns_of_the_vehicle_itself_are_removed() -> None:
    points = np.zeros((4, 6), np.float32)
    points[:, :2] = [[3.0, 0.5], [3.0, 1.5], [-0.5, -0.9], [-1.5, 0.0]]
    np.testing.assert_array_equal(without_ego(points, 3.5, 1.0, 1.0), points[[1, 3]])
    assert without_ego(points, 3.5, 1.0, 0.0) is points

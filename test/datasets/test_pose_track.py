"""Poses over time: between known ones, beyond the ends, and the motion they say."""

from __future__ import annotations

import numpy as np
import pytest

from occ_perception.datasets.pose_track import SECOND, PoseTrack
from occ_perception.geometry.transforms import matrix, rotation_from_quaternion

SPEED, TURN = 8.0, 0.4
"""m/s along the path, rad/s to the left: a circle of 20 m."""


def pose(seconds: float) -> np.ndarray:
    yaw, radius = TURN * seconds, SPEED / TURN
    rotation = rotation_from_quaternion(0, 0, np.sin(yaw / 2), np.cos(yaw / 2))
    return matrix(rotation, (500 + radius * np.sin(yaw), -80 + radius * (1 - np.cos(yaw)), 0.2))


def track(times: np.ndarray) -> PoseTrack:
    return PoseTrack([(round(t * SECOND), pose(t)) for t in np.random.default_rng(0).permutation(times)])


def test_between_and_beyond_known_poses() -> None:
    poses = track(np.arange(0, 2.001, 0.02))
    for seconds in (0.0, 0.5, 0.513, 1.999, 2.0):
        np.testing.assert_allclose(poses.at(round(seconds * SECOND)), pose(seconds), atol=1e-3)
    for seconds in (-0.05, 2.05):
        np.testing.assert_allclose(poses.at(round(seconds * SECOND)), pose(seconds), atol=0.02)


def test_velocity_is_along_the_vehicles_axes() -> None:
    poses = track(np.arange(0, 2.001, 0.013))
    for seconds in (0.0, 0.77, 1.9):
        velocity, turn = poses.velocity(round(seconds * SECOND))
        np.testing.assert_allclose(velocity, [SPEED, 0, 0], atol=0.2)
        np.testing.assert_allclose(turn, [0, 0, TURN], atol=0.01)


def test_the_first_pose_of_a_stamp_counts_and_none_is_an_error() -> None:
    poses = PoseTrack([(5, pose(1.0)), (5, pose(0.0))])
    assert len(poses) == 1
    np.testing.assert_array_equal(poses.at(99), pose(1.0))
    assert not np.any(np.array(poses.velocity(5)))
    with pytest.raises(ValueError, match='at least one pose'):
        PoseTrack([])

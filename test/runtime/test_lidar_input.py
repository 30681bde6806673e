"""Which points enter a network, in which columns and frame, and what engines are given of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from occ_perception.catalogue import AT_START, EACH, LIDAR, NEVER, LidarSpec, entry
from occ_perception.geometry.transforms import matrix
from occ_perception.networks.configs import config_of
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.lidar_input import chosen_sweeps, lidar_input, points_of
from occ_perception.runtime.memory import CameraSet

SECOND = 1_000_000_000
NOW = 10 * SECOND
MOUNT = matrix(np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]]), (1.0, 0.0, 2.0))


def sweep(age_s: float, *places: tuple[float, float, float]) -> LidarSweep:
    """Points with intensity 100 and ring 31."""
    points = np.array([(*place, 100, 31, age_s) for place in places or [(10, 0, 0)]], np.float32)
    return LidarSweep(NOW - round(age_s * SECOND), points, MOUNT)


@pytest.mark.parametrize(('stand_in', 'ages', 'expected'), [
    (NEVER, (0.05,), [(0, 0), (0.05, 1)]), (EACH, (0.05,), [(0, 0), (0.05, 1), (0, 2)]), (AT_START, (0.05,), [(0, 0), (0.05, 1)]),
    (AT_START, (), [(0, 0), (0, 1), (0, 2)]), (NEVER, (), [(0, 0)])])
def test_the_present_sweep_stands_in(stand_in: str, ages: tuple[float, ...], expected: list[tuple[float, int]]) -> None:
    spec = LidarSpec(ages_s=(0.05, 0.1), stand_in=stand_in)
    found = chosen_sweeps([sweep(0), *map(sweep, ages)], spec)
    assert [(round((NOW - one.stamp_ns) / SECOND, 3), place) for one, place in found] == expected
    assert chosen_sweeps([], spec) == []


def test_columns_close_returns_and_frame() -> None:
    spec = LidarSpec(ages_s=(0.05,), close_m=1.0)
    near, far = (1.5, 0.5, 0.0), (3.0, 0.0, 0.0)
    points = points_of([sweep(0, near, far), sweep(0.05, near, far)], spec)
    np.testing.assert_allclose(points, [[*near, 100, 0], [*far, 100, 0], [*far, 100, 0.05]], atol=1e-6)
    tanh = points_of([sweep(0, far)], LidarSpec(('tanh_intensity', 'ring')))
    np.testing.assert_allclose(tanh, [[*far, 1, 31]], atol=1e-6)
    own = points_of([sweep(0, far)], replace(spec, frame=LIDAR))
    np.testing.assert_allclose(own[0, :3], [0, 2, -2], atol=1e-6)


def test_thinning_is_the_same_in_every_replay_and_another_in_every_place() -> None:
    spec = LidarSpec(('intensity', 'ring'), (0.5, 1.0), 0.15, EACH, thinned=True)
    low = sweep(0, *[(x / 100, 0, 0) for x in range(1000)])
    low.points[:, 4] = 3
    first, again = points_of([low], spec), points_of([low], spec)
    np.testing.assert_array_equal(first, again)
    assert 450 < len(first) < 750  # three times one in five
    starts = np.flatnonzero(np.diff(first[:, 0]) < 0)
    assert len(starts) == 2 and not np.array_equal(first[:starts[0] + 1], first[starts[0] + 1:starts[1] + 1])


def test_an_engine_is_given_voxels_tables_and_hints() -> None:
    row = entry('effocc-fusion-r18')
    turn = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0.0]])
    ego_from_camera = np.stack([matrix(turn, (0.0, 0.0, 1.0))] * 6)
    intrinsics = np.stack([np.array([[500.0, 0, 352], [0, 500, 128], [0, 0, 1]])] * 6)
    cameras = CameraSet(intrinsics, ego_from_camera, ego_from_camera, np.array([True] + [False] * 5))
    branch = config_of(row.name).lidar
    given, left_out = lidar_input(row, branch, [sweep(0, (20, 0, 1), (20, 0, 1), (-5, 3, 0), (100, 0, 0))], cameras, np.eye(4))
    assert given.voxels.shape == (2, 5) and left_out == 0  # two of one place, one out of range
    assert set(given.tables) == set(branch.sparse.names)
    assert given.hints.shape == (6, 256, 704) and not given.hints[1:].any()
    assert given.hints[0, 128, 352] == pytest.approx(20) and np.count_nonzero(given.hints) == 1
    caps = (1, 8, 8, 8, 8)
    padded, left_out = lidar_input(row, branch, [sweep(0, (20, 0, 1), (-5, 3, 0))], cameras, np.eye(4), caps)
    assert left_out == 1 and padded.voxels.shape == (1, 5) and padded.tables['near_1'].shape == (8, 27)
    np.testing.assert_allclose(padded.voxels[0, :3], [20, 0, 1])

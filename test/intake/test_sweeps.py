from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from occ_perception.geometry.transforms import apply, inverse, matrix, rotation_from_quaternion
from occ_perception.runtime.intake.sweeps import CloudError, SweepHistory, points_from_cloud, time_span, to_ego

CODES = {'i1': 1, 'u1': 2, 'i2': 3, 'u2': 4, 'i4': 5, 'u4': 6, 'f4': 7, 'f8': 8}


def cloud_of(records: np.ndarray, **changes) -> SimpleNamespace:
    fields = [SimpleNamespace(name=name, offset=offset, datatype=CODES[dtype.str[1:]], count=1)
              for name, (dtype, offset) in records.dtype.fields.items()]
    values = {'fields': fields, 'width': len(records), 'height': 1, 'point_step': records.itemsize,
              'row_step': records.nbytes, 'is_bigendian': False, 'data': records.tobytes()}
    return SimpleNamespace(**{**values, **changes})


def records(count: int = 6, extra: tuple = (('intensity', '<f4'), ('ring', '<u2'), ('time', '<f4'))) -> np.ndarray:
    out = np.zeros(count, np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4'), *extra]))
    for i, name in enumerate('xyz'):
        out[name] = np.arange(count) + 10 * i
    return out


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    return matrix(rotation_from_quaternion(0, 0, np.sin(yaw / 2), np.cos(yaw / 2)), (x, y, 0))


def test_fields_are_read_by_name() -> None:
    cloud = records()
    cloud['intensity'], cloud['ring'], cloud['time'] = 5, 31, -0.02
    points, left_out = points_from_cloud(cloud_of(cloud), 0, '/lidar')
    assert points.dtype == np.float32
    assert left_out == 0
    np.testing.assert_allclose(points[2], [2, 12, 22, 5, 31, -0.02])


def test_other_time_fields() -> None:
    nanoseconds = records(extra=(('t', '<u4'),))
    nanoseconds['t'] = 50_000_000
    assert points_from_cloud(cloud_of(nanoseconds), 0, '/lidar')[0][0, 5] == pytest.approx(0.05)
    absolute = records(extra=(('timestamp', '<f8'),))
    absolute['timestamp'] = 1_600_000_000.25
    points, _ = points_from_cloud(cloud_of(absolute), 1_600_000_000_300_000_000, '/lidar')
    assert points[0, 5] == pytest.approx(-0.05, abs=1e-6)
    assert (points[:, 3] == 0).all() and (points[:, 4] == -1).all()


def test_padded_rows_and_organised_clouds() -> None:
    cloud = records(6)
    padded = b''.join(cloud[i:i + 3].tobytes() + b'\xff' * 5 for i in (0, 3))
    points, _ = points_from_cloud(cloud_of(cloud, width=3, height=2, row_step=3 * cloud.itemsize + 5, data=padded), 0, '/lidar')
    np.testing.assert_array_equal(points[:, 0], np.arange(6))


def test_points_that_are_not_finite_are_left_out_and_counted() -> None:
    cloud = records()
    cloud['y'][1], cloud['z'][4] = np.nan, np.inf
    points, left_out = points_from_cloud(cloud_of(cloud), 0, '/lidar')
    assert left_out == 2
    assert len(points) == 4
    cloud['x'] = np.nan
    with pytest.raises(CloudError, match='none of 6 points is finite'):
        points_from_cloud(cloud_of(cloud), 0, '/lidar')


@pytest.mark.parametrize(('changes', 'word'), [
    ({'width': 0, 'data': b''}, 'empty cloud'), ({'data': b'123'}, '3 bytes do not hold'), ({'fields': []}, 'no field x, y, z'),
    ({'row_step': 3}, 'do not hold'),
])
def test_bad_clouds_name_the_topic(changes: dict, word: str) -> None:
    with pytest.raises(CloudError, match=f'/LIDAR_TOP: .*{word}'):
        points_from_cloud(cloud_of(records(), **changes), 0, '/LIDAR_TOP')


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


def test_history_is_chosen_by_time_and_moved_with_the_vehicle() -> None:
    history = SweepHistory(window_ns=100_000_000)
    point = np.array([[10, 0, 0, 1, 5, 0]], np.float32)
    history.add(0, point, pose(0))
    history.add(60_000_000, point, pose(1))
    both = history.add(120_000_000, point, pose(2))
    np.testing.assert_allclose(both[:, 0], [10, 9])
    np.testing.assert_allclose(both[:, 5], [0, 0.06], atol=1e-6)
    assert len(history.add(0, point, pose(0))) == 1
    assert len(SweepHistory(0).add(1, point, pose(0))) == 1

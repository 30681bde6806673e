from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from occ_perception.runtime.intake.clouds import CloudError, points_from_cloud

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


def test_fields_are_read_by_name() -> None:
    cloud = records()
    cloud['intensity'], cloud['ring'], cloud['time'] = 5, 31, -0.02
    points, left_out = points_from_cloud(cloud_of(cloud), 0, '/lidar')
    assert points.dtype == np.float32
    assert not left_out
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
    assert left_out == {'not_finite': 2}
    assert len(points) == 4
    cloud['x'] = np.nan
    with pytest.raises(CloudError, match='none of 6 points is finite and within 1000 m'):
        points_from_cloud(cloud_of(cloud), 0, '/lidar')


@pytest.mark.parametrize(('changes', 'word'), [
    ({'width': 0, 'data': b''}, 'empty cloud'), ({'data': b'123'}, '3 bytes do not hold'), ({'fields': []}, 'no field x, y, z'),
    ({'row_step': 3}, 'do not hold'), ({'point_step': 10}, "field z at byte 8 does not fit in points of 10 bytes"),
    ({'point_step': 0}, 'does not fit in points of 0 bytes'), ({'data': b''}, '0 bytes do not hold'),
    ({'fields': [SimpleNamespace(name=name, offset=0, datatype=9, count=1) for name in 'xyz']}, 'field x has unknown datatype 9'),
    ({'height': 1000}, 'do not hold 1000 rows'),
])
def test_bad_clouds_name_the_topic(changes: dict, word: str) -> None:
    with pytest.raises(CloudError, match=f'/LIDAR_TOP: .*{word}'):
        points_from_cloud(cloud_of(records(), **changes), 0, '/LIDAR_TOP')


def drivers() -> dict[str, tuple[np.ndarray, str]]:
    """The same six points as drivers lay them out: (records, order of bytes)."""
    places = {name: np.arange(6) + 10.0 * i for i, name in enumerate('xyz')}

    def laid_out(kinds: list[tuple[str, str]], order: str = '<', **more: float) -> tuple[np.ndarray, str]:
        out = np.zeros(6, np.dtype([(name, kind if kind[0] in '<>|' else order + kind) for name, kind in kinds]))
        for name, values in {**places, **more}.items():
            out[name] = values
        return out, order

    return {
        'velodyne': laid_out([('x', 'f4'), ('y', 'f4'), ('z', 'f4'), ('intensity', 'f4'), ('ring', 'u2'), ('time', 'f4')],
                             intensity=5, ring=3, time=-0.02),
        'ouster': laid_out([('x', 'f4'), ('y', 'f4'), ('z', 'f4'), ('gap', 'f4'), ('t', 'u4'), ('reflectivity', 'u2'),
                            ('ring', 'u1')], reflectivity=5, ring=3, t=80_000_000),
        'hesai': laid_out([('timestamp', 'f8'), ('x', 'f4'), ('z', 'f4'), ('y', 'f4'), ('ring', 'u2'), ('intensity', 'u1')],
                          intensity=5, ring=3, timestamp=1_600_000_000.08),
        'livox': laid_out([('x', 'f4'), ('y', 'f4'), ('z', 'f4'), ('intensity', 'f4'), ('tag', 'u1'), ('line', 'u1'),
                           ('timestamp', 'f8')], intensity=5, line=3, timestamp=1_600_000_000_080_000_000.0),
        'doubles': laid_out([('x', 'f8'), ('y', 'f8'), ('z', 'f8'), ('intensity', 'f8'), ('ring', 'i4'), ('time', 'f8')],
                            intensity=5, ring=3, time=0.08),
        'big endian': laid_out([('ring', 'u2'), ('z', 'f4'), ('y', 'f4'), ('x', 'f4'), ('intensity', 'f4'), ('time', 'f4')], '>',
                               intensity=5, ring=3, time=0.08),
    }


@pytest.mark.parametrize('driver', list(drivers()))
def test_layouts_of_drivers_give_the_same_points(driver: str) -> None:
    laid_out, order = drivers()[driver]
    fields = [SimpleNamespace(name=name, offset=offset, datatype=CODES[dtype.str[1:]], count=1)
              for name, (dtype, offset) in laid_out.dtype.fields.items()]
    points, counted = points_from_cloud(cloud_of(records(), fields=fields, point_step=laid_out.itemsize, row_step=0,
                                                 is_bigendian=order == '>', data=laid_out.tobytes()),
                                        1_600_000_000_000_000_000, '/lidar')
    assert not counted
    np.testing.assert_allclose(points[:, :5], [[i, 10 + i, 20 + i, 5, 3] for i in range(6)])
    np.testing.assert_allclose(points[:, 5], -0.02 if driver == 'velodyne' else 0.08, atol=1e-6)


def test_what_cannot_be_is_left_out_or_mended_and_counted() -> None:
    cloud = records()
    cloud['x'][1], cloud['intensity'][2], cloud['time'][3] = 1e30, np.nan, 1e9
    points, counted = points_from_cloud(cloud_of(cloud), 0, '/lidar')
    assert counted == {'too_far': 1, 'bad_times': 6}
    assert len(points) == 5 and points[1, 3] == 0 and (points[:, 5] == 0).all()
    doubles = np.zeros(3, np.dtype([('x', '<f8'), ('y', '<f8'), ('z', '<f8')]))
    doubles['x'] = [1, 1e300, np.inf]
    points, counted = points_from_cloud(cloud_of(doubles), 0, '/lidar')
    assert counted == {'not_finite': 2} and len(points) == 1


def test_ten_times_too_many_points_are_thinned_evenly() -> None:
    cloud = records(10_000)
    points, counted = points_from_cloud(cloud_of(cloud), 0, '/lidar', most=999)
    assert len(points) == 90 and counted == {'thinned': 9090, 'too_far': 820}
    np.testing.assert_array_equal(np.diff(points[:, 0]), 11)

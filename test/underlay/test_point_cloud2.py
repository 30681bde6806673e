"""Point clouds to and from numpy."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import PointField
from sensor_msgs_py import point_cloud2
from std_msgs.msg import Header

FIELDS = [PointField(name='x', offset=0, datatype=PointField.FLOAT32, count=1),
          PointField(name='ring', offset=4, datatype=PointField.UINT16, count=1),
          PointField(name='time', offset=8, datatype=PointField.FLOAT64, count=1)]


def test_structured_points_come_back_as_they_went():
    dtype = point_cloud2.dtype_from_fields(FIELDS, point_step=16)
    assert dtype.itemsize == 16
    points = np.zeros(5, dtype)
    points['x'], points['ring'], points['time'] = np.arange(5), np.arange(5) * 1000, -np.arange(5) / 20
    cloud = point_cloud2.create_cloud(Header(frame_id='lidar'), FIELDS, points, point_step=16)
    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step, len(cloud.data)) == (5, 1, 16, 80, 80)
    back = point_cloud2.read_points(cloud)
    assert back.dtype == dtype
    for name in dtype.names:
        np.testing.assert_array_equal(back[name], points[name])
    np.testing.assert_array_equal(point_cloud2.read_points(cloud, field_names=['ring'])['ring'], points['ring'])


def test_xyz_points_from_arrays_and_lists():
    points = np.array([[1, 2, 3], [4, np.nan, 6], [7, 8, 9]], dtype=np.float32)
    cloud = point_cloud2.create_cloud_xyz32(Header(), points)
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud), points)
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud, skip_nans=True), points[[0, 2]])
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud, field_names=['z', 'x'], uvs=[2, 0]), [[9, 7], [3, 1]])
    listed = point_cloud2.create_cloud_xyz32(Header(), points.tolist())
    assert bytes(listed.data) == bytes(cloud.data)
    assert point_cloud2.read_points_list(listed)[0].y == 2.0


def test_an_empty_cloud_is_a_cloud():
    cloud = point_cloud2.create_cloud_xyz32(Header(), np.zeros((0, 3), np.float32))
    assert cloud.width == 0
    assert point_cloud2.read_points_numpy(cloud).shape == (0, 3)


def test_a_field_of_several_values_becomes_several_fields():
    fields = [PointField(name='v', offset=0, datatype=PointField.FLOAT32, count=2)]
    assert point_cloud2.dtype_from_fields(fields).names == ('v_0', 'v_1')


def test_unequal_types_are_refused_as_plain_array():
    points = np.zeros(1, point_cloud2.dtype_from_fields(FIELDS))
    cloud = point_cloud2.create_cloud(Header(), FIELDS, points)
    with pytest.raises(AssertionError):
        point_cloud2.read_points_numpy(cloud)
    with pytest.raises(AssertionError):
        point_cloud2.read_points(cloud, field_names=['intensity'])

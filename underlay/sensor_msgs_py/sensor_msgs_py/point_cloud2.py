"""PointCloud2 messages to and from numpy arrays."""

from __future__ import annotations

import array
import sys
from collections import namedtuple
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

DUMMY_FIELD_PREFIX = 'unnamed_field'
_TYPES = {PointField.INT8: np.int8, PointField.UINT8: np.uint8, PointField.INT16: np.int16, PointField.UINT16: np.uint16,
          PointField.INT32: np.int32, PointField.UINT32: np.uint32, PointField.FLOAT32: np.float32, PointField.FLOAT64: np.float64}


def dtype_from_fields(fields: Iterable[PointField], point_step: int | None = None) -> np.dtype:
    """The structured dtype of one point.

    A field with count n > 1 becomes n fields name_0 ... name_(n-1). point_step: bytes from point to point, the end of
    the last field when not given.
    """
    names: list[str] = []
    formats: list[str] = []
    offsets: list[int] = []
    for index, field in enumerate(fields):
        assert field.count > 0, f'field {field.name!r} has count 0'
        kind = np.dtype(_TYPES[field.datatype])
        name = field.name or f'{DUMMY_FIELD_PREFIX}_{index}'
        for part in range(field.count):
            full = f'{name}_{part}' if field.count > 1 else name
            assert full not in names, f'two fields are called {full!r}'
            names.append(full)
            formats.append(kind.str)
            offsets.append(field.offset + part * kind.itemsize)
    layout: dict[str, Any] = {'names': names, 'formats': formats, 'offsets': offsets}
    if point_step is not None:
        layout['itemsize'] = point_step
    return np.dtype(layout)


def read_points(cloud: PointCloud2, field_names: list[str] | None = None, skip_nans: bool = False, uvs: Iterable[int] | None = None,
                reshape_organized_cloud: bool = False) -> np.ndarray:
    """The points as a structured array of shape (N,), a view of the message's data where nothing has to be left out.

    field_names: only these fields. skip_nans: leave out points with a NaN, unless the cloud says it is dense. uvs: only the
    points of these indices. reshape_organized_cloud: shape (width, height) for a cloud of more than one row.
    """
    assert isinstance(cloud, PointCloud2), f'a sensor_msgs.msg.PointCloud2 is wanted, got {type(cloud).__name__}'
    points: np.ndarray = np.ndarray(shape=(cloud.width * cloud.height,), buffer=cloud.data,
                                    dtype=dtype_from_fields(cloud.fields, point_step=cloud.point_step))
    if field_names is not None:
        known = points.dtype.names or ()
        assert all(name in known for name in field_names), f'wanted fields {list(field_names)}, the cloud has {list(known)}'
        points = points[list(field_names)]
    if (sys.byteorder != 'little') != bool(cloud.is_bigendian):
        points = points.byteswap()
    if skip_nans and not cloud.is_dense:
        whole = np.ones(len(points), dtype=bool)
        for name in points.dtype.names or ():
            whole &= ~np.isnan(points[name])
        points = points[whole]
    if uvs is not None:
        points = points[uvs if isinstance(uvs, np.ndarray) else np.fromiter(uvs, int)]
    if reshape_organized_cloud and cloud.height > 1:
        points = points.reshape(cloud.width, cloud.height)
    return points


def read_points_numpy(cloud: PointCloud2, field_names: list[str] | None = None, skip_nans: bool = False,
                      uvs: Iterable[int] | None = None, reshape_organized_cloud: bool = False) -> np.ndarray:
    """The points as a plain array of shape (N, fields); the fields must be of one type. Arguments as in read_points."""
    wanted = [field for field in cloud.fields if field_names is None or field.name in field_names]
    assert len({field.datatype for field in wanted}) <= 1, 'the fields are of different types; use read_points instead'
    return structured_to_unstructured(read_points(cloud, field_names, skip_nans, uvs, reshape_organized_cloud))


def read_points_list(cloud: PointCloud2, field_names: list[str] | None = None, skip_nans: bool = False,
                     uvs: Iterable[int] | None = None) -> list[Any]:
    """The points as a list of named tuples; slow. Arguments as in read_points."""
    names = [field.name for field in cloud.fields] if field_names is None else list(field_names)
    point = namedtuple('Point', names)  # type: ignore[misc]
    return [point._make(values) for values in read_points(cloud, names, skip_nans, uvs)]


def create_cloud(header: Header, fields: Iterable[PointField], points: Iterable, point_step: int | None = None) -> PointCloud2:
    """A message of points.

    points: a structured array with the dtype of the fields, a plain (N, fields) array when all fields are of one type, or an
    iterable with one tuple for each point. Arrays with one more axis make an organized cloud.
    """
    fields = list(fields)
    wanted = dtype_from_fields(fields, point_step)
    if not isinstance(points, np.ndarray):
        points = np.array([tuple(point) for point in points], dtype=wanted)
    elif points.dtype.names is None:
        assert len({field.datatype for field in fields}) == 1, 'the fields are of different types; a structured array is needed'
        points = unstructured_to_structured(points, dtype=wanted)
    else:
        assert points.dtype == wanted, f'the points have dtype {points.dtype}, the fields make {wanted}'
    assert points.ndim <= 2, f'points of shape {points.shape}: a cloud has one or two axes'
    width, height = points.shape[0], points.shape[1] if points.ndim == 2 else 1
    cloud = PointCloud2(header=header, height=height, width=width, is_dense=False, is_bigendian=sys.byteorder != 'little',
                        fields=fields, point_step=points.dtype.itemsize, row_step=points.dtype.itemsize * width)
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(points).view(np.uint8).data if points.size else b'')
    cloud.data = data
    return cloud


def create_cloud_xyz32(header: Header, points: Iterable) -> PointCloud2:
    """A message of points with float32 x, y, z; points as in create_cloud."""
    fields = [PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1) for index, name in enumerate('xyz')]
    return create_cloud(header, fields, points)

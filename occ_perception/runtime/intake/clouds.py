"""PointCloud2 to points: whatever the layout, and whatever is wrong with it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

DATATYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}
"""sensor_msgs/PointField datatype -> numpy type."""
NAMES = {'x': ('x',), 'y': ('y',), 'z': ('z',), 'intensity': ('intensity', 'reflectivity'), 'ring': ('ring', 'line', 'channel'),
         'time': ('time', 't', 'timestamp', 'offset_time')}
"""Column -> names of the fields that drivers give it (Velodyne, Ouster, Hesai, RoboSense, Livox); the first there counts."""
RING, TIME = 4, 5
"""Columns of points."""
FARTHEST_M = 1000.0
"""No LiDAR on a vehicle measures farther; such places come of broken packets."""
LONGEST_TURN_S = 1.0
"""Times of points farther from their cloud's stamp are on another clock."""
MOST_POINTS = 400_000
"""Points of a cloud beyond which it is thinned; sensors with 128 beams give some 260,000 a turn."""
NOT_FINITE, TOO_FAR, THINNED, BAD_TIMES = 'not_finite', 'too_far', 'thinned', 'bad_times'
"""What is counted of a cloud's points: left out for their place, left out evenly, measured at times that cannot be."""


class CloudError(ValueError):
    """A cloud that cannot be used; the message names the topic and the reason."""


def points_from_cloud(cloud: Any, stamp_ns: int, topic: str, most: int = MOST_POINTS) -> tuple[np.ndarray, Counter[str]]:
    """Points of a PointCloud2 in its own frame: ((M, 6) float32 x, y, z, intensity, ring, time; how many points were left out
    or mended, by reason).

    cloud has the attributes of sensor_msgs/PointCloud2, its fields in any order, of any type, in either order of bytes. time is in
    seconds relative to stamp_ns, from a field `time` (seconds), `t` or `offset_time` (nanoseconds), or `timestamp` (absolute,
    seconds or nanoseconds); 0 without one, and for the whole cloud where times lie more than a second from the stamp. Intensity is
    0 and ring is -1 where the cloud has none. Points without a finite place, or farther than 1 km, are left out; of more
    than `most`, every second, third ... is kept.
    Raises CloudError for an empty cloud, missing x, y, z, or sizes that do not fit the data.
    """
    records, names = _records(cloud, topic)
    count: Counter[str] = Counter()
    if len(records) > most:
        thinned = records[::-(-len(records) // most)]
        count[THINNED] = len(records) - len(thinned)
        records = thinned
    points = np.zeros((len(records), 6), np.float32)
    points[:, RING] = -1
    with np.errstate(over='ignore', invalid='ignore'):  # float64 beyond float32 becomes infinite, and is counted as such
        for column, name in enumerate(('x', 'y', 'z', 'intensity', 'ring')):
            if name in names:
                points[:, column] = records[names[name]]
        if 'time' in names:
            points[:, TIME] = _seconds(names['time'], records[names['time']], stamp_ns)
    np.nan_to_num(points[:, 3:RING], copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    if not (np.abs(points[:, TIME]) <= LONGEST_TURN_S).all():
        count[BAD_TIMES] = len(points)
        points[:, TIME] = 0
    finite = np.isfinite(points[:, :3]).all(axis=1)
    near = (np.abs(points[:, :3]) <= FARTHEST_M).all(axis=1)
    count[NOT_FINITE] = len(points) - int(finite.sum())
    count[TOO_FAR] = int((finite & ~near).sum())
    if not near.any():
        raise CloudError(f'{topic}: none of {len(points)} points is finite and within {FARTHEST_M:g} m')
    return (points if near.all() else points[near]), +count


def _records(cloud: Any, topic: str) -> tuple[np.ndarray, dict[str, str]]:
    """Points as the cloud has them, (M,) of named fields, and the name of the field behind each column."""
    fields = {field.name: field for field in cloud.fields}
    names = {column: next(name for name in known if name in fields) for column, known in NAMES.items()
             if any(name in fields for name in known)}
    missing = [column for column in 'xyz' if column not in names]
    if missing:
        raise CloudError(f'{topic}: cloud has no field {", ".join(missing)}, only {", ".join(fields) or "none"}')
    if cloud.width * cloud.height == 0:
        raise CloudError(f'{topic}: empty cloud (0 points)')
    bad = [name for name in names.values() if fields[name].datatype not in DATATYPES]
    if bad:
        raise CloudError(f'{topic}: field {bad[0]} has unknown datatype {fields[bad[0]].datatype}')
    types = {name: np.dtype(('>' if cloud.is_bigendian else '<') + DATATYPES[fields[name].datatype]) for name in names.values()}
    beyond = [name for name, kind in types.items() if fields[name].offset + kind.itemsize > cloud.point_step]
    if beyond:
        raise CloudError(f'{topic}: field {beyond[0]} at byte {fields[beyond[0]].offset} does not fit in points of '
                         f'{cloud.point_step} bytes')
    flat = np.frombuffer(cloud.data, np.uint8)
    width = cloud.width * cloud.point_step
    row_step = cloud.row_step or width
    if row_step < width or flat.size < row_step * cloud.height:
        raise CloudError(f'{topic}: {flat.size} bytes do not hold {cloud.height} rows of {cloud.width} points '
                         f'of {cloud.point_step} bytes')
    dtype = np.dtype({'names': list(types), 'formats': list(types.values()), 'offsets': [fields[name].offset for name in types],
                      'itemsize': cloud.point_step})
    rows = flat[:row_step * cloud.height].reshape(cloud.height, row_step)[:, :width]
    return np.ascontiguousarray(rows).view(dtype).reshape(-1), names


def _seconds(name: str, values: np.ndarray, stamp_ns: int) -> np.ndarray:
    """Times of a field in seconds relative to the stamp."""
    if name == 'time':
        return values
    if name == 'timestamp':
        absolute = values.astype(np.float64)
        return absolute * (1e-9 if absolute[0] > 1e14 else 1.0) - stamp_ns * 1e-9
    return values * 1e-9

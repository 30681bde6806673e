"""LiDAR clouds to points in the ego frame at one stamp, each point moved from the place where it was measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from occ_perception.geometry.transforms import inverse, quaternion_from_rotation

DATATYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}
"""sensor_msgs/PointField datatype -> numpy type."""
COLUMNS = 'x', 'y', 'z', 'intensity', 'ring'
"""Names of the columns of points in front of the time."""
RING, TIME = 4, 5
"""Columns of points."""


class CloudError(ValueError):
    """A cloud that cannot be used; the message names the topic and the reason."""


def points_from_cloud(cloud: Any, stamp_ns: int, topic: str) -> tuple[np.ndarray, int]:
    """Points of a PointCloud2 in its own frame: ((M, 6) float32 x, y, z, intensity, ring, time; points without a
    finite place left out, how many these were).

    cloud has the attributes of sensor_msgs/PointCloud2. time is in seconds relative to stamp_ns, from a field `time` (seconds),
    `t` (nanoseconds) or `timestamp` (seconds, absolute); 0 without one. Intensity is 0 and ring is -1 where the cloud has none.
    Raises CloudError for an empty cloud, missing x, y, z, or sizes that do not fit the data.
    """
    fields = {f.name: f for f in cloud.fields}
    missing = [name for name in 'xyz' if name not in fields]
    if missing:
        raise CloudError(f'{topic}: cloud has no field {", ".join(missing)}, only {", ".join(fields) or "none"}')
    count = cloud.width * cloud.height
    if count == 0:
        raise CloudError(f'{topic}: empty cloud (0 points)')
    order = '>' if cloud.is_bigendian else '<'
    flat = np.frombuffer(cloud.data, np.uint8)
    row_step = cloud.row_step or cloud.width * cloud.point_step
    if row_step < cloud.width * cloud.point_step or flat.size < row_step * cloud.height:
        raise CloudError(f'{topic}: {flat.size} bytes do not hold {cloud.height} rows of {cloud.width} points '
                         f'of {cloud.point_step} bytes')
    wanted = [name for name in (*COLUMNS, 'time', 't', 'timestamp') if name in fields]
    bad = [name for name in wanted if fields[name].datatype not in DATATYPES]
    if bad:
        raise CloudError(f'{topic}: field {bad[0]} has unknown datatype {fields[bad[0]].datatype}')
    dtype = np.dtype({'names': wanted, 'formats': [order + DATATYPES[fields[name].datatype] for name in wanted],
                      'offsets': [fields[name].offset for name in wanted], 'itemsize': cloud.point_step})
    rows = flat[:row_step * cloud.height].reshape(cloud.height, row_step)[:, :cloud.width * cloud.point_step]
    records = np.ascontiguousarray(rows).view(dtype).reshape(-1)
    points = np.zeros((count, 6), np.float32)
    points[:, RING] = -1
    for column, name in enumerate(COLUMNS):
        if name in wanted:
            points[:, column] = records[name]
    if 'time' in wanted:
        points[:, TIME] = records['time']
    elif 't' in wanted:
        points[:, TIME] = records['t'] * 1e-9
    elif 'timestamp' in wanted:
        points[:, TIME] = records['timestamp'].astype(np.float64) - stamp_ns * 1e-9
    finite = np.isfinite(points).all(axis=1)
    left_out = count - int(finite.sum())
    if left_out == count:
        raise CloudError(f'{topic}: none of {count} points is finite')
    return (points if left_out == 0 else points[finite]), left_out


def time_span(points: np.ndarray) -> tuple[float, float]:
    """First and last measuring time of (M, 6) points, seconds relative to their cloud's stamp."""
    return float(points[:, TIME].min()), float(points[:, TIME].max())


def to_ego(points: np.ndarray, ego_from_sensor: np.ndarray, fixed_from_ego_first: np.ndarray, fixed_from_ego_last: np.ndarray,
           fixed_from_ego_reference: np.ndarray, reference_s: float = 0.0) -> np.ndarray:
    """Points moved to the ego frame at the reference time: (M, 6) float32 x, y, z, intensity, ring, time lag [s].

    points: (M, 6) as points_from_cloud gives them. The ego poses (4, 4) are those at the first and the last point's time
    (see time_span) and at the reference; between the two the vehicle is taken to move evenly. reference_s: the reference's
    time in seconds relative to the cloud's stamp. Time lag = reference minus the point's own time.
    """
    columns = np.ascontiguousarray(points.T)
    first_s, last_s = columns[TIME].min(), columns[TIME].max()
    fraction = (columns[TIME] - first_s) / max(last_s - first_s, np.float32(1e-9))
    first = inverse(fixed_from_ego_reference) @ fixed_from_ego_first
    last = inverse(fixed_from_ego_reference) @ fixed_from_ego_last
    _move_evenly(columns[:3], fraction, ego_from_sensor, first, last)
    np.subtract(np.float32(reference_s), columns[TIME], out=columns[TIME])
    return np.ascontiguousarray(columns.T)


def move_to_reference(points: np.ndarray, fixed_from_ego: np.ndarray, fixed_from_ego_reference: np.ndarray, lag_s: float,
                      out: np.ndarray | None = None) -> np.ndarray:
    """An earlier sweep in the ego frame of its own time moved to the reference's; its time lags grow by lag_s.

    out: (M, 6) float32 to write to, in place of a new array.
    """
    out = np.empty_like(points) if out is None else out
    reference_from_ego = (inverse(fixed_from_ego_reference) @ fixed_from_ego).astype(points.dtype)
    np.add(np.einsum('mj,ij->mi', points[:, :3], reference_from_ego[:3, :3]), reference_from_ego[:3, 3], out=out[:, :3])
    out[:, 3:TIME] = points[:, 3:TIME]
    np.add(points[:, TIME], np.float32(lag_s), out=out[:, TIME])
    return out


def _move_evenly(points: np.ndarray, fraction: np.ndarray, mount: np.ndarray, first: np.ndarray, last: np.ndarray) -> None:
    """Bring (3, M) points into the ego frame by mount (4, 4), then move them by the transform at each one's fraction (M,) of the
    way from first to last (4, 4); in place.

    Rodrigues' formula sorted by what does not depend on the point: turning by theta about the unit axis a is
    a a^T + cos(theta) (I - a a^T) + sin(theta) [a]x, so one matrix product gives the three parts of every point.
    """
    turn = first[:3, :3].T @ last[:3, :3]
    x, y, z, w = quaternion_from_rotation(turn)
    sine = float(np.sqrt(x * x + y * y + z * z))
    axis = np.array([x, y, z]) / sine if sine > 1e-9 else np.array([0.0, 0.0, 1.0])
    along = np.outer(axis, axis)
    cross = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    parts = np.vstack([first[:3, :3] @ part @ mount[:3] for part in (along, np.eye(3) - along, cross)]).astype(points.dtype)
    moved = np.einsum('ij,jm->im', parts[:, :3], points) + parts[:, 3:]  # a BLAS product would wait for its threads on busy cores
    theta = fraction * np.float32(2 * np.arctan2(sine, w))
    moved[3:6] *= np.cos(theta)
    moved[6:] *= np.sin(theta)
    shift = (last[:3, 3] - first[:3, 3]).astype(points.dtype)
    for axis_number, out in enumerate(points):
        np.multiply(fraction, shift[axis_number], out=out)
        out += moved[axis_number::3].sum(axis=0)
        out += np.float32(first[axis_number, 3])


class SweepHistory:
    """Past sweeps by time: those measured within a window before the reference go along with the newest one.

    Sweeps are kept in the ego frame of their own stamp together with that pose, so nothing drifts by repeated moving.
    """

    def __init__(self, window_ns: int, jump_back_ns: int = 500_000_000) -> None:
        self.window_ns = window_ns
        self.jump_back_ns = jump_back_ns
        self._sweeps: list[tuple[int, np.ndarray, np.ndarray]] = []

    def add(self, stamp_ns: int, points: np.ndarray, fixed_from_ego: np.ndarray) -> np.ndarray:
        """Take a sweep ((M, 6), ego frame at stamp_ns) and return it with those of the window, newest first."""
        if self._sweeps and self._sweeps[-1][0] - stamp_ns > self.jump_back_ns:
            self._sweeps.clear()
        self._sweeps = [sweep for sweep in self._sweeps if stamp_ns - self.window_ns <= sweep[0] < stamp_ns]
        earlier = self._sweeps[::-1]
        if self.window_ns:
            self._sweeps.append((stamp_ns, points, fixed_from_ego))
        if not earlier:
            return points
        out = np.empty((len(points) + sum(len(old) for _, old, _ in earlier), 6), np.float32)
        out[:len(points)] = points
        end = len(points)
        for old_ns, old, pose in earlier:
            begin, end = end, end + len(old)
            move_to_reference(old, pose, fixed_from_ego, (stamp_ns - old_ns) * 1e-9, out[begin:end])
        return out

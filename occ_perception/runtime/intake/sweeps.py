"""Points of LiDAR sweeps moved to the ego frame at one stamp, each from the place where it was measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occ_perception.geometry.transforms import inverse, quaternion_from_rotation
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.intake.clouds import TIME


@dataclass(frozen=True)
class PlacedSweep:
    """A sweep in the ego frame at its own stamp: points (M, 6) float32 as LidarSweep has them, the mount and the ego pose there."""

    stamp_ns: int
    points: np.ndarray
    ego_from_lidar: np.ndarray
    fixed_from_ego: np.ndarray


def gathered(present: PlacedSweep, earlier: list[PlacedSweep]) -> tuple[LidarSweep, ...]:
    """The present sweep and earlier ones, as SensorFrame has them: all in the ego frame at the present one's stamp."""
    sweeps = [LidarSweep(present.stamp_ns, present.points, present.ego_from_lidar)]
    for sweep in earlier:
        points = move_to_reference(sweep.points, sweep.fixed_from_ego, present.fixed_from_ego,
                                   (present.stamp_ns - sweep.stamp_ns) * 1e-9)
        reference_from_ego = inverse(present.fixed_from_ego) @ sweep.fixed_from_ego
        sweeps.append(LidarSweep(sweep.stamp_ns, points, reference_from_ego @ sweep.ego_from_lidar))
    return tuple(sweeps)


def without_ego(points: np.ndarray, front_m: float, back_m: float, side_m: float) -> np.ndarray:
    """Points (M, 6) without those on the vehicle itself: from back_m behind the ego frame's origin to front_m before it, side_m
    to either side; all of them where side_m is 0."""
    if side_m <= 0:
        return points
    x, y = points[:, 0], points[:, 1]
    return points[~((x >= -back_m) & (x <= front_m) & (np.abs(y) <= side_m))]


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

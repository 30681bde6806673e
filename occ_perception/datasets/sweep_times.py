"""When each point of a nuScenes sweep was measured, and where the beam saw it then.

A `.pcd.bin` file holds x, y, z, intensity, ring without times, and its points are already moved to where they would be seen from
the sensor's pose at the sweep's stamp, the end of the turn (Caesar et al., nuScenes, CVPR 2020: "motion compensation"). A driver
publishes neither: every point has its own time and lies where the beam saw it. Both are restored here.

Times: the HDL-32E fires all 32 beams at once and turns clockwise, seen from above, 20 times a second. nuScenes files keep the
order of firing with the missed returns in it, so point i of n belongs to firing i // 32 of n / 32, spread evenly over the turn.
Where misses were left out (other writers), the time follows from the azimuth, counted back from that of the last points; the
order in the file tells the first degrees of the turn from the last ones.
"""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.transforms import inverse, quaternion_from_rotation

TURN_S = 0.05
"""Nominal time of one turn."""
_BEAMS = 32
_LAST_POINTS = 8
_NEAR_M = 1.0
_ROUNDS = 3


def turn_time(stamp_ns: int, previous_ns: int | None) -> float:
    """Seconds that a turn took which ended at stamp_ns, the one before at previous_ns; nominal where that one is missing."""
    gap = (stamp_ns - previous_ns) * 1e-9 if previous_ns is not None else 0.0
    return gap if 0.8 * TURN_S <= gap <= 1.2 * TURN_S else TURN_S


def as_measured(points: np.ndarray, turn_s: float, fixed_from_lidar_start: np.ndarray,
                fixed_from_lidar_end: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Where and when the beams saw the points of a sweep.

    points: (M, 5) float32 x, y, z, intensity, ring as the file has them, in the LiDAR's axes (z up) at the end of the turn. turn_s:
    seconds the turn took. The sensor's poses (4, 4) at its start and its end; between them it is taken to move evenly.
    Returns (M, 3) float32 in the LiDAR's axes at each point's own time, and (M,) float32 seconds relative to the end of the turn,
    -turn_s..0; or None when the points are not in the order of firing, so that their times cannot be told.
    """
    end_from_start = inverse(fixed_from_lidar_end) @ fixed_from_lidar_start
    count = len(points)
    if _whole_firings(points[:, 4]):
        share = (np.arange(count) // _BEAMS + 1) / (count // _BEAMS)
        return _seen_from(points[:, :3], 1 - share, end_from_start), ((share - 1) * turn_s).astype(np.float32)
    expected = 1 - (np.arange(count) + 1) / count
    measured = points[:, :3]
    for _ in range(_ROUNDS):
        back = _share_of_turn_before_end(measured, expected)
        if (np.abs(back - expected) > 0.25).mean() > 0.1:
            return None
        back = np.clip(back, 0, 1)
        measured = _seen_from(points[:, :3], back, end_from_start)
    return measured, (-back * turn_s).astype(np.float32)


def _whole_firings(ring: np.ndarray) -> bool:
    """Whether the points come in groups of 32, one of each ring, always in the same order."""
    if len(ring) == 0 or len(ring) % _BEAMS:
        return False
    rows = ring.reshape(-1, _BEAMS)
    return bool((rows == rows[0]).all() and len(np.unique(rows[0])) == _BEAMS)


def _share_of_turn_before_end(xyz: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(M,) how many turns before its end each point (M, 3) was measured: by azimuth, near `expected`, the file's order."""
    azimuth = np.arctan2(xyz[:, 1], xyz[:, 0]).astype(np.float64)
    far = np.hypot(xyz[:, 0], xyz[:, 1]) > _NEAR_M
    last = azimuth[far][-_LAST_POINTS:]
    if not len(last):
        return expected
    end = np.arctan2(np.sin(last).mean(), np.cos(last).mean())
    share = (azimuth - end) / (2 * np.pi)
    return np.where(far, share + np.round(expected - share), expected)


def _seen_from(points: np.ndarray, back: np.ndarray, end_from_start: np.ndarray) -> np.ndarray:
    """Points (M, 3) in the sensor's axes at the end of the turn -> float32 in its axes `back` (M,) turns earlier."""
    x, y, z, w = quaternion_from_rotation(end_from_start[:3, :3])
    sine = float(np.sqrt(x * x + y * y + z * z))
    axis = np.array([x, y, z]) / sine if sine > 1e-9 else np.array([0.0, 0.0, 1.0])
    theta = (-back * 2 * np.arctan2(sine, w))[:, None]
    moved = points - back[:, None] * end_from_start[:3, 3]
    turned = moved * np.cos(theta) + np.cross(axis, moved) * np.sin(theta) + axis * (moved @ axis)[:, None] * (1 - np.cos(theta))
    return turned.astype(np.float32)

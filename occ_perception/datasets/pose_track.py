"""Poses of a vehicle over time: between two known ones, and a little beyond the ends."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from occ_perception.geometry.transforms import interpolate, inverse, quaternion_from_rotation

SECOND = 1_000_000_000
_BASE_NS = 100_000_000


class PoseTrack:
    """fixed_from_ego (4, 4) at any stamp, from (stamp in ns, pose) pairs in any order; the first pose of a stamp counts.

    Between two poses the vehicle is taken to move evenly; before the first and after the last it goes on as in the 0.1 s next to
    the end. Raises ValueError when there is no pose.
    """

    def __init__(self, poses: Iterable[tuple[int, np.ndarray]]) -> None:
        by_stamp: dict[int, np.ndarray] = {}
        for stamp_ns, pose in poses:
            by_stamp.setdefault(stamp_ns, pose)
        if not by_stamp:
            raise ValueError('a pose track needs at least one pose')
        self.stamps = np.array(sorted(by_stamp), np.int64)
        self.poses = [by_stamp[stamp] for stamp in self.stamps.tolist()]

    def __len__(self) -> int:
        return len(self.poses)

    def at(self, stamp_ns: int) -> np.ndarray:
        """Pose at a stamp."""
        if len(self) == 1:
            return self.poses[0]
        after = int(np.searchsorted(self.stamps, stamp_ns))
        if after < len(self) and self.stamps[after] == stamp_ns:
            return self.poses[after]
        first, second = after - 1, after
        if after == 0:
            first, second = 0, min(int(np.searchsorted(self.stamps, self.stamps[0] + _BASE_NS)), len(self) - 1)
        elif after == len(self):
            first, second = max(int(np.searchsorted(self.stamps, self.stamps[-1] - _BASE_NS, 'right')) - 1, 0), len(self) - 1
        start, stop = int(self.stamps[first]), int(self.stamps[second])
        return interpolate(self.poses[first], self.poses[second], (stamp_ns - start) / (stop - start))

    def velocity(self, stamp_ns: int, window_s: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
        """Velocity [m/s] and turn rate [rad/s] at a stamp, each (3,) along the ego axes, over a window around it."""
        half = round(window_s * SECOND / 2)
        before, after = self.at(stamp_ns - half), self.at(stamp_ns + half)
        x, y, z, w = quaternion_from_rotation(before[:3, :3].T @ after[:3, :3])
        sine = float(np.sqrt(x * x + y * y + z * z))
        angle = 2 * np.arctan2(sine, w)
        turn = np.array([x, y, z]) * (angle / sine if sine > 1e-12 else 0.0)
        step = inverse(self.at(stamp_ns))[:3, :3] @ (after[:3, 3] - before[:3, 3])
        return step / (2 * half / SECOND), turn / (2 * half / SECOND)

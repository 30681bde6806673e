"""When what happens in a scene: key frames, LiDAR sweeps, exposures, odometry; stamps in nanoseconds, on whole microseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occ_perception.datasets.sample_world.rig import CAMERA_RATE_HZ, CAMERAS, KEYFRAME_RATE_HZ, LIDAR_RATE_HZ, ODOMETRY_RATE_HZ

LEAD_S = 0.2
"""Drive before the first key frame: its exposures and its sweep begin earlier."""
_EPOCH_S = 1_700_000_000
_SCENE_S = 300


@dataclass(frozen=True)
class Event:
    """One reading: sensor name, time since the start of the drive, stamp, whether it belongs to a key frame."""

    sensor: str
    time_s: float
    stamp_ns: int
    key: bool


@dataclass(frozen=True)
class Timeline:
    """The events of a scene of `keyframes` key frames, 0.5 s apart; the street's seed sets the date."""

    seed: int
    keyframes: int

    @property
    def start_ns(self) -> int:
        """Stamp of the drive's start."""
        return (_EPOCH_S + self.seed % 1_000_000 * _SCENE_S) * 1_000_000_000

    @property
    def duration_s(self) -> float:
        """Length of the drive, to shortly after the last key frame."""
        return LEAD_S + (self.keyframes - 1) / KEYFRAME_RATE_HZ + 0.2

    def stamp(self, time_s: float) -> int:
        """Stamp of a time, nanoseconds."""
        return self.start_ns + 1000 * round(time_s * 1e6)

    def keyframe_s(self, number: int) -> float:
        """Time of a key frame: the end of its LiDAR sweep."""
        return LEAD_S + number / KEYFRAME_RATE_HZ

    def exposures(self, number: int, between: bool) -> list[Event]:
        """Exposures of key frame `number`; with those up to the next key frame's when between is set."""
        count = round(CAMERA_RATE_HZ / KEYFRAME_RATE_HZ) if between and number < self.keyframes - 1 else 1
        return [self._event(name, self.keyframe_s(number) + mount.exposure_offset_s + i / CAMERA_RATE_HZ, i == 0)
                for name, mount in CAMERAS.items() for i in range(count)]

    def sweeps(self, number: int, between: bool) -> list[Event]:
        """LiDAR sweep of key frame `number`; with those up to the next key frame's when between is set."""
        count = round(LIDAR_RATE_HZ / KEYFRAME_RATE_HZ) if between and number < self.keyframes - 1 else 1
        return [self._event('LIDAR_TOP', self.keyframe_s(number) + i / LIDAR_RATE_HZ, i == 0) for i in range(count)]

    def truths(self, number: int, truth_hz: float) -> list[Event]:
        """Moments of key frame `number` and up to the next at which truth is due."""
        period = check_truth_rate(truth_hz) / LIDAR_RATE_HZ
        end = self.keyframe_s(number + 1) - 1e-6 if number < self.keyframes - 1 else self.keyframe_s(number) + 1e-6
        ticks = np.arange(round(self.keyframe_s(self.keyframes - 1) / period) + 1) * period + LEAD_S
        times = {round(float(t), 6) for t in ticks if self.keyframe_s(number) - 1e-6 <= t < end} | {
            round(self.keyframe_s(number), 6)
        }
        return [self._event('truth', t, abs(t - self.keyframe_s(number)) < 1e-6) for t in sorted(times)]

    def odometry_times(self) -> np.ndarray:
        """Times of the odometry messages, seconds."""
        return np.arange(0, round(self.duration_s * ODOMETRY_RATE_HZ) + 1) / ODOMETRY_RATE_HZ

    def _event(self, sensor: str, time_s: float, key: bool) -> Event:
        stamp = self.stamp(time_s)
        return Event(sensor, (stamp - self.start_ns) / 1e9, stamp, key)


def check_truth_rate(truth_hz: float) -> int:
    """Number of LiDAR sweeps between two truths. Raises ValueError unless truth_hz divides the LiDAR's rate."""
    steps = LIDAR_RATE_HZ / truth_hz if truth_hz > 0 else 0.0
    if steps < 1 or abs(steps - round(steps)) > 1e-6:
        raise ValueError(
            f'truth rate {truth_hz:g} Hz does not divide the LiDAR rate of {LIDAR_RATE_HZ:g} Hz; use 2, 4, 5, 10 or 20'
        )
    return round(steps)

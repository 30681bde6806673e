"""The street's centre line: from (s along, d to the left, height) to world coordinates, and the ego vehicle's drive along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occ_perception.datasets.sample_world.rig import rotation_z_y_x
from occ_perception.geometry.transforms import matrix

_STEP = 0.5
_MAX_CURVATURE = 1 / 110.0


@dataclass(frozen=True)
class CentreLine:
    """A gently bending, gently sloping line, sampled every 0.5 m from s = start_m; x, y, heading, z are (n,) float64."""

    start_m: float
    x: np.ndarray
    y: np.ndarray
    heading: np.ndarray
    z: np.ndarray

    def frame(self, s: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x, y, heading (radians, east = 0) and ground height at arc lengths s."""
        place = (np.asarray(s, np.float64) - self.start_m) / _STEP
        index = np.clip(np.floor(place).astype(np.int64), 0, len(self.x) - 2)
        f = place - index
        x, y, heading, z = (a[index] * (1 - f) + a[index + 1] * f for a in (self.x, self.y, self.heading, self.z))
        return x, y, heading, z

    def to_world(self, s: np.ndarray, d: np.ndarray, height: np.ndarray | float = 0.0) -> np.ndarray:
        """Points (..., 3) float64 at s along, d to the left of the line, `height` above the ground there."""
        x, y, heading, z = self.frame(s)
        return np.stack([x - d * np.sin(heading), y + d * np.cos(heading), z + height], axis=-1)

    def pose(self, s: float, d: float, turn: float = 0.0, height: float = 0.0) -> np.ndarray:
        """(4, 4) world_from_object: upright object at (s, d), its x axis turned by `turn` from the street's direction."""
        _, _, heading, _ = self.frame(s)
        return matrix(rotation_z_y_x(float(heading) + turn, 0.0, 0.0), self.to_world(np.float64(s), np.float64(d), height))

    def slope(self, s: float) -> float:
        """Rise per metre along the street."""
        return float((self.frame(s + 1.4)[3] - self.frame(s - 1.4)[3]) / 2.8)


def make_centre_line(rng: np.random.Generator, start_m: float, end_m: float) -> CentreLine:
    """Random line from start_m to end_m; bends have a radius of at least 110 m, slopes stay under about 1.5 %.

    The street lies in the positive quadrant, as nuScenes maps do.
    """
    s = np.arange(start_m, end_m + _STEP, _STEP)
    curvature = np.zeros_like(s)
    slope = np.zeros_like(s)
    for length in rng.uniform(90, 320, 3):
        curvature += rng.uniform(-1, 1) * np.sin(2 * np.pi * s / length + rng.uniform(0, 6.28))
        slope += rng.uniform(-0.005, 0.005) * np.sin(2 * np.pi * s / (1.2 * length) + rng.uniform(0, 6.28))
    curvature *= rng.uniform(0.15, 1.0) * _MAX_CURVATURE / max(np.abs(curvature).max(), 1e-9)
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(curvature) * _STEP
    place = rng.uniform(80, 120, 2)
    x, y = np.cumsum(np.cos(heading)) * _STEP, np.cumsum(np.sin(heading)) * _STEP
    return CentreLine(start_m, place[0] + x - x.min(), place[1] + y - y.min(), heading, np.cumsum(slope) * _STEP)


@dataclass(frozen=True)
class Drive:
    """How the ego vehicle moves: mean speed, slow changes of speed and lane place, small body motions.

    Each wave is (amplitude, angular frequency in rad/s, phase).
    """

    line: CentreLine
    speed: float
    lane_d: float
    speed_wave: tuple[float, float, float]
    lane_wave: tuple[float, float, float]
    pitch_wave: tuple[float, float, float]
    roll_wave: tuple[float, float, float]

    def along(self, t: float) -> float:
        """Arc length reached at time t (seconds), 0 at t = 0 but for the speed wave's phase."""
        amplitude, omega, phase = self.speed_wave
        return self.speed * t - amplitude / omega * (np.cos(omega * t + phase) - np.cos(phase))

    def velocity(self, t: float) -> float:
        """Speed along the street at time t, m/s."""
        amplitude, omega, phase = self.speed_wave
        return self.speed + amplitude * np.sin(omega * t + phase)

    def across(self, t: float) -> float:
        """Place across the street at time t, metres to the left of the centre line."""
        amplitude, omega, phase = self.lane_wave
        return self.lane_d + amplitude * np.sin(omega * t + phase)

    def pose(self, t: float) -> np.ndarray:
        """(4, 4) float64 world_from_ego at time t: origin on the ground below the rear axle, x forward."""
        s, d = self.along(t), self.across(t)
        _, omega, phase = self.lane_wave
        drift = self.lane_wave[0] * omega * np.cos(omega * t + phase) / self.velocity(t)
        _, _, heading, _ = self.line.frame(s)
        pitch, roll = (a * np.sin(w * t + p) for a, w, p in (self.pitch_wave, self.roll_wave))
        slope = self.line.slope(s + 1.4)
        return matrix(rotation_z_y_x(float(heading) + drift, pitch - np.arctan(slope), roll),
                      self.line.to_world(np.float64(s), np.float64(d)))


def make_drive(rng: np.random.Generator, line: CentreLine, lane_d: float) -> Drive:
    """Random drive at 5 to 10.5 m/s in the lane at lane_d."""
    speed = rng.uniform(5.5, 10.0)
    wave = [(rng.uniform(0.2, 1.0) * a, rng.uniform(w0, w1), rng.uniform(0, 6.28))
            for a, w0, w1 in ((0.6, 0.2, 0.5), (0.35, 0.25, 0.6), (0.005, 1.0, 3.0), (0.005, 0.8, 2.0))]
    return Drive(line, float(speed), lane_d, wave[0], wave[1], wave[2], wave[3])

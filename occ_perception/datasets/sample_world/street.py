"""A generated street: ground, static mesh, objects with their tracks, light; and where the ego vehicle is when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occ_perception.datasets.sample_world.mesh import Mesh
from occ_perception.datasets.sample_world.path import CentreLine, Drive
from occ_perception.datasets.sample_world.textures import Atlas


@dataclass(frozen=True)
class Light:
    """Sun and sky of a street, linear RGB.

    sun_direction: (3,) unit vector towards the sun. haze_m: distance over which contrast falls to 1/e. soft_shadow: radians
    that shadow rays are scattered by (large when overcast). horizon, zenith: sky colours; clouds: 0 (clear) .. 1.
    """

    name: str
    sun_direction: tuple[float, float, float]
    sun: tuple[float, float, float]
    ambient: tuple[float, float, float]
    horizon: tuple[float, float, float]
    zenith: tuple[float, float, float]
    clouds: float
    haze_m: float
    soft_shadow: float
    exposure: float
    glow: float


@dataclass(frozen=True)
class Track:
    """Motion along the street: place s0 (m) at t = 0, speed along (m/s, negative = oncoming), lateral place d0 and sway."""

    line: CentreLine
    s0: float
    d0: float
    turn: float
    speed: float = 0.0
    height: float = 0.0
    sway: tuple[float, float, float] = (0.0, 0.5, 0.0)

    def pose(self, t: float) -> np.ndarray:
        """(4, 4) float64 world_from_object at time t (seconds)."""
        amplitude, omega, phase = self.sway
        return self.line.pose(self.s0 + self.speed * t, self.d0 + amplitude * np.sin(omega * t + phase), self.turn, self.height)

    def velocity(self, t: float) -> np.ndarray:
        """(3,) float64 velocity in the world at time t, m/s; exactly zero for what stands still."""
        if self.speed == 0.0 and self.sway[0] == 0.0:
            return np.zeros(3)
        return (self.pose(t + 0.02)[:3, 3] - self.pose(t - 0.02)[:3, 3]) / 0.04


@dataclass(frozen=True)
class StreetObject:
    """One countable object.

    id: unique in the street, from 1. label: Occ3D id. category, attribute: nuScenes names (attribute may be '').
    mesh: in the object's frame. center_m, size_m: its box in that frame (length, width, height). solid: (P, 3) float32
    points in and on it, the object's frame.
    """

    id: int
    label: int
    category: str
    attribute: str
    mesh: Mesh
    track: Track
    center_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    solid: np.ndarray

    @property
    def moving(self) -> bool:
        """Whether it ever moves."""
        return self.track.speed != 0.0 or self.track.sway[0] != 0.0


@dataclass(frozen=True)
class Street:
    """Everything about one street, a function of its seed alone.

    ground: road, sidewalks, flat strips. static: what stands (houses, plants, furniture, standing objects).
    static_instance: (T,) uint16 object id per triangle of `static`, 0 = none. solids: (P, 3) float32 world points in and on
    everything that stands, with labels and object ids; houses: (H, 7) float64 of x, y, heading, depth, length, ground height, top
    (their inside is solid). duration_s: how long the drive lasts.
    """

    seed: int
    line: CentreLine
    drive: Drive
    duration_s: float
    light: Light
    atlas: Atlas
    ground: Mesh
    static: Mesh
    static_instance: np.ndarray
    solids: np.ndarray
    solid_label: np.ndarray
    solid_instance: np.ndarray
    houses: np.ndarray
    objects: tuple[StreetObject, ...]

    def ego_pose(self, t: float) -> np.ndarray:
        """(4, 4) float64 world_from_ego at time t in seconds."""
        return self.drive.pose(t)

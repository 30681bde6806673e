"""What has been laid out of a street so far: models, standing meshes, countable objects, places taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from occ_perception.datasets.sample_world.mesh import Mesh, triple
from occ_perception.datasets.sample_world.path import CentreLine
from occ_perception.datasets.sample_world.street import StreetObject, Track
from occ_perception.geometry.transforms import apply

_SOLID_HEIGHT_M = 8.0

CATEGORIES = {
    1: 'movable_object.barrier',
    2: 'vehicle.bicycle',
    3: 'vehicle.bus.rigid',
    4: 'vehicle.car',
    5: 'vehicle.construction',
    6: 'vehicle.motorcycle',
    7: 'human.pedestrian.adult',
    8: 'movable_object.trafficcone',
    9: 'vehicle.trailer',
    10: 'vehicle.truck',
    0: 'movable_object.pushable_pullable',
}
_OTHER_CATEGORIES = {'dog': 'animal', 'bags': 'movable_object.debris', 'boxes': 'movable_object.debris'}


@dataclass(frozen=True)
class Model:
    """A mesh with its solid points (P, 3), their labels and its bounding box's corners low and high."""

    mesh: Mesh
    points: np.ndarray
    labels: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def half_length(self) -> float:
        """Reach from the origin along x, metres."""
        return float(max(self.high[0], -self.low[0]))


def make_model(mesh: Mesh) -> Model:
    """A model of a mesh in its own frame."""
    corners = mesh.corners.reshape(-1, 3)
    points, labels = mesh.solid_points()
    low = points[:, 2] < _SOLID_HEIGHT_M
    return Model(mesh, points[low], labels[low], corners.min(axis=0), corners.max(axis=0))


@dataclass
class Plan:
    """A street in the making; s runs along its centre line, d to the left of it, metres."""

    line: CentreLine
    rng: np.random.Generator
    statics: list[Mesh] = field(default_factory=list)
    static_ids: list[np.ndarray] = field(default_factory=list)
    solids: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    objects: list[StreetObject] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)
    houses: list[tuple[float, ...]] = field(default_factory=list)
    leaves: str = 'leaves_a'
    pool: dict[tuple, Model] = field(default_factory=dict)

    def model(self, maker: Callable[..., Mesh], *arguments: object, variants: int = 0) -> Model:
        """A new model, or one of a few variants that the street keeps of things that occur often."""
        if not variants:
            return make_model(maker(self.rng, *arguments))
        key = (maker, *arguments, int(self.rng.integers(variants)))
        if key not in self.pool:
            self.pool[key] = make_model(maker(self.rng, *arguments))
        return self.pool[key]

    def claim(self, s: float, d: float, half_s: float, half_d: float) -> bool:
        """Take the place of 2 half_s by 2 half_d about (s, d) if nothing stands there yet; returns whether it was free."""
        if any(abs(s - a) < half_s + c and abs(d - b) < half_d + e for a, b, c, e in self.taken):
            return False
        self.taken.append((s, d, half_s, half_d))
        return True

    def stand(self, model: Model, s: float, d: float, turn: float = 0.0, height: float = 0.0) -> None:
        """Put something uncounted (plants, houses, poles) in its place."""
        self._fix(model, self.line.pose(s, d, turn, height), 0)

    def _fix(self, model: Model, pose: np.ndarray, identity: int) -> None:
        self.statics.append(model.mesh.moved(pose))
        self.static_ids.append(np.full(len(model.mesh.corners), identity, np.uint16))
        self.solids.append((apply(pose, model.points.astype(np.float64)).astype(np.float32), model.labels,
                            np.full(len(model.points), identity, np.uint16)))

    def put(self, model: Model, s: float, d: float, turn: float = 0.0, height: float = 0.0, speed: float = 0.0,
            sway: tuple[float, float, float] = (0.0, 0.5, 0.0), rider: bool = False, other: str = '') -> None:
        """Put a countable object in its place, standing or moving."""
        label = int(model.mesh.label[0])
        attribute = ''
        if label in (2, 6):
            attribute = 'cycle.with_rider' if rider else 'cycle.without_rider'
        elif label == 7:
            attribute = 'pedestrian.moving' if speed else 'pedestrian.standing'
        elif label in (3, 4, 5, 9, 10):
            attribute = 'vehicle.moving' if speed else 'vehicle.parked'
        center = (model.low + model.high) / 2
        track = Track(self.line, float(s), float(d), float(turn), float(speed), float(height), sway)
        identity = len(self.objects) + 1
        self.objects.append(
            StreetObject(
                identity,
                label,
                _OTHER_CATEGORIES.get(other, CATEGORIES[label]),
                attribute,
                model.mesh,
                track,
                triple(center),
                triple(model.high - model.low),
                model.points,
            )
        )
        if speed == 0.0 and sway[0] == 0.0:
            self._fix(model, track.pose(0.0), identity)


def shuffled(rng: np.random.Generator, cards: list[str]) -> list[str]:
    """The cards in random order."""
    return [cards[i] for i in rng.permutation(len(cards))]

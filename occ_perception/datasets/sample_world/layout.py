"""Generation of a street from a seed: what stands and drives where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from occ_perception.datasets.sample_world import buildings, furniture, people, vehicles
from occ_perception.datasets.sample_world.ground import (
    KERB_M,
    OTHER_FLAT,
    ROAD,
    SIDEWALK,
    TERRAIN,
    Surface,
    cross_kerb,
    kerb,
    strip,
)
from occ_perception.datasets.sample_world.light import make_light
from occ_perception.datasets.sample_world.mesh import Material, Mesh, MeshBuilder, merge
from occ_perception.datasets.sample_world.path import CentreLine, make_centre_line, make_drive
from occ_perception.datasets.sample_world.street import Street, StreetObject, Track
from occ_perception.datasets.sample_world.textures import make_atlas, road_texture
from occ_perception.geometry.transforms import apply

MARGIN_M = 62.0
"""How far the street goes on before the start and beyond the end of the drive, metres."""

_SOLID_HEIGHT_M = 8.0

CATEGORIES = {
    1: 'movable_object.barrier', 2: 'vehicle.bicycle', 3: 'vehicle.bus.rigid', 4: 'vehicle.car', 5: 'vehicle.construction',
    6: 'vehicle.motorcycle', 7: 'human.pedestrian.adult', 8: 'movable_object.trafficcone', 9: 'vehicle.trailer', 10: 'vehicle.truck',
    0: 'movable_object.pushable_pullable',
}
_OTHER_CATEGORIES = {'dog': 'animal', 'bags': 'movable_object.debris', 'boxes': 'movable_object.debris'}


@dataclass
class _Plan:
    """What has been laid out so far."""

    line: CentreLine
    rng: np.random.Generator
    statics: list[Mesh] = field(default_factory=list)
    static_ids: list[np.ndarray] = field(default_factory=list)
    solids: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    objects: list[StreetObject] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)
    houses: list[tuple[float, ...]] = field(default_factory=list)
    leaves: str = 'leaves_a'

    def free(self, s: float, d: float, half_s: float, half_d: float) -> bool:
        return all(abs(s - a) >= half_s + c or abs(d - b) >= half_d + e for a, b, c, e in self.taken)

    def claim(self, s: float, d: float, half_s: float, half_d: float) -> bool:
        if not self.free(s, d, half_s, half_d):
            return False
        self.taken.append((s, d, half_s, half_d))
        return True

    def stand(self, mesh: Mesh, s: float, d: float, turn: float = 0.0, height: float = 0.0) -> None:
        """Put something uncounted (plants, houses, poles) in its place."""
        self._fix(mesh, *mesh.solid_points(), self.line.pose(s, d, turn, height), 0)

    def _fix(self, mesh: Mesh, points: np.ndarray, labels: np.ndarray, pose: np.ndarray, identity: int) -> None:
        low = points[:, 2] < _SOLID_HEIGHT_M
        self.statics.append(mesh.moved(pose))
        self.static_ids.append(np.full(len(mesh.corners), identity, np.uint16))
        self.solids.append((apply(pose, points[low].astype(np.float64)).astype(np.float32), labels[low],
                            np.full(int(low.sum()), identity, np.uint16)))

    def put(self, mesh: Mesh, s: float, d: float, turn: float = 0.0, height: float = 0.0, speed: float = 0.0,
            sway: tuple[float, float, float] = (0.0, 0.5, 0.0), rider: bool = False, other: str = '') -> None:
        """Put a countable object in its place, standing or moving."""
        label = int(mesh.label[0])
        low, high = mesh.corners.reshape(-1, 3).min(axis=0), mesh.corners.reshape(-1, 3).max(axis=0)
        attribute = ''
        if label in (2, 6):
            attribute = 'cycle.with_rider' if rider else 'cycle.without_rider'
        elif label == 7:
            attribute = 'pedestrian.moving' if speed else 'pedestrian.standing'
        elif label in (3, 4, 5, 9, 10):
            attribute = 'vehicle.moving' if speed else 'vehicle.parked'
        points, labels = mesh.solid_points()
        center = (low + high) / 2
        track = Track(self.line, float(s), float(d), float(turn), float(speed), float(height), sway)
        identity = len(self.objects) + 1
        self.objects.append(StreetObject(identity, label, _OTHER_CATEGORIES.get(other, CATEGORIES[label]), attribute, mesh, track,
                                         tuple(float(c) for c in center), tuple(float(c) for c in high - low), points))
        if speed == 0.0 and sway[0] == 0.0:
            self._fix(mesh, points, labels, track.pose(0.0), identity)


def _deck(rng: np.random.Generator, cards: list[str]) -> list[str]:
    return [cards[i] for i in rng.permutation(len(cards))]


@dataclass(frozen=True)
class _Section:
    """Cross section of the street: lane layout and road edges (metres to the left of the centre line)."""

    ego_lane: float
    lanes: tuple[tuple[float, int], ...]
    edge: dict[int, float]
    bike: dict[int, float]
    walk: dict[int, float]
    lines: list[tuple[float, float, float, str]]


def _make_section(rng: np.random.Generator) -> _Section:
    lane, bike, park = rng.uniform(3.2, 3.6), rng.uniform(1.2, 1.5), rng.uniform(2.6, 2.8)
    extra = {1: 0, -1: 0}
    side = int(rng.choice([1, -1, 0], p=[0.3, 0.25, 0.45]))
    if side:
        extra[side] = 1
    lanes = [(-lane / 2, 1), (lane / 2, -1)]
    if extra[-1]:
        lanes.append((-1.5 * lane, 1))
    if extra[1]:
        lanes.append((1.5 * lane, -1))
    inner = {k: lane * (1 + extra[k]) for k in (1, -1)}
    edge = {k: inner[k] + bike + park for k in (1, -1)}
    ego = -lane / 2 if not extra[-1] or rng.random() < 0.5 else -1.5 * lane
    colour = 'yellow' if rng.random() < 0.4 else 'white'
    top = edge[1]
    dash, gap = rng.choice([2.0, 3.0]), rng.choice([4.0, 5.0, 3.0])
    repeat = 24.0 / max(round(24.0 / (dash + gap)), 1)
    marks = [(0.0, dash, repeat - dash, colour)]
    if rng.random() < 0.35:
        marks = [(-0.12, 0.0, 0.0, colour), (0.12, 0.0, 0.0, colour)]
    for k in (1, -1):
        if extra[k]:
            marks.append((k * lane, dash, repeat - dash, 'white'))
        marks.append((k * inner[k], 0.0, 0.0, 'white'))
        marks.append((k * (inner[k] + bike), 1.0, 1.0, 'white'))
    lines = [(top - d, a, g, c) for d, a, g, c in marks]
    walk = {k: float(rng.uniform(2.6, 3.6)) for k in (1, -1)}
    return _Section(float(ego), tuple(lanes), edge, {k: inner[k] + bike / 2 for k in (1, -1)}, walk, lines)


def _surfaces(rng: np.random.Generator) -> dict[str, list[Surface]]:
    def tint(spread: float = 0.12) -> tuple[float, float, float]:
        return tuple(float(c) for c in rng.uniform(0.85, 1.1) * rng.uniform(1 - spread / 2, 1 + spread / 2, 3))

    paving = Material(str(rng.choice(['slabs', 'bricks_flat', 'cobbles'])), tint())
    return {
        'sidewalk': [Surface(SIDEWALK, paving, KERB_M)],
        'terrain': [Surface(TERRAIN, Material('grass', tint(0.2)), KERB_M, 0.10),
                    Surface(TERRAIN, Material('grass' if rng.random() < 0.6 else 'soil', tint(0.2)), KERB_M, 0.15)],
        'other_flat': [Surface(OTHER_FLAT, Material('gravel', tint()), 0.06), Surface(OTHER_FLAT, Material('rails'), 0.04),
                       Surface(OTHER_FLAT, Material('court', tint()), 0.08), Surface(OTHER_FLAT, Material('water'), -0.05),
                       Surface(OTHER_FLAT, Material('hatch', tint()), 0.06)],
    }


def make_street(seed: int, duration_s: float = 12.0) -> Street:
    """Street of a seed: the same for the same seed and duration, bit by bit on one kind of machine.

    duration_s: how long the ego vehicle drives; decides the length of the street.
    """
    rng = np.random.default_rng([seed, 20260])
    section = _make_section(rng)
    speed_limit = 11.0
    line = make_centre_line(rng, -MARGIN_M, speed_limit * duration_s + MARGIN_M)
    drive = make_drive(rng, line, section.ego_lane)
    end = drive.along(duration_s) + MARGIN_M
    plan = _Plan(line, rng, leaves=str(rng.choice(['leaves_a', 'leaves_b'])))
    width = section.edge[1] + section.edge[-1]
    atlas = make_atlas(rng, {'road': (1024 / 24.0, 512 / width, road_texture(rng, width, section.lines))})
    ground = _lay_ground(plan, section, -MARGIN_M, end, width)
    _traffic(plan, section, drive.speed, drive.velocity(0.0), duration_s, end)
    solids, label, owner = (np.concatenate(parts) for parts in zip(*plan.solids, strict=True))
    return Street(seed, line, drive, duration_s, make_light(rng), atlas, ground, merge(plan.statics), np.concatenate(plan.static_ids),
                  solids, label, owner, np.array(plan.houses, np.float64).reshape(-1, 7), tuple(plan.objects))



def _lay_ground(plan: _Plan, section: _Section, start: float, end: float, width: float) -> Mesh:
    """Ground and everything that stands on it, side by side; returns the ground."""
    rng, b = plan.rng, MeshBuilder(ROAD)
    surfaces = _surfaces(rng)
    road = Surface(ROAD, Material('road'), 0.0)
    strip(b, plan.line, road, (start, end), (-section.edge[-1], section.edge[1]), uv_scale=(1.0, -(512 / width) / (1024 / 24.0)),
          uv_origin=(0.0, section.edge[1]))
    asphalt = Surface(ROAD, Material('asphalt'), 0.0)
    phase = rng.random()
    curb_deck, lot_deck = _deck(rng, _CURB_CARDS), _deck(rng, _LOT_CARDS)
    for side in (1, -1):
        edge, back_of_walk = section.edge[side], section.edge[side] + section.walk[side]
        mouths = _mouths(rng, start, end)
        for s, half in mouths:
            strip(b, plan.line, asphalt, (s - half, s + half), tuple(sorted((side * edge, side * 60.0))))
            stripes = Surface(ROAD, Material('crossing'), 0.008)
            strip(b, plan.line, stripes, (s - half, s + half), tuple(sorted((side * (edge + 0.4), side * (edge + 2.9)))))
            strip(b, plan.line, stripes, (s - half - 3.4, s - half - 0.6), tuple(sorted((0.3 * side, side * (edge - 0.3)))), swap=True)
            plan.taken.append((s, side * (edge + 20), half + 0.6, 20.6))
            plan.taken.append((s, side * (edge - 1.5), half + 4.0, 1.6))
            plan.stand(buildings.house(rng, 26.0, 8.0, False), s, side * 58.0, -side * np.pi / 2)
        borders = [start, *[x for s, half in mouths for x in (s - half, s + half)], end]
        kinds = _deck(rng, _ZONE_CARDS)
        count = 0
        shift = (phase + (0.5 if side > 0 else 0.0)) % 1.0
        lot = [int(shift * len(lot_deck))]
        for first, last in zip(borders[::2], borders[1::2], strict=True):
            walk = surfaces['sidewalk'][0]
            kerb(b, plan.line, (first, last), side * edge, 0.0, KERB_M)
            strip(b, plan.line, walk, (first, last), tuple(sorted((side * edge, side * back_of_walk))))
            pieces = max(int(round((last - first) / rng.uniform(13, 19))), 1)
            cuts = np.linspace(first, last, pieces + 1)
            for a, z in zip(cuts[:-1], cuts[1:], strict=True):
                kind = kinds[count % len(kinds)]
                count += 1
                options = surfaces[kind]
                surface = options[rng.integers(len(options))]
                depth = rng.uniform(4.5, 6.5) if kind != 'sidewalk' else rng.uniform(1.5, 3.5)
                inner, outer = side * back_of_walk, side * (back_of_walk + depth)
                uv_origin = (0.0, inner + side * 1.6) if surface.material.texture == 'rails' else (0.0, 0.0)
                strip(b, plan.line, surface, (a, z), tuple(sorted((inner, outer))), rng, uv_origin=uv_origin)
                if abs(surface.height - KERB_M) > 0.01:
                    kerb(b, plan.line, (a, z), inner, surface.height, KERB_M)
                meadow = Surface(TERRAIN, Material('grass'), min(surface.height, KERB_M))
                strip(b, plan.line, meadow, (a, z), tuple(sorted((outer, side * 60.0))))
                _furnish_zone(plan, surface, side, (float(a), float(z)), (back_of_walk, back_of_walk + depth), lot_deck, lot)
                _close_block(plan, side, (float(a), float(z)), back_of_walk + depth)
            for s in (first, last):
                cross_kerb(b, plan.line, s, tuple(sorted((side * edge, side * back_of_walk))), KERB_M)
        _fill_curb_lane(plan, section, side, start, end, curb_deck, int(shift * len(curb_deck)))
        _fill_furniture_band(plan, section, side, start, end)
        _walkers(plan, section, side, start, end)
    for s, turn in ((start + 1.0, 0.0), (end - 1.0, np.pi)):
        plan.stand(buildings.house(rng, 70.0, 8.0, True), s, 0.0, turn)
    return b.build()


def _mouths(rng: np.random.Generator, start: float, end: float) -> list[tuple[float, float]]:
    out, s = [], start + rng.uniform(15, 50)
    while s < end - 15:
        out.append((float(s), float(rng.uniform(3.6, 5.0))))
        s += rng.uniform(45, 75)
    return out


_ZONE_CARDS = ['terrain', 'other_flat', 'terrain', 'other_flat', 'sidewalk', 'other_flat', 'terrain']
_CURB_CARDS = ['car', 'truck', 'works', 'motorcycles', 'bus', 'car', 'barriers', 'trailer', 'car', 'bicycles', 'construction_vehicle', 'gap',
               'semi', 'works', 'gap']
_LOT_CARDS = ['construction_vehicle', 'trailer', 'truck', 'bus', 'construction_vehicle', 'car', 'trailer']
_MAKERS: dict[str, Callable[[np.random.Generator], Mesh]] = {
    'car': vehicles.car, 'truck': vehicles.truck, 'bus': vehicles.bus, 'trailer': vehicles.trailer,
    'construction_vehicle': vehicles.construction_vehicle, 'bicycle': people.bicycle, 'motorcycle': people.motorcycle,
    'pedestrian': people.pedestrian, 'cone': furniture.cone,
}


def _length(mesh: Mesh) -> float:
    x = mesh.corners[:, :, 0]
    return float(max(x.max(), -x.min()) * 2)


def _park(plan: _Plan, name: str, s: float, d: float, heading: float, gap: float = 0.6) -> float:
    """Try to park a vehicle with its rear near s; returns the length used (0 when the place is taken)."""
    mesh = _MAKERS[name](plan.rng)
    half = _length(mesh) / 2
    if not plan.claim(s + half, d, half + gap, 1.3):
        return 0.0
    plan.put(mesh, s + half, d, heading + plan.rng.normal(0, 0.02))
    return 2 * half + gap


def _fill_curb_lane(plan: _Plan, section: _Section, side: int, start: float, end: float, deck: list[str], first: int) -> None:
    rng, s, card = plan.rng, start + 2.0, first
    d = side * (section.edge[side] - 1.35)
    heading = 0.0 if side < 0 else np.pi
    towards_road = -side
    while s < end - 14:
        name = deck[card % len(deck)]
        used = 0.0
        if name in ('car', 'truck', 'bus', 'trailer', 'construction_vehicle'):
            used = _park(plan, name, s, d, heading)
        elif name == 'semi':
            trailer, cab = vehicles.trailer(rng), vehicles.truck(rng)
            lengths = _length(trailer), _length(cab)
            if plan.claim(s + sum(lengths) / 2, d, sum(lengths) / 2 + 1.0, 1.3):
                order = (trailer, cab) if side < 0 else (cab, trailer)
                x = s
                for mesh in order:
                    plan.put(mesh, x + _length(mesh) / 2, d, heading)
                    x += _length(mesh) + 0.4
                used = sum(lengths) + 2.0
        elif name == 'gap':
            used = rng.uniform(3, 6)
        elif name == 'works':
            length = rng.uniform(9.0, 11.0)
            if plan.claim(s + length / 2, d, length / 2 + 0.3, 1.3):
                kind = str(rng.choice(['fence', 'plastic']))
                for x in (s + 0.3, s + length - 0.3):
                    plan.put(furniture.barrier(rng, kind), x, d, rng.normal(0, 0.06))
                plan.put(vehicles.construction_vehicle(rng), s + length / 2, d - towards_road * 0.1, rng.normal(0, 0.08) + heading)
                for x in np.arange(s + 0.6, s + length, rng.uniform(1.4, 2.2)):
                    plan.put(furniture.cone(rng), x, d + towards_road * (1.55 + rng.normal(0, 0.05)), rng.uniform(0, 1.5))
                used = length + 0.6
        elif name == 'barriers':
            count = int(rng.integers(3, 5))
            length = count * 2.4
            if plan.claim(s + length / 2, d, length / 2 + 0.8, 1.3):
                kind = str(rng.choice(['jersey', 'plastic', 'jersey']))
                for i in range(count):
                    plan.put(furniture.barrier(rng, kind), s + 1.2 + 2.4 * i, d + towards_road * 0.7, np.pi / 2 + rng.normal(0, 0.03))
                for x in (s - 0.4, s + length + 0.4):
                    plan.put(furniture.cone(rng), x, d + towards_road * 0.5)
                kind = str(rng.choice(furniture.OTHER_KINDS[1:]))
                plan.put(furniture.other(rng, 'boxes' if kind == 'dog' else kind), s + length / 2, d - towards_road * 0.5, rng.uniform(0, 6.28), other='boxes')
                used = length + 1.6
        else:
            count = int(rng.integers(3, 6))
            pitch = 0.95 if name == 'motorcycles' else 0.75
            length = count * pitch
            if plan.claim(s + length / 2, d, length / 2 + 0.5, 1.3):
                turn = np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0, 0.15)
                for i in range(count):
                    plan.put(_MAKERS[name[:-1]](rng), s + pitch * (i + 0.5), d + rng.normal(0, 0.1), turn + rng.normal(0, 0.08))
                used = length + 0.8
        if used:
            card += 1
            s += used + rng.uniform(0.4, 2.2)
        else:
            s += 1.0


_BAND_CARDS = ['lamp', 'bin', 'tree', 'cones', 'bicycles', 'bags', 'sign', 'tree', 'stroller', 'motorcycle', 'barrier', 'tree', 'boxes',
               'bins', 'kiosk', 'cones', 'bicycles', 'lamp', 'cart', 'shelter', 'dog', 'light']


def _fill_furniture_band(plan: _Plan, section: _Section, side: int, start: float, end: float) -> None:
    rng, s, card = plan.rng, start + 2.0, 0
    deck = _deck(rng, _BAND_CARDS)
    base = section.edge[side] + 0.65
    turn_in = -side * np.pi / 2
    while s < end - 3:
        name = deck[card % len(deck)]
        card += 1
        d = side * base
        half = {'bicycles': 1.6, 'barrier': 1.4, 'shelter': 2.4, 'bins': 1.3, 'cones': 1.2}.get(name, 0.5)
        if plan.claim(s + half, side * (base + (0.3 if name == 'shelter' else 0.0)), half + 0.15, 0.9 if name == 'shelter' else 0.55):
            x = s + half
            if name == 'lamp':
                plan.stand(furniture.lamp_post(rng), x, d, turn_in, KERB_M)
            elif name == 'tree':
                plan.stand(furniture.tree(rng, plan.leaves), x, d, rng.uniform(0, 6.28), KERB_M)
            elif name == 'sign':
                plan.stand(furniture.sign(rng), x, d, 0.0 if side < 0 else np.pi, KERB_M)
            elif name == 'light':
                plan.stand(furniture.traffic_light(rng), x, d, 0.0 if side < 0 else np.pi, KERB_M)
            elif name == 'kiosk':
                plan.stand(furniture.kiosk(rng), x, d, 0.0, KERB_M)
            elif name == 'shelter':
                plan.stand(furniture.shelter(rng), x, side * (base + 0.3), turn_in, KERB_M)
            elif name == 'cones':
                for k in range(3):
                    plan.put(furniture.cone(rng), x - 0.9 + 0.9 * k, d + rng.normal(0, 0.15), 0.0, KERB_M)
            elif name == 'bicycles':
                turn = turn_in + rng.normal(0, 0.4)
                for k in range(4):
                    plan.put(people.bicycle(rng), x - 1.2 + 0.8 * k, d, turn + rng.normal(0, 0.06), KERB_M)
            elif name == 'motorcycle':
                plan.put(people.motorcycle(rng), x, d, rng.choice([0, np.pi]) + rng.normal(0, 0.2), KERB_M)
            elif name == 'barrier':
                plan.put(furniture.barrier(rng, str(rng.choice(['fence', 'plastic', 'jersey']))), x, d, np.pi / 2, KERB_M)
            elif name == 'bins':
                for k in range(3):
                    plan.put(furniture.other(rng, 'bin'), x - 0.8 + 0.8 * k, d, turn_in + rng.normal(0, 0.1), KERB_M, other='bin')
            else:
                plan.put(furniture.other(rng, name), x, d, rng.uniform(0, 6.28), KERB_M, other=name)
            s += 2 * half + rng.uniform(0.2, 1.4)
        else:
            s += 0.8


def _walkers(plan: _Plan, section: _Section, side: int, start: float, end: float) -> None:
    rng, s = plan.rng, start + float(plan.rng.uniform(0, 4))
    low, high = section.edge[side] + 1.5, section.edge[side] + section.walk[side] - 0.3
    while s < end:
        if rng.random() < 0.62:
            direction = rng.choice([-1, 1])
            d = side * (low + (high - low) * (0.25 if direction > 0 else 0.75) + rng.normal(0, 0.12))
            speed = direction * rng.uniform(0.8, 1.7)
            plan.put(people.pedestrian(rng, True), s, d, 0.0 if direction > 0 else np.pi, KERB_M, speed)
        else:
            d = side * rng.uniform(low, high)
            if plan.claim(s, d, 0.35, 0.35):
                plan.put(people.pedestrian(rng), s, d, rng.uniform(-np.pi, np.pi), KERB_M)
        s += rng.uniform(1.5, 6.0)


def _furnish_zone(plan: _Plan, surface: Surface, side: int, s: tuple[float, float], d: tuple[float, float], lot_deck: list[str],
                  lot: list[int]) -> None:
    """Things on the strip between sidewalk and houses."""
    rng, height = plan.rng, surface.height
    first, last = s[0] + 0.8, s[1] - 0.8
    if surface.label == OTHER_FLAT and surface.material.texture != 'water':
        x = first
        while x < last - 4:
            name = lot_deck[lot[0] % len(lot_deck)]
            mesh = _MAKERS[name](rng)
            half = _length(mesh) / 2
            if x + 2 * half > last:
                if half < 2.6 or last - first > 13:
                    break
                lot[0] += 1
                mesh = _MAKERS['construction_vehicle'](rng)
                half = _length(mesh) / 2
                if x + 2 * half > last + 0.5:
                    break
            middle = side * (d[1] - 1.9)
            if plan.claim(x + half, middle, half + 0.3, 1.4):
                plan.put(mesh, x + half, middle, rng.choice([0, np.pi]) + rng.normal(0, 0.06), height)
                lot[0] += 1
            x += 2 * half + rng.uniform(0.8, 3.0)
        for x in np.arange(first + 0.5, last, rng.uniform(2.5, 4.0)):
            row = side * (d[0] + 0.55)
            kind = rng.choice(['barrier', 'cone', 'none', 'other', 'person'])
            if kind == 'barrier' and plan.claim(x, row, 1.25, 0.4):
                plan.put(furniture.barrier(rng, str(rng.choice(['plastic', 'jersey', 'fence']))), x, row, np.pi / 2 + rng.normal(0, 0.05), height)
            elif kind == 'cone' and plan.claim(x, row, 0.3, 0.3):
                plan.put(furniture.cone(rng), x, row, 0.0, height)
            elif kind == 'other' and plan.claim(x, row, 0.6, 0.5):
                name = str(rng.choice(furniture.OTHER_KINDS))
                plan.put(furniture.other(rng, name), x, row, rng.uniform(0, 6.28), height, other=name)
            elif kind == 'person' and plan.claim(x, row, 0.35, 0.35):
                plan.put(people.pedestrian(rng), x, row, rng.uniform(0, 6.28), height)
    elif surface.label == TERRAIN:
        for x in np.arange(first, last, rng.uniform(2.2, 3.4)):
            place = side * rng.uniform(d[0] + 1.2, d[1] - 0.8)
            kind = rng.choice(['tree', 'bush', 'bush', 'conifer', 'dog', 'person', 'none', 'none'])
            if kind == 'none' or not plan.claim(x, place, 0.9, 0.9):
                continue
            if kind == 'tree':
                plan.stand(furniture.tree(rng, plan.leaves), x, place, rng.uniform(0, 6.28), height)
            elif kind == 'conifer':
                plan.stand(furniture.tree(rng, 'needles'), x, place, 0.0, height)
            elif kind == 'bush':
                plan.stand(furniture.bush(rng, str(rng.choice(['leaves_a', 'leaves_b', 'needles']))), x, place, 0.0, height)
            elif kind == 'dog':
                plan.put(furniture.other(rng, 'dog'), x, place, rng.uniform(0, 6.28), height, other='dog')
            else:
                plan.put(people.pedestrian(rng), x, place, rng.uniform(0, 6.28), height)
        if rng.random() < 0.45:
            plan.stand(furniture.hedge(rng, last - first, plan.leaves), (s[0] + s[1]) / 2, side * (d[0] + 0.5), 0.0, height)
    elif surface.label == SIDEWALK:
        for x in np.arange(first, last, 2.8):
            place = side * rng.uniform(d[0] + 0.3, d[1] - 0.6)
            if plan.claim(x, place, 0.5, 0.5):
                kind = str(rng.choice(['bin', 'person', 'person', 'bicycle', 'none', 'stroller']))
                if kind == 'person':
                    plan.put(people.pedestrian(rng), x, place, rng.uniform(0, 6.28), height)
                elif kind == 'bicycle':
                    plan.put(people.bicycle(rng), x, place, rng.normal(0, 0.2), height)
                elif kind != 'none':
                    plan.put(furniture.other(rng, kind), x, place, rng.uniform(0, 6.28), height, other=kind)


def _close_block(plan: _Plan, side: int, s: tuple[float, float], front: float) -> None:
    """What stands behind the strip: house, hall, wall with trees, fence with hedge."""
    rng, length, middle = plan.rng, s[1] - s[0], (s[0] + s[1]) / 2
    turn = -side * np.pi / 2
    kind = str(rng.choice(['house', 'shops', 'hall', 'wall', 'fence', 'hedge'], p=[0.3, 0.25, 0.15, 0.12, 0.09, 0.09]))
    if kind in ('house', 'shops', 'hall'):
        depth = rng.uniform(8, 12)
        mesh = buildings.hall(rng, length, depth) if kind == 'hall' else buildings.house(rng, length, depth, kind == 'shops')
        plan.stand(mesh, middle, side * (front + 0.15), turn)
        x, y, heading, z = (float(v) for v in plan.line.frame(middle))
        place = plan.line.to_world(np.float64(middle), np.float64(side * (front + 0.15)))
        plan.houses.append((place[0], place[1], heading + turn, depth, length, z, z + float(mesh.corners[:, :, 2].max())))
        return
    if kind == 'wall':
        plan.stand(buildings.wall(rng, length), middle, side * (front + 0.2), turn)
    elif kind == 'fence':
        plan.stand(buildings.fence(rng, length), middle, side * (front + 0.1), turn)
    else:
        plan.stand(furniture.hedge(rng, length, plan.leaves), middle, side * (front + 0.6), 0.0, 0.1)
    for x in np.arange(s[0] + 1.5, s[1], 4.0):
        leaves = 'needles' if rng.random() < 0.3 else plan.leaves
        plan.stand(furniture.tree(rng, leaves), x, side * (front + rng.uniform(2.5, 5.5)), rng.uniform(0, 6.28), 0.1)
    plan.stand(buildings.house(rng, length, 8.0, False), middle, side * (front + rng.uniform(10, 14)), turn)


_ONCOMING_CARDS = ['car', 'bus', 'bike', 'truck', 'car', 'semi', 'bike', 'construction_vehicle', 'car']
_AHEAD_CARDS = ['car', 'truck', 'bike', 'bus', 'car', 'semi', 'bike']


def _traffic(plan: _Plan, section: _Section, speed: float, now: float, duration_s: float, end: float) -> None:
    """Everything that drives: lanes both ways, the ego vehicle's own lane, cyclists beside the lanes."""
    rng = plan.rng
    for lane, direction in section.lanes:
        own = abs(lane - section.ego_lane) < 0.1
        velocity = speed if own else rng.uniform(0.75, 1.2) * speed if direction > 0 else -rng.uniform(6.0, 9.5)
        low, high = (-60.0, 75.0) if direction > 0 else (-60.0, end + abs(velocity) * duration_s)
        if direction > 0 and not own:
            low, high = -60 - 3.0 * duration_s, 75 + 3.0 * duration_s
        deck = _deck(rng, _AHEAD_CARDS if direction > 0 else _ONCOMING_CARDS)
        if own:
            for step, limit in ((1, high), (-1, low)):
                _platoon(plan, deck, step * rng.uniform(9.0, 13.0), limit, lane, velocity, step, (4.0, 10.0))
                deck = _deck(rng, _AHEAD_CARDS)
        else:
            _platoon(plan, deck, low, high, lane, velocity, 1, (4.0, 11.0))
    for side in (1, -1):
        velocity = rng.uniform(3.2, 5.2) * (1 if side < 0 else -1)
        reach = abs(velocity) * duration_s
        s = -60 - (reach if side < 0 else 0)
        while s < end + (reach if side > 0 else 0):
            plan.put(people.bicycle(rng, True), s, side * section.bike[side], 0.0 if side < 0 else np.pi, 0.0, velocity,
                     (0.08, 1.3, float(rng.uniform(0, 6.28))), rider=True)
            s += rng.uniform(8, 19)


def _platoon(plan: _Plan, deck: list[str], s: float, limit: float, lane: float, velocity: float, step: int, gaps: tuple[float, float]) -> None:
    """Vehicles one behind the other at one speed, from s towards limit in direction step."""
    rng, card = plan.rng, 0
    heading = 0.0 if velocity > 0 else np.pi
    while (limit - s) * step > 0:
        name = deck[card % len(deck)]
        card += 1
        if name == 'semi':
            meshes = [vehicles.truck(rng), vehicles.trailer(rng)]
            if (velocity > 0) == (step > 0):
                meshes.reverse()
        elif name == 'bike':
            meshes = [people.motorcycle(rng, True)]
        else:
            meshes = [_MAKERS[name](rng)]
        for mesh in meshes:
            half = _length(mesh) / 2
            sway = (0.15, 0.4, float(rng.uniform(0, 6.28))) if name == 'bike' else (0.0, 0.5, 0.0)
            plan.put(mesh, s + step * half, lane + rng.normal(0, 0.12), heading, 0.0, velocity, sway, rider=name == 'bike')
            s += step * (2 * half + 0.5)
        s += step * rng.uniform(*gaps)

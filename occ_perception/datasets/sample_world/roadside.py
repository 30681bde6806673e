"""What stands beside the lanes: parking lane, median, the band of street furniture, people on the sidewalk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from occ_perception.datasets.sample_world import furniture, people, vehicles
from occ_perception.datasets.sample_world.cross_section import Section
from occ_perception.datasets.sample_world.ground import KERB_M
from occ_perception.datasets.sample_world.mesh import Mesh
from occ_perception.datasets.sample_world.plan import Plan, shuffled

CURB_CARDS = [
    'car',
    'motorcycles',
    'works',
    'car',
    'truck',
    'bicycles',
    'gap',
    'bus',
    'motorcycles',
    'barriers',
    'car',
    'trailer',
    'bicycles',
    'works',
    'car',
    'gap',
    'motorcycles',
    'semi',
    'barriers',
    'construction_vehicle',
    'gap',
]
MAKERS: dict[str, Callable[[np.random.Generator], Mesh]] = {
    'car': vehicles.car, 'truck': vehicles.truck, 'bus': vehicles.bus, 'trailer': vehicles.trailer,
    'construction_vehicle': vehicles.construction_vehicle, 'bicycle': people.bicycle, 'motorcycle': people.motorcycle,
    'pedestrian': people.pedestrian, 'cone': furniture.cone,
}


def _park(plan: Plan, name: str, s: float, d: float, heading: float, gap: float = 0.6) -> float:
    """Try to park a vehicle with its rear near s; returns the length used (0 when the place is taken)."""
    mesh = plan.model(MAKERS[name])
    half = mesh.half_length
    if not plan.claim(s + half, d, half + gap, 1.3):
        return 0.0
    plan.put(mesh, s + half, d, heading + plan.rng.normal(0, 0.02))
    return 2 * half + gap


def fill_curb_lane(plan: Plan, section: Section, side: int, start: float, end: float, deck: list[str], first: int) -> None:
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
            trailer, cab = plan.model(vehicles.trailer), plan.model(vehicles.truck)
            lengths = 2 * trailer.half_length, 2 * cab.half_length
            if plan.claim(s + sum(lengths) / 2, d, sum(lengths) / 2 + 1.0, 1.3):
                order = (trailer, cab) if side < 0 else (cab, trailer)
                x = s
                for mesh in order:
                    plan.put(mesh, x + mesh.half_length, d, heading)
                    x += 2 * mesh.half_length + 0.4
                used = sum(lengths) + 2.0
        elif name == 'gap':
            used = rng.uniform(3, 6)
        elif name == 'works':
            length = rng.uniform(9.0, 11.0)
            if plan.claim(s + length / 2, d, length / 2 + 0.3, 1.3):
                kind = str(rng.choice(['fence', 'plastic']))
                for x in (s + 0.3, s + length - 0.3):
                    plan.put(plan.model(furniture.barrier, kind, variants=4), x, d, rng.normal(0, 0.06))
                plan.put(
                    plan.model(vehicles.construction_vehicle, ''),
                    s + length / 2,
                    d - towards_road * 0.3,
                    rng.normal(0, 0.08) + heading,
                )
                for x in np.arange(s + 0.6, s + length, rng.uniform(1.4, 2.2)):
                    plan.put(
                        plan.model(furniture.cone, variants=5),
                        x,
                        d + towards_road * (1.40 + rng.normal(0, 0.05)),
                        rng.uniform(0, 1.5),
                    )
                used = length + 0.6
        elif name == 'barriers':
            count = int(rng.integers(3, 5))
            length = count * 2.4
            if plan.claim(s + length / 2, d, length / 2 + 0.8, 1.3):
                kind = str(rng.choice(['jersey', 'plastic', 'jersey']))
                for i in range(count):
                    plan.put(
                        plan.model(furniture.barrier, kind, variants=4),
                        s + 1.2 + 2.4 * i,
                        d + towards_road * 0.7,
                        np.pi / 2 + rng.normal(0, 0.03),
                    )
                for x in (s - 0.4, s + length + 0.4):
                    plan.put(plan.model(furniture.cone, variants=5), x, d + towards_road * 0.5)
                kind = str(rng.choice(furniture.OTHER_KINDS[1:]))
                plan.put(
                    plan.model(furniture.other, 'boxes' if kind == 'dog' else kind, variants=4),
                    s + length / 2,
                    d - towards_road * 0.5,
                    rng.uniform(0, 6.28),
                    other='boxes',
                )
                used = length + 1.6
        else:
            count = int(rng.integers(3, 6))
            pitch = 0.95 if name == 'motorcycles' else 0.75
            length = count * pitch
            if plan.claim(s + length / 2, d, length / 2 + 0.5, 1.3):
                turn = np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0, 0.15)
                for i in range(count):
                    plan.put(
                        plan.model(MAKERS[name[:-1]], variants=8),
                        s + pitch * (i + 0.5),
                        d + rng.normal(0, 0.1),
                        turn + rng.normal(0, 0.08),
                    )
                used = length + 0.8
        if used:
            card += 1
            s += used + rng.uniform(0.4, 2.2)
        else:
            s += 1.0


_BAND_CARDS = [
    'lamp',
    'bin',
    'tree',
    'cones',
    'bags',
    'motorcycle',
    'sign',
    'bins',
    'stroller',
    'bicycles',
    'barrier',
    'tree',
    'boxes',
    'cones',
    'bins',
    'kiosk',
    'cart',
    'motorcycle',
    'lamp',
    'tree',
    'dog',
    'barrier',
    'shelter',
    'bags',
    'light',
]
_MEDIAN_CARDS = [
    'cones',
    'bush',
    'none',
    'barrier',
    'sign',
    'person',
    'cone',
    'none',
    'bin',
    'lamp',
    'bush',
    'cone',
    'motorcycle',
    'boxes',
]


def fill_furniture_band(plan: Plan, section: Section, side: int, start: float, end: float) -> None:
    rng, s, card = plan.rng, start + 2.0, 0
    deck = shuffled(rng, _BAND_CARDS)
    base = section.edge[side] + 0.65
    turn_in = -side * np.pi / 2
    while s < end - 3:
        name = deck[card % len(deck)]
        card += 1
        d = side * base
        half = {'bicycles': 1.6, 'barrier': 1.4, 'shelter': 2.4, 'bins': 1.3, 'cones': 1.2}.get(name, 0.5)
        if plan.claim(
            s + half, side * (base + (0.3 if name == 'shelter' else 0.0)), half + 0.15, 0.9 if name == 'shelter' else 0.55
        ):
            x = s + half
            if name == 'lamp':
                plan.stand(plan.model(furniture.lamp_post, variants=3), x, d, turn_in, KERB_M)
            elif name == 'tree':
                plan.stand(plan.model(furniture.tree, plan.leaves, variants=9), x, d, rng.uniform(0, 6.28), KERB_M)
            elif name == 'sign':
                plan.stand(plan.model(furniture.sign, variants=3), x, d, 0.0 if side < 0 else np.pi, KERB_M)
            elif name == 'light':
                plan.stand(plan.model(furniture.traffic_light, variants=3), x, d, 0.0 if side < 0 else np.pi, KERB_M)
            elif name == 'kiosk':
                plan.stand(plan.model(furniture.kiosk, variants=3), x, d, 0.0, KERB_M)
            elif name == 'shelter':
                plan.stand(plan.model(furniture.shelter, variants=3), x, side * (base + 0.3), turn_in, KERB_M)
            elif name == 'cones':
                for k in range(3):
                    plan.put(plan.model(furniture.cone, variants=5), x - 0.9 + 0.9 * k, d + rng.normal(0, 0.15), 0.0, KERB_M)
            elif name == 'bicycles':
                turn = turn_in + rng.normal(0, 0.4)
                for k in range(4):
                    plan.put(plan.model(people.bicycle, variants=10), x - 1.2 + 0.8 * k, d, turn + rng.normal(0, 0.06), KERB_M)
            elif name == 'motorcycle':
                plan.put(plan.model(people.motorcycle, variants=8), x, d, rng.choice([0, np.pi]) + rng.normal(0, 0.2), KERB_M)
            elif name == 'barrier':
                plan.put(
                    plan.model(furniture.barrier, str(rng.choice(['fence', 'plastic', 'jersey'])), variants=4),
                    x,
                    d,
                    np.pi / 2,
                    KERB_M,
                )
            elif name == 'bins':
                for k in range(3):
                    plan.put(
                        plan.model(furniture.other, 'bin', variants=4),
                        x - 0.8 + 0.8 * k,
                        d,
                        turn_in + rng.normal(0, 0.1),
                        KERB_M,
                        other='bin',
                    )
            else:
                plan.put(plan.model(furniture.other, name, variants=4), x, d, rng.uniform(0, 6.28), KERB_M, other=name)
            s += 2 * half + rng.uniform(0.2, 1.4)
        else:
            s += 0.8


def add_walkers(plan: Plan, section: Section, side: int, start: float, end: float) -> None:
    rng, s = plan.rng, start + float(plan.rng.uniform(0, 4))
    low, high = section.edge[side] + 1.5, section.edge[side] + section.walk[side] - 0.3
    while s < end:
        if rng.random() < 0.62:
            direction = rng.choice([-1, 1])
            d = side * (low + (high - low) * (0.25 if direction > 0 else 0.75) + rng.normal(0, 0.12))
            speed = direction * rng.uniform(0.8, 1.7)
            plan.put(plan.model(people.pedestrian, True, variants=22), s, d, 0.0 if direction > 0 else np.pi, KERB_M, speed)
        else:
            d = side * rng.uniform(low, high)
            if plan.claim(s, d, 0.35, 0.35):
                plan.put(plan.model(people.pedestrian, variants=22), s, d, rng.uniform(-np.pi, np.pi), KERB_M)
        s += rng.uniform(1.5, 6.0)


def fill_median(plan: Plan, section: Section, s: tuple[float, float], height: float) -> None:
    """Small things on a traffic island between s[0] and s[1]."""
    rng, deck = plan.rng, shuffled(plan.rng, _MEDIAN_CARDS)
    x, card = s[0] + 0.8, 0
    while x < s[1] - 1.6:
        name = deck[card % len(deck)]
        card += 1
        d = rng.normal(0, 0.08)
        if name in ('cones', 'cone'):
            for k in range(3 if name == 'cones' else 1):
                plan.put(plan.model(furniture.cone, variants=5), x + 0.8 * k, d, 0.0, height)
            x += 1.6 if name == 'cones' else 0.0
        elif name == 'barrier':
            kind = str(rng.choice(['plastic', 'jersey']))
            for k in range(2):
                plan.put(plan.model(furniture.barrier, kind, variants=4), x + 1.0 + 2.4 * k, d, np.pi / 2, height)
            x += 4.2
        elif name == 'bush':
            plan.stand(plan.model(furniture.hedge, 1.6, plan.leaves, variants=3), x + 0.6, 0.0, 0.0, height)
            x += 1.0
        elif name == 'sign':
            plan.stand(plan.model(furniture.sign, variants=3), x, d, rng.choice([0, np.pi]), height)
        elif name == 'lamp':
            plan.stand(plan.model(furniture.lamp_post, variants=3), x, d, rng.choice([-1, 1]) * np.pi / 2, height)
        elif name == 'person':
            plan.put(plan.model(people.pedestrian, variants=22), x, d, rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.4), height)
        elif name == 'motorcycle':
            plan.put(plan.model(people.motorcycle, variants=8), x + 0.8, d, rng.normal(0, 0.1), height)
            x += 1.4
        elif name != 'none':
            plan.put(plan.model(furniture.other, name, variants=4), x, d, rng.uniform(0, 6.28), height, other=name)
        x += rng.uniform(1.6, 3.6)

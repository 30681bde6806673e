"""What drives along a street: lanes both ways, the ego vehicle's own lane, cyclists beside the lanes."""

from __future__ import annotations

import numpy as np

from occ_perception.datasets.sample_world import people, vehicles
from occ_perception.datasets.sample_world.cross_section import Section
from occ_perception.datasets.sample_world.plan import Plan, shuffled

_ONCOMING_CARDS = ['car', 'bike', 'truck', 'car', 'bike', 'bus', 'car', 'bike', 'construction_vehicle', 'car', 'semi', 'bike']
_AHEAD_CARDS = ['car', 'bike', 'truck', 'car', 'bike', 'bus', 'car', 'bike', 'semi']



def add_traffic(plan: Plan, section: Section, speed: float, duration_s: float, end: float) -> None:
    """Everything that drives: lanes both ways, the ego vehicle's own lane, cyclists beside the lanes."""
    rng = plan.rng
    for lane, direction in section.lanes:
        own = abs(lane - section.ego_lane) < 0.1
        velocity = speed if own else rng.uniform(0.75, 1.2) * speed if direction > 0 else -rng.uniform(6.0, 9.5)
        low, high = (-60.0, 75.0) if direction > 0 else (-60.0, end + abs(velocity) * duration_s)
        if direction > 0 and not own:
            low, high = -60 - 3.0 * duration_s, 75 + 3.0 * duration_s
        deck = shuffled(rng, _AHEAD_CARDS if direction > 0 else _ONCOMING_CARDS)
        if own:
            for step, limit in ((1, high), (-1, low)):
                _platoon(plan, deck, step * rng.uniform(9.0, 13.0), limit, lane, velocity, step, (4.0, 10.0))
                deck = shuffled(rng, _AHEAD_CARDS)
        else:
            _platoon(plan, deck, low, high, lane, velocity, 1, (4.0, 11.0))
    for side in (1, -1):
        velocity = rng.uniform(3.2, 5.2) * (1 if side < 0 else -1)
        reach = abs(velocity) * duration_s
        s = -60 - (reach if side < 0 else 0)
        while s < end + (reach if side > 0 else 0):
            plan.put(
                plan.model(people.bicycle, True, variants=10),
                s,
                side * section.bike[side],
                0.0 if side < 0 else np.pi,
                0.0,
                velocity,
                (0.08, 1.3, float(rng.uniform(0, 6.28))),
                rider=True,
            )
            s += rng.uniform(8, 19)


def _platoon(
    plan: Plan, deck: list[str], s: float, limit: float, lane: float, velocity: float, step: int, gaps: tuple[float, float]
) -> None:
    """Vehicles one behind the other at one speed, from s towards limit in direction step."""
    rng, card = plan.rng, 0
    heading = 0.0 if velocity > 0 else np.pi
    while (limit - s) * step > 0:
        name = deck[card % len(deck)]
        card += 1
        if name == 'semi':
            meshes = [plan.model(vehicles.truck), plan.model(vehicles.trailer)]
            if (velocity > 0) == (step > 0):
                meshes.reverse()
        elif name == 'bike':
            meshes = [plan.model(people.motorcycle, True, variants=8)]
        else:
            meshes = [plan.model(getattr(vehicles, name), *(['loader'] if name == 'construction_vehicle' else []))]
        for mesh in meshes:
            half = mesh.half_length
            sway = (0.15, 0.4, float(rng.uniform(0, 6.28))) if name == 'bike' else (0.0, 0.5, 0.0)
            plan.put(mesh, s + step * half, lane + rng.normal(0, 0.12), heading, 0.0, velocity, sway, rider=name == 'bike')
            s += step * (2 * half + 0.5)
        s += step * rng.uniform(*gaps)

"""What stands between the sidewalk and the houses, and the houses, halls, walls and hedges that close the street."""

from __future__ import annotations

import numpy as np

from occ_perception.datasets.sample_world import buildings, furniture, people, vehicles
from occ_perception.datasets.sample_world.ground import OTHER_FLAT, SIDEWALK, TERRAIN, Surface
from occ_perception.datasets.sample_world.plan import Plan
from occ_perception.datasets.sample_world.roadside import MAKERS

LOT_CARDS = ['construction_vehicle', 'trailer', 'truck', 'bus', 'construction_vehicle', 'car', 'trailer']


def furnish_zone(plan: Plan, surface: Surface, side: int, s: tuple[float, float], d: tuple[float, float], lot_deck: list[str],
                  lot: list[int]) -> None:
    """Things on the strip between sidewalk and houses."""
    rng, height = plan.rng, surface.height
    first, last = s[0] + 0.8, s[1] - 0.8
    if surface.label == OTHER_FLAT and surface.material.texture != 'water':
        x = first
        while x < last - 4:
            name = lot_deck[lot[0] % len(lot_deck)]
            mesh = plan.model(MAKERS[name])
            half = mesh.half_length
            if x + 2 * half > last:
                if half < 2.6 or last - first > 13:
                    break
                lot[0] += 1
                mesh = plan.model(vehicles.construction_vehicle, '')
                half = mesh.half_length
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
                plan.put(
                    plan.model(furniture.barrier, str(rng.choice(['plastic', 'jersey', 'fence'])), variants=4),
                    x,
                    row,
                    np.pi / 2 + rng.normal(0, 0.05),
                    height,
                )
            elif kind == 'cone' and plan.claim(x, row, 0.3, 0.3):
                plan.put(plan.model(furniture.cone, variants=5), x, row, 0.0, height)
            elif kind == 'other' and plan.claim(x, row, 0.6, 0.5):
                name = str(rng.choice(furniture.OTHER_KINDS))
                plan.put(plan.model(furniture.other, name, variants=4), x, row, rng.uniform(0, 6.28), height, other=name)
            elif kind == 'person' and plan.claim(x, row, 0.35, 0.35):
                plan.put(plan.model(people.pedestrian, variants=22), x, row, rng.uniform(0, 6.28), height)
    elif surface.label == TERRAIN:
        for x in np.arange(first, last, rng.uniform(2.2, 3.4)):
            place = side * rng.uniform(d[0] + 1.2, d[1] - 0.8)
            kind = rng.choice(['tree', 'bush', 'bush', 'conifer', 'dog', 'person', 'none', 'none'])
            if kind == 'none' or not plan.claim(x, place, 0.9, 0.9):
                continue
            if kind == 'tree':
                plan.stand(plan.model(furniture.tree, plan.leaves, variants=9), x, place, rng.uniform(0, 6.28), height)
            elif kind == 'conifer':
                plan.stand(plan.model(furniture.tree, 'needles', variants=9), x, place, 0.0, height)
            elif kind == 'bush':
                plan.stand(
                    plan.model(furniture.bush, str(rng.choice(['leaves_a', 'leaves_b', 'needles'])), variants=5),
                    x,
                    place,
                    0.0,
                    height,
                )
            elif kind == 'dog':
                plan.put(plan.model(furniture.other, 'dog', variants=4), x, place, rng.uniform(0, 6.28), height, other='dog')
            else:
                plan.put(plan.model(people.pedestrian, variants=22), x, place, rng.uniform(0, 6.28), height)
        if rng.random() < 0.45:
            hedge = plan.model(furniture.hedge, last - first, plan.leaves)
            plan.stand(hedge, (s[0] + s[1]) / 2, side * (d[0] + 0.5), np.pi / 2, height)
    elif surface.label == SIDEWALK:
        for x in np.arange(first, last, 2.8):
            place = side * rng.uniform(d[0] + 0.3, d[1] - 0.6)
            if plan.claim(x, place, 0.5, 0.5):
                kind = str(rng.choice(['bin', 'person', 'person', 'bicycle', 'none', 'stroller']))
                if kind == 'person':
                    plan.put(plan.model(people.pedestrian, variants=22), x, place, rng.uniform(0, 6.28), height)
                elif kind == 'bicycle':
                    plan.put(plan.model(people.bicycle, variants=10), x, place, rng.normal(0, 0.2), height)
                elif kind != 'none':
                    plan.put(plan.model(furniture.other, kind, variants=4), x, place, rng.uniform(0, 6.28), height, other=kind)


def close_block(plan: Plan, side: int, s: tuple[float, float], front: float) -> None:
    """What stands behind the strip: house, hall, wall with trees, fence with hedge."""
    rng, length, middle = plan.rng, s[1] - s[0], (s[0] + s[1]) / 2
    turn = -side * np.pi / 2
    kind = str(rng.choice(['house', 'shops', 'hall', 'wall', 'fence', 'hedge'], p=[0.3, 0.25, 0.15, 0.12, 0.09, 0.09]))
    if kind in ('house', 'shops', 'hall'):
        depth = rng.uniform(8, 12)
        mesh = (
            plan.model(buildings.hall, length, depth)
            if kind == 'hall'
            else plan.model(buildings.house, length, depth, kind == 'shops')
        )
        plan.stand(mesh, middle, side * (front + 0.15), turn)
        _, _, heading, z = (float(v) for v in plan.line.frame(middle))
        place = plan.line.to_world(np.float64(middle), np.float64(side * (front + 0.15)))
        plan.houses.append((place[0], place[1], heading + turn, depth, length, z, z + float(mesh.high[2])))
        return
    if kind == 'wall':
        plan.stand(plan.model(buildings.wall, length), middle, side * (front + 0.2), turn)
    elif kind == 'fence':
        plan.stand(plan.model(buildings.fence, length), middle, side * (front + 0.1), turn)
    else:
        plan.stand(plan.model(furniture.hedge, length, plan.leaves), middle, side * (front + 0.6), turn, 0.1)
    for x in np.arange(s[0] + 1.5, s[1], 4.0):
        leaves = 'needles' if rng.random() < 0.3 else plan.leaves
        plan.stand(
            plan.model(furniture.tree, leaves, variants=9), x, side * (front + rng.uniform(2.5, 5.5)), rng.uniform(0, 6.28), 0.1
        )
    plan.stand(plan.model(buildings.house, length, 8.0, False), middle, side * (front + rng.uniform(10, 14)), turn)

"""Models that close the street: houses with windows and shops, halls, walls, fences; front towards +x, origin on the ground."""

from __future__ import annotations

import numpy as np

from occ_perception.datasets.sample_world.mesh import Material, Mesh, MeshBuilder, triple
from occ_perception.datasets.sample_world.vehicles import DARK, GLASS

WALL_COLOURS = ((0.75, 0.66, 0.50), (0.62, 0.36, 0.26), (0.70, 0.68, 0.64), (0.48, 0.46, 0.45), (0.72, 0.55, 0.38),
                (0.55, 0.62, 0.62), (0.80, 0.76, 0.66), (0.45, 0.25, 0.20))


def house(rng: np.random.Generator, length: float, depth: float, shops: bool) -> Mesh:
    """House `length` metres along y, from x = -depth to 0: ground floor, storeys, ledges, pilasters, roof, entrance, awnings."""
    b = MeshBuilder(15)
    colour = triple(
        float(c) for c in np.clip(np.array(WALL_COLOURS[rng.integers(len(WALL_COLOURS))]) * rng.uniform(0.85, 1.2, 3), 0, 1)
    )
    wall = Material(f'facade_{"abc"[rng.integers(3)]}', colour)
    plain = Material('plaster', colour)
    trim = Material('plaster', triple(min(1.0, 1.25 * c) for c in colour))
    ground = 3.4
    storeys = int(rng.integers(1, 5))
    top = ground + 3.2 * storeys
    base = Material('shopfront', triple(rng.uniform(0.6, 1.0, 3))) if shops else wall
    half = length / 2
    b.box((-depth / 2, 0, ground / 2), (depth, length, ground), base, {'top': None, 'bottom': None, 'back': plain}, solid=False)
    b.box(
        (-depth / 2, 0, (ground + top) / 2),
        (depth, length, top - ground),
        wall,
        {'bottom': None, 'back': plain, 'top': Material('concrete')},
        solid=False,
    )
    for y in np.linspace(-half + 0.2, half - 0.2, max(int(length / 6.4), 1) + 1):
        b.box((0.06, y, top / 2), (0.16, 0.4, top), trim, solid=False)
    b.box((0.15, 0, ground), (0.5, length, 0.28), trim)
    b.box((0.1, 0, top), (0.6, length + 0.1, 0.35), trim)
    b.box((0.05, 0, 0.25), (0.14, length, 0.5), Material('concrete', (0.8, 0.8, 0.8)), solid=False)
    if rng.random() < 0.5:
        b.prism(
            [(-depth, top), (0.3, top), (-depth / 2, top + rng.uniform(1.5, 3.0))],
            (-half, half),
            Material('roof'),
            plain,
            solid=False,
        )
    if shops:
        for y in np.arange(-half + 2.2, half - 1.5, 4.275):
            if rng.random() < 0.55:
                shade = Material('fabric', triple(rng.uniform(0.05, 0.7, 3)))
                corners = np.array([[x, y + sy * 1.7, z] for x0, x1, z0, z1 in [(0.1, 1.2, 2.75, 2.35)] for up in (0, 0.1)
                                    for sy in (-1, 1) for x, z in ((x0, z0 + up), (x1, z1 + up))])
                b.hexahedron(corners, shade)
    else:
        door = rng.uniform(-half * 0.6, half * 0.6)
        b.box((0.08, door, 1.1), (0.12, 1.1, 2.2), Material('planks', triple(rng.uniform(0.4, 1.2, 3))), solid=False)
        b.box((0.3, door, 0.1), (0.8, 1.6, 0.2), Material('concrete'))
        b.box((0.45, door, 2.5), (0.9, 1.7, 0.12), trim)
        for k in range(storeys):
            for y in np.arange(-half + 1.6, half - 1, 3.2):
                if rng.random() < 0.18:
                    z = ground + 3.2 * k + 0.6
                    b.box((0.55, y, z), (1.1, 2.2, 0.14), Material('concrete'))
                    b.box((1.05, y, z + 0.5), (0.06, 2.2, 0.95), Material('steel', (0.5, 0.5, 0.5)))
    for _ in range(rng.integers(0, 3)):
        y = rng.uniform(-half + 0.5, half - 0.5)
        b.cylinder((0.18, y, 0), (0.18, y, top), (0.06, 0.06), DARK, 6)
    return b.build()


def hall(rng: np.random.Generator, length: float, depth: float) -> Mesh:
    """Workshop or store with a corrugated front, gates and a band of windows."""
    b = MeshBuilder(15)
    top = rng.uniform(5.0, 7.5)
    tint = triple(rng.uniform(0.45, 0.9) * np.array([1, 1, 1]) + rng.uniform(-0.08, 0.08, 3))
    b.box(
        (-depth / 2, 0, top / 2),
        (depth, length, top),
        Material('corrugated', tint),
        {'bottom': None, 'top': Material('concrete')},
        solid=False,
    )
    b.box((0.05, 0, 0.5), (0.12, length, 1.0), Material('brick_wall'), solid=False)
    b.box((0.04, 0, top - 1.2), (0.10, length * 0.9, 0.9), GLASS, solid=False)
    for y in np.arange(-length / 2 + 3, length / 2 - 2, rng.uniform(5.5, 8)):
        b.box((0.08, y, 1.9), (0.14, 3.4, 3.8), Material('panel', triple(rng.uniform(0.2, 0.8, 3))), solid=False)
    b.box((0.1, 0, top), (0.4, length, 0.3), DARK)
    return b.build()


def wall(rng: np.random.Generator, length: float) -> Mesh:
    """Garden wall along y, brick or rendered, with piers."""
    b = MeshBuilder(15)
    height = rng.uniform(1.7, 2.6)
    skin = Material('brick_wall') if rng.random() < 0.6 else Material('plaster', triple(rng.uniform(0.5, 0.9, 3)))
    b.box((0, 0, height / 2), (0.30, length, height), skin)
    b.box((0, 0, height + 0.06), (0.44, length, 0.12), Material('concrete'))
    for y in np.arange(-length / 2 + 0.2, length / 2, 3.5):
        b.box((0, y, (height + 0.25) / 2), (0.48, 0.48, height + 0.25), skin)
    return b.build()


def fence(rng: np.random.Generator, length: float) -> Mesh:
    """Wooden fence along y: boards between posts."""
    b = MeshBuilder(15)
    height = rng.uniform(1.5, 2.1)
    wood = Material('planks', triple(rng.uniform(0.7, 1.3) * np.array([1.0, 0.95, 0.9])))
    b.box((0, 0, height / 2 + 0.08), (0.08, length, height - 0.1), wood)
    for y in np.arange(-length / 2, length / 2 + 0.1, 2.0):
        b.box((0.06, y, height / 2 + 0.06), (0.12, 0.12, height + 0.12), wood)
    return b.build()

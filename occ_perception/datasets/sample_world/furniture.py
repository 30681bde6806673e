"""Models that stand by the road: barriers, cones, class 'others', plants, and manmade street furniture; origin on the ground."""

from __future__ import annotations

import numpy as np

from occ_perception.datasets.sample_world.mesh import Material, Mesh, MeshBuilder, triple
from occ_perception.datasets.sample_world.vehicles import DARK, GLASS, TYRE

POLE = Material('steel', (0.45, 0.47, 0.47))


def barrier(rng: np.random.Generator, kind: str) -> Mesh:
    """One element, 2.4 m along y: 'jersey' (concrete), 'plastic' (red or white, water filled) or 'fence' (red-white boards)."""
    b = MeshBuilder(1)
    if kind == 'fence':
        for z in (0.95, 0.50):
            b.box((0, 0, z), (0.08, 2.4, 0.30), Material('red_white'))
        for y in (-1.0, 1.0):
            b.box((0, y, 0.55), (0.10, 0.10, 1.1), DARK)
            b.box((0, y, 0.06), (0.75, 0.30, 0.12), DARK)
        return b.build()
    if kind == 'plastic':
        skin = Material('paint', (0.68, 0.05, 0.03) if rng.random() < 0.5 else (0.82, 0.82, 0.80))
    else:
        skin = Material('concrete', (1.25, 1.22, 1.15))
    for x0, x1, z0, z1 in ((0.30, 0.30, 0, 0.12), (0.30, 0.16, 0.12, 0.40), (0.16, 0.10, 0.40, 0.95)):
        b.tapered((-x0, x0, -1.18, 1.18), (-x1, x1, -1.18, 1.18), (z0, z1), skin)
    if kind == 'jersey':
        for side in (-1, 1):
            b.box((side * 0.135, 0, 0.70), (0.03, 2.2, 0.14), Material('hazard'), solid=False)
    return b.build()


def cone(rng: np.random.Generator) -> Mesh:
    """Orange traffic cone with two white sleeves on a square foot."""
    b = MeshBuilder(8)
    h = rng.uniform(0.78, 1.05)
    orange, white = Material('paint', (0.88, 0.17, 0.01), 0.05), Material('paint', (0.9, 0.9, 0.9))
    b.box((0, 0, 0.03), (0.44, 0.44, 0.06), Material('paint', (0.80, 0.14, 0.01)))
    z, radius = [0.05, 0.32, 0.50, 0.64, 0.80, 1.0], [0.19, 0.145, 0.115, 0.09, 0.065, 0.03]
    for i in range(5):
        b.cylinder((0, 0, z[i] * h), (0, 0, z[i + 1] * h), (radius[i], radius[i + 1]), white if i in (1, 3) else orange, 10)
    return b.build()


def other(rng: np.random.Generator, kind: str) -> Mesh:
    """Class 'others': 'bin', 'bags', 'dog', 'stroller', 'cart' or 'boxes'."""
    b = MeshBuilder(0)
    if kind == 'bin':
        colour = ((0.03, 0.20, 0.06), (0.03, 0.08, 0.30), (0.05, 0.05, 0.05), (0.35, 0.22, 0.02))[rng.integers(4)]
        body, lid = Material('paint', colour), Material('paint', triple(min(1.0, 1.7 * c + 0.02) for c in colour))
        b.tapered((-0.26, 0.26, -0.24, 0.24), (-0.36, 0.36, -0.30, 0.30), (0.08, 0.98), body)
        b.tapered((-0.40, 0.40, -0.33, 0.33), (-0.34, 0.30, -0.27, 0.27), (0.98, 1.10), lid)
        b.cylinder((-0.27, -0.3, 0.12), (-0.27, 0.3, 0.12), (0.12, 0.12), TYRE, 8)
    elif kind == 'bags':
        for _ in range(rng.integers(3, 6)):
            x, y = rng.uniform(-0.45, 0.45, 2)
            r = rng.uniform(0.26, 0.38)
            black = rng.random() < 0.6
            b.ellipsoid(
                (x, y, r * 0.85),
                (r, r, r * 0.95),
                Material('bag', (0.05, 0.05, 0.06) if black else (0.75, 0.75, 0.72)),
                1,
                0.12,
                rng,
            )
    elif kind == 'dog':
        fur = Material('fur', ((0.35, 0.22, 0.10), (0.05, 0.04, 0.04), (0.7, 0.62, 0.5))[rng.integers(3)])
        b.ellipsoid((0, 0, 0.52), (0.42, 0.17, 0.20), fur, 1)
        b.ellipsoid((0.48, 0, 0.74), (0.20, 0.11, 0.13), fur, 1)
        b.cylinder((0.28, 0, 0.58), (0.44, 0, 0.72), (0.13, 0.09), fur, 7)
        b.cylinder((-0.38, 0, 0.60), (-0.66, 0, 0.78), (0.05, 0.02), fur, 6)
        for x in (-0.28, 0.28):
            for y in (-0.10, 0.10):
                b.cylinder((x, y, 0.48), (x, y, 0), (0.065, 0.045), fur, 6)
    elif kind == 'stroller':
        cloth = Material('fabric', ((0.55, 0.05, 0.08), (0.05, 0.10, 0.35), (0.06, 0.06, 0.07))[rng.integers(3)])
        b.prism([(-0.40, 0.50), (0.40, 0.45), (0.45, 0.66), (-0.1, 0.80), (-0.45, 0.75)], (-0.24, 0.24), cloth)
        b.ellipsoid((-0.22, 0, 0.86), (0.30, 0.26, 0.26), cloth, 1)
        for side in (-1, 1):
            b.beam((-0.35, side * 0.2, 0.6), (-0.75, side * 0.2, 1.05), (0.04, 0.04), POLE)
            for x in (-0.38, 0.38):
                b.cylinder((x, side * 0.25, 0.14), (x, side * 0.29, 0.14), (0.14, 0.14), TYRE, 10)
                b.beam((x, side * 0.25, 0.14), (0, side * 0.22, 0.55), (0.035, 0.035), POLE)
        b.beam((-0.75, -0.2, 1.05), (-0.75, 0.2, 1.05), (0.04, 0.04), DARK)
    elif kind == 'cart':
        b.box((0, 0, 0.32), (1.2, 0.7, 0.08), Material('planks'))
        for x, y, s in ((-0.28, 0.05, 0.55), (0.28, -0.02, 0.48)):
            b.box((x, y, 0.36 + s / 2), (s, s + 0.08, s), Material('cardboard'), yaw=float(rng.uniform(-0.2, 0.2)))
        for x in (-0.42, 0.42):
            b.cylinder((x, -0.36, 0.15), (x, 0.36, 0.15), (0.15, 0.15), TYRE, 10)
        b.beam((-0.6, -0.25, 0.3), (-0.72, -0.25, 1.05), (0.05, 0.05), POLE)
        b.beam((-0.6, 0.25, 0.3), (-0.72, 0.25, 1.05), (0.05, 0.05), POLE)
        b.beam((-0.72, -0.25, 1.05), (-0.72, 0.25, 1.05), (0.05, 0.05), POLE)
    else:
        for x, y, z, s in ((-0.35, -0.1, 0, 0.6), (0.32, 0.12, 0, 0.5), (-0.25, 0.0, 0.6, 0.42), (0.1, -0.6, 0, 0.45)):
            b.box((x, y, z + s / 2), (s * 1.1, s, s), Material('cardboard'), yaw=float(rng.uniform(-0.5, 0.5)))
    return b.build()


OTHER_KINDS = ('bin', 'bags', 'dog', 'stroller', 'cart', 'boxes')


def tree(rng: np.random.Generator, leaves: str) -> Mesh:
    """Broad-leaved tree, or a conifer when leaves is 'needles'."""
    b = MeshBuilder(16)
    height = rng.uniform(5.0, 8.0)
    tint = triple(rng.uniform(0.75, 1.2, 3) * np.array([1, 1, 0.9]))
    foliage = Material(leaves, tint)
    if leaves == 'needles':
        b.cylinder((0, 0, 0), (0, 0, height * 0.5), (0.16, 0.10), Material('bark'), 7)
        for i in range(4):
            z = 0.9 + i * height * 0.2
            r = (1.75 - 0.36 * i) * rng.uniform(0.9, 1.1)
            b.cylinder((0, 0, z), (0, 0, z + height * 0.36), (r, 0.05), foliage, 11)
        return b.build()
    trunk = rng.uniform(1.9, 2.6)
    b.cylinder(
        (0, 0, 0), (rng.normal(0, 0.1), rng.normal(0, 0.1), trunk + 0.8), (rng.uniform(0.15, 0.24), 0.10), Material('bark'), 8
    )
    spread = rng.uniform(1.2, 1.7)
    b.ellipsoid((0, 0, trunk + spread * 0.95), (spread, spread, spread), foliage, 2, 0.10, rng)
    for _ in range(rng.integers(3, 6)):
        angle, out = rng.uniform(0, 6.28), rng.uniform(0.5, 0.9) * spread
        r = rng.uniform(0.55, 0.8) * spread
        b.ellipsoid((out * np.cos(angle), out * np.sin(angle), trunk + rng.uniform(0.6, 1.6) * spread), (r, r, r * 0.9),
                    Material(leaves, triple(np.array(tint) * rng.uniform(0.8, 1.15))), 1, 0.12, rng)
    return b.build()


def bush(rng: np.random.Generator, leaves: str) -> Mesh:
    """Round bush, 0.7 to 1.6 m."""
    b = MeshBuilder(16)
    for _ in range(rng.integers(2, 4)):
        r = rng.uniform(0.45, 0.8)
        x, y = rng.uniform(-0.5, 0.5, 2)
        b.ellipsoid(
            (x, y, r * 0.75), (r, r, r * rng.uniform(0.8, 1.05)), Material(leaves, triple(rng.uniform(0.8, 1.2, 3))), 1, 0.13, rng
        )
    return b.build()


def hedge(rng: np.random.Generator, length: float, leaves: str) -> Mesh:
    """Trimmed hedge along y."""
    b = MeshBuilder(16)
    height, half = rng.uniform(0.9, 1.6), rng.uniform(0.35, 0.5)
    foliage = Material(leaves, triple(rng.uniform(0.8, 1.15, 3)))
    steps = max(int(length / 0.8), 2)
    ys = np.linspace(-length / 2, length / 2, steps + 1)
    x = half + rng.normal(0, 0.05, (2, steps + 1))
    z = height + rng.normal(0, 0.05, steps + 1)
    for i in range(steps):
        corners = np.array([[sign * x[0 if sign < 0 else 1, i + k] * (0.85 if top else 1), ys[i + k], z[i + k] if top else 0]
                            for top in (0, 1) for k in (0, 1) for sign in (-1, 1)])
        b.hexahedron(corners, foliage)
    return b.build()


def lamp_post(rng: np.random.Generator) -> Mesh:
    """Street light, its arm towards +x."""
    b = MeshBuilder(15)
    h = rng.uniform(6.0, 8.0)
    b.cylinder((0, 0, 0), (0, 0, 1.0), (0.16, 0.14), POLE, 8)
    b.cylinder((0, 0, 1.0), (0, 0, h), (0.11, 0.08), POLE, 8)
    b.beam((0, 0, h - 0.1), (1.8, 0, h + 0.15), (0.08, 0.08), POLE)
    b.box((1.9, 0, h + 0.12), (0.7, 0.3, 0.12), Material('lamp', (0.9, 0.85, 0.7), 0.3))
    return b.build()


def sign(rng: np.random.Generator) -> Mesh:
    """Traffic sign on a post, facing -x."""
    b = MeshBuilder(15)
    b.cylinder((0, 0, 0), (0, 0, 2.9), (0.06, 0.06), POLE, 7)
    colour = ((0.70, 0.03, 0.03), (0.03, 0.12, 0.55), (0.80, 0.60, 0.05), (0.05, 0.30, 0.12))[rng.integers(4)]
    face = Material('paint', colour, 0.03)
    if rng.random() < 0.5:
        b.cylinder((-0.04, 0, 2.5), (-0.07, 0, 2.5), (0.36, 0.36), face, 14, face)
        b.cylinder((-0.07, 0, 2.5), (-0.08, 0, 2.5), (0.25, 0.25), Material('paint', (0.85, 0.85, 0.85)), 14)
    else:
        b.box((-0.06, 0, 2.45), (0.03, 0.9, 0.6), face)
        b.box((-0.08, 0, 2.45), (0.02, 0.6, 0.12), Material('paint', (0.85, 0.85, 0.85)))
    return b.build()


def traffic_light(rng: np.random.Generator) -> Mesh:
    """Signal on a post, facing -x."""
    b = MeshBuilder(15)
    b.cylinder((0, 0, 0), (0, 0, 3.6), (0.09, 0.07), POLE, 8)
    b.box((-0.15, 0, 3.1), (0.25, 0.32, 0.95), DARK)
    lit = rng.integers(3)
    for i, colour in enumerate(((0.9, 0.05, 0.03), (0.9, 0.5, 0.03), (0.05, 0.8, 0.2))):
        lamp = Material('lamp', colour if i == lit else triple(0.12 * c for c in colour), 0.8 if i == lit else 0.0)
        b.cylinder((-0.27, 0, 3.42 - 0.3 * i), (-0.31, 0, 3.42 - 0.3 * i), (0.11, 0.11), lamp, 10)
    return b.build()


def shelter(rng: np.random.Generator) -> Mesh:
    """Bus shelter, 4 m along y, open towards +x."""
    b = MeshBuilder(15)
    for y in (-2.0, -0.7, 0.7, 2.0):
        b.beam((-0.6, y, 0), (-0.6, y, 2.4), (0.09, 0.09), DARK)
    for y in (-1.9, 1.9):
        b.beam((0.6, y, 0), (0.6, y, 2.4), (0.09, 0.09), DARK)
    b.box((0, 0, 2.48), (1.6, 4.4, 0.14), Material('paint', triple(rng.uniform(0.05, 0.5, 3))))
    b.box((-0.6, 0, 1.25), (0.05, 3.9, 1.9), GLASS)
    b.box((-0.3, -0.4, 0.5), (0.45, 2.4, 0.08), Material('planks'))
    b.box((-0.3, -0.4, 0.25), (0.10, 2.0, 0.5), DARK)
    b.box((0.0, 2.0, 1.3), (1.1, 0.12, 1.9), Material('lettering', (0.9, 0.8, 0.6), 0.1))
    return b.build()


def kiosk(rng: np.random.Generator) -> Mesh:
    """Advertising column."""
    b = MeshBuilder(15)
    r = rng.uniform(0.5, 0.7)
    b.cylinder((0, 0, 0), (0, 0, 0.4), (r + 0.08, r + 0.05), Material('concrete'), 14)
    b.cylinder((0, 0, 0.4), (0, 0, 2.8), (r, r), Material('lettering', triple(rng.uniform(0.4, 1.0, 3))), 14)
    b.cylinder((0, 0, 2.8), (0, 0, 3.3), (r + 0.1, 0.1), Material('roof'), 14)
    return b.build()

"""Models of pedestrians, bicycles and motorcycles (some with riders): x forward, y left, origin on the ground below the centre."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from occ_perception.datasets.sample_world.mesh import Material, Mesh, MeshBuilder
from occ_perception.datasets.sample_world.vehicles import CHROME, DARK, GLASS, HEADLAMP, TAILLAMP, TYRE

SKINS = ((0.52, 0.33, 0.24), (0.42, 0.25, 0.16), (0.22, 0.12, 0.07), (0.58, 0.40, 0.30))
SHIRTS = ((0.65, 0.06, 0.05), (0.05, 0.12, 0.45), (0.75, 0.75, 0.72), (0.04, 0.04, 0.05), (0.72, 0.52, 0.06), (0.06, 0.32, 0.16),
          (0.55, 0.22, 0.42), (0.70, 0.30, 0.05), (0.25, 0.40, 0.55))
TROUSERS = ((0.04, 0.05, 0.12), (0.03, 0.03, 0.03), (0.16, 0.12, 0.08), (0.12, 0.13, 0.15), (0.30, 0.27, 0.20))


def _pick(rng: np.random.Generator, texture: str, colours: tuple[tuple[float, float, float], ...]) -> Material:
    r, g, b = np.clip(np.array(colours[rng.integers(len(colours))]) * rng.uniform(0.8, 1.2, 3), 0, 1)
    return Material(texture, (float(r), float(g), float(b)))


def _head(b: MeshBuilder, rng: np.random.Generator, x: float, z: float, skin: Material, helmet: Material | None = None) -> None:
    b.ellipsoid((x, 0, z), (0.105, 0.09, 0.135), skin, 1)
    if helmet is not None:
        b.ellipsoid((x - 0.01, 0, z + 0.045), (0.145, 0.13, 0.13), helmet, 1)
    else:
        hair = _pick(rng, 'fur', ((0.03, 0.02, 0.02), (0.12, 0.06, 0.03), (0.35, 0.25, 0.10), (0.3, 0.3, 0.3)))
        b.ellipsoid((x - 0.025, 0, z + 0.045), (0.11, 0.105, 0.115), hair, 1)


def _limb(b: MeshBuilder, points: list[tuple[float, float, float]], radii: list[float], material: Material) -> None:
    for (p, q), (r0, r1) in zip(pairwise(points), pairwise(radii), strict=True):
        b.cylinder(p, q, (r0, r1), material, 7)


def pedestrian(rng: np.random.Generator, walking: bool = False) -> Mesh:
    """Adult or child, standing or in mid stride, some with a bag."""
    b = MeshBuilder(7)
    s = rng.uniform(1.55, 1.90) / 1.75 if rng.random() < 0.88 else rng.uniform(1.1, 1.4) / 1.75
    skin, shirt, trousers = _pick(rng, 'skin', SKINS), _pick(rng, 'fabric', SHIRTS), _pick(rng, 'fabric', TROUSERS)
    stride = rng.uniform(0.20, 0.32) if walking else rng.uniform(0, 0.06)
    wide = rng.uniform(0.92, 1.12)
    for side in (-1, 1):
        foot = side * stride
        _limb(
            b,
            [(0, side * 0.10 * s, 0.90 * s), (foot * 0.55 + 0.05, side * 0.11 * s, 0.48 * s), (foot, side * 0.11 * s, 0.07 * s)],
            [0.105 * s, 0.08 * s, 0.055 * s],
            trousers,
        )
        b.box((foot + 0.05, side * 0.11 * s, 0.045), (0.27 * s, 0.10 * s, 0.09), DARK)
        swing = -side * stride * 0.9
        _limb(b, [(0, side * 0.21 * s * wide, 1.42 * s), (swing * 0.4 - 0.03, side * 0.26 * s * wide, 1.13 * s),
                  (swing + 0.06, side * 0.24 * s * wide, 0.90 * s)], [0.065 * s, 0.055 * s, 0.04 * s], shirt)
        b.ellipsoid((swing + 0.07, side * 0.24 * s * wide, 0.84 * s), (0.05, 0.04, 0.07), skin, 0)
    hips, chest, neck = 0.15 * s * wide, 0.21 * s * wide, 0.10 * s
    coat = 0.62 if rng.random() < 0.25 else 0.86
    b.tapered(
        (-0.12 * s, 0.12 * s, -hips, hips),
        (-0.11 * s, 0.11 * s, -hips, hips),
        (coat * s, 1.08 * s),
        shirt if coat < 0.8 else trousers,
    )
    b.tapered((-0.11 * s, 0.11 * s, -hips, hips), (-0.12 * s, 0.12 * s, -chest, chest), (1.05 * s, 1.36 * s), shirt)
    b.tapered((-0.12 * s, 0.12 * s, -chest, chest), (-0.06 * s, 0.06 * s, -neck, neck), (1.36 * s, 1.48 * s), shirt)
    b.cylinder((0, 0, 1.44 * s), (0, 0, 1.56 * s), (0.055 * s, 0.055 * s), skin, 7)
    _head(b, rng, 0.015, 1.62 * s, skin)
    if rng.random() < 0.3:
        b.box((-0.19 * s, 0, 1.2 * s), (0.16 * s, 0.3 * s, 0.42 * s), _pick(rng, 'fabric', SHIRTS))
    return b.build()


def _rider(
    b: MeshBuilder,
    rng: np.random.Generator,
    seat: tuple[float, float],
    bars: tuple[float, float],
    pedal: tuple[float, float],
    lean: float,
) -> None:
    skin, shirt, trousers = _pick(rng, 'skin', SKINS), _pick(rng, 'fabric', SHIRTS), _pick(rng, 'fabric', TROUSERS)
    (sx, sz), (bx, bz), (px, pz) = seat, bars, pedal
    shoulder = (sx + lean, sz + 0.50)
    b.beam((sx, 0, sz - 0.02), (shoulder[0], 0, shoulder[1]), (0.36, 0.22), shirt)
    for side in (-1, 1):
        _limb(
            b,
            [(sx, side * 0.12, sz), (sx + 0.38, side * 0.14, (sz + pz) / 2 + 0.16), (px, side * 0.13, pz + 0.04)],
            [0.10, 0.08, 0.055],
            trousers,
        )
        _limb(b, [(shoulder[0], side * 0.20, shoulder[1] - 0.05), (bx, side * 0.26, bz + 0.03)], [0.06, 0.045], shirt)
        b.box((px + 0.05, side * 0.13, pz), (0.26, 0.10, 0.09), DARK)
    _head(b, rng, shoulder[0] + 0.06, shoulder[1] + 0.20, skin, _pick(rng, 'paint', SHIRTS))


def bicycle(rng: np.random.Generator, rider: bool = False) -> Mesh:
    """City bicycle with two spoked wheels, mudguards and a basket or rack; the rider counts as part of it, as on nuScenes."""
    b = MeshBuilder(2)
    frame = _pick(
        rng,
        'paint',
        ((0.6, 0.04, 0.04), (0.04, 0.18, 0.5), (0.05, 0.4, 0.2), (0.75, 0.75, 0.75), (0.7, 0.5, 0.03), (0.3, 0.5, 0.55)),
    )
    r, base = 0.34, 0.54
    for x in (-base, base):
        b.ring((x, 0, r), (r, r - 0.055), 0.05, TYRE, 14)
        b.ring((x, 0, r), (r - 0.05, r - 0.075), 0.03, CHROME, 14)
        for angle in np.arange(0, np.pi, np.pi / 4):
            dx, dz = (r - 0.06) * np.cos(angle), (r - 0.06) * np.sin(angle)
            b.beam((x - dx, 0, r - dz), (x + dx, 0, r + dz), (0.012, 0.012), CHROME)
    crank, seat, head, fork = (-0.08, 0, 0.30), (-0.25, 0, 0.88), (0.36, 0, 0.86), (0.45, 0, 0.62)
    for p, q in (
        (crank, seat),
        (crank, fork),
        (seat, fork),
        (seat, (-base, 0, r)),
        (crank, (-base, 0, r)),
        (fork, (base, 0, r)),
        (fork, head),
    ):
        b.beam(p, q, (0.055, 0.055), frame)
    b.box((-0.27, 0, 0.93), (0.26, 0.15, 0.08), DARK)
    b.beam((0.36, -0.28, 1.02), (0.36, 0.28, 1.02), (0.04, 0.04), DARK)
    b.beam(head, (0.36, 0, 1.02), (0.04, 0.04), CHROME)
    b.box((-base, 0, 0.74), (0.42, 0.14, 0.03), CHROME)
    b.beam((-base, 0, 0.73), (-base - 0.02, 0, r), (0.1, 0.03), CHROME)
    for side in (-1, 1):
        b.box((crank[0] + side * 0.12, side * 0.12, 0.30 - side * 0.10), (0.10, 0.10, 0.03), DARK)
    if rng.random() < 0.5:
        b.box((0.60, 0, 0.90), (0.30, 0.32, 0.22), Material('planks'))
    b.box((-base - 0.17, 0, 0.66), (0.03, 0.07, 0.07), TAILLAMP)
    if rider:
        _rider(b, rng, (-0.25, 0.95), (0.36, 1.02), (-0.02, 0.26), 0.28)
    return b.build()


def motorcycle(rng: np.random.Generator, rider: bool = False) -> Mesh:
    """Motorcycle or scooter; the rider counts as part of it, as on nuScenes."""
    b = MeshBuilder(6)
    paint = _pick(
        rng,
        'paint',
        ((0.6, 0.03, 0.03), (0.03, 0.03, 0.035), (0.04, 0.12, 0.45), (0.7, 0.7, 0.7), (0.65, 0.35, 0.02), (0.1, 0.35, 0.1)),
    )
    scooter = rng.random() < 0.4
    r, base = (0.26, 0.62) if scooter else (0.32, 0.72)
    for x in (-base, base):
        b.cylinder((x, -0.07, r), (x, 0.07, r), (r, r), TYRE, 14, TYRE)
        b.cylinder((x, -0.085, r), (x, 0.085, r), (r * 0.62, r * 0.62), CHROME, 10, CHROME)
        b.box((x, 0, 2 * r + 0.01), (0.46, 0.20, 0.05), paint)
    if scooter:
        b.prism([(-0.95, 0.55), (-0.75, 0.28), (-0.15, 0.28), (-0.05, 0.66), (-0.2, 0.80), (-0.85, 0.80)], (-0.22, 0.22), paint)
        b.box((0.15, 0, 0.30), (0.55, 0.36, 0.12), DARK)
        b.beam((0.42, 0, 0.30), (0.62, 0, 1.02), (0.42, 0.10), paint)
        b.box((-0.45, 0, 0.85), (0.75, 0.30, 0.12), DARK)
        b.box((-0.85, 0, 1.05), (0.38, 0.40, 0.34), DARK)
        bars, seat = (0.58, 1.08), (-0.35, 0.92)
    else:
        b.box((0.05, 0, 0.50), (0.62, 0.36, 0.42), Material('steel', (0.35, 0.35, 0.36)))
        b.ellipsoid((0.18, 0, 0.86), (0.34, 0.20, 0.17), paint, 1)
        b.tapered((-0.75, -0.05, -0.17, 0.17), (-0.85, 0.0, -0.15, 0.15), (0.72, 0.86), DARK)
        b.prism([(-0.98, 0.78), (-0.3, 0.62), (-0.25, 0.76), (-0.95, 0.92)], (-0.14, 0.14), paint)
        for side in (-1, 1):
            b.beam((base, side * 0.10, r), (0.46, side * 0.10, 0.98), (0.06, 0.06), CHROME)
            b.cylinder((-0.1, side * 0.20, 0.34), (-0.85, side * 0.22, 0.42), (0.05, 0.07), CHROME, 8)
            b.beam((-base, side * 0.12, r), (-0.15, side * 0.12, 0.42), (0.05, 0.08), DARK)
        b.prism([(0.45, 0.80), (0.75, 0.85), (0.62, 1.15), (0.48, 1.10)], (-0.17, 0.17), paint)
        b.box((0.58, 0, 1.20), (0.05, 0.26, 0.20), GLASS)
        bars, seat = (0.42, 1.06), (-0.35, 0.86)
    b.beam((bars[0], -0.36, bars[1]), (bars[0], 0.36, bars[1]), (0.05, 0.05), DARK)
    b.cylinder((bars[0] + 0.12, 0, bars[1] - 0.12), (bars[0] + 0.26, 0, bars[1] - 0.12), (0.09, 0.09), DARK, 8, HEADLAMP)
    b.box((-base - 0.28, 0, 0.72), (0.05, 0.16, 0.09), TAILLAMP)
    for side in (-1, 1):
        b.box((bars[0] - 0.03, side * 0.34, bars[1] + 0.14), (0.03, 0.14, 0.09), DARK)
        b.beam((bars[0], side * 0.28, bars[1]), (bars[0] - 0.03, side * 0.33, bars[1] + 0.12), (0.02, 0.02), DARK)
    if rider:
        _rider(b, rng, seat, bars, (0.10, 0.30), 0.14)
    return b.build()

"""Models of cars, trucks, buses, trailers and construction vehicles: x forward, y left, origin on the ground below the centre."""

from __future__ import annotations

import numpy as np

from occ_perception.datasets.sample_world.mesh import Material, Mesh, MeshBuilder, triple

GLASS = Material('glass', (1.0, 1.05, 1.1))
TYRE = Material('rubber')
HUB = Material('steel', (0.8, 0.8, 0.82))
DARK = Material('paint', (0.035, 0.035, 0.04))
CHROME = Material('steel', (1.1, 1.1, 1.1))
HEADLAMP = Material('lamp', (0.9, 0.9, 0.85), 0.35)
TAILLAMP = Material('lamp', (0.55, 0.02, 0.02), 0.10)
AMBER = Material('lamp', (0.9, 0.42, 0.03), 0.30)
PLATE = Material('paint', (0.75, 0.72, 0.55))

CAR_COLOURS = ((0.75, 0.75, 0.75), (0.55, 0.56, 0.58), (0.04, 0.04, 0.045), (0.14, 0.15, 0.16), (0.45, 0.03, 0.03),
               (0.04, 0.09, 0.30), (0.10, 0.22, 0.38), (0.05, 0.16, 0.09), (0.48, 0.44, 0.34), (0.80, 0.80, 0.78))


def _colour(rng: np.random.Generator, colours: tuple[tuple[float, float, float], ...]) -> tuple[float, float, float]:
    r, g, b = np.clip(np.array(colours[rng.integers(len(colours))]) * rng.uniform(0.85, 1.15, 3), 0, 1)
    return float(r), float(g), float(b)


def _wheels(b: MeshBuilder, xs: tuple[float, ...], y: float, radius: float, width: float, segments: int = 12) -> None:
    for x in xs:
        for side in (-1, 1):
            b.cylinder((x, side * (y - width), radius), (x, side * y, radius), (radius, radius), TYRE, segments, TYRE)
            b.cylinder((x, side * (y - 0.02), radius), (x, side * (y + 0.015), radius), (radius * 0.6, radius * 0.55), HUB, 8, HUB,
                       solid=False)


def car(rng: np.random.Generator) -> Mesh:
    """Saloon, hatchback, estate, sport utility or van."""
    b = MeshBuilder(4)
    kind = rng.choice(['saloon', 'hatch', 'estate', 'suv', 'van'], p=[0.3, 0.22, 0.15, 0.23, 0.10])
    length = {'saloon': 4.7, 'hatch': 4.1, 'estate': 4.7, 'suv': 4.6, 'van': 4.9}[kind] * rng.uniform(0.96, 1.05)
    height = {'saloon': 1.46, 'hatch': 1.50, 'estate': 1.50, 'suv': 1.72, 'van': 1.95}[kind] * rng.uniform(0.97, 1.04)
    w = rng.uniform(0.87, 0.96)
    front, back = length / 2, -length / 2
    paint = Material('paint', _colour(rng, CAR_COLOURS))
    clear = 0.20 if kind != 'suv' else 0.28
    waist = height * (0.60 if kind != 'van' else 0.55)
    nose = waist - (0.18 if kind != 'van' else 0.08)
    b.prism([(back + 0.05, clear), (front - 0.10, clear), (front, clear + 0.22), (front - 0.06, nose - 0.06),
             (front - 0.25, nose), (front - 1.15, waist), (back + 0.15, waist), (back, waist - 0.15), (back, clear + 0.2)],
            (-w, w), paint)
    hood = {'saloon': 1.25, 'hatch': 1.0, 'estate': 1.2, 'suv': 1.15, 'van': 0.75}[kind]
    boot = {'saloon': 0.75, 'hatch': 0.10, 'estate': 0.08, 'suv': 0.08, 'van': 0.05}[kind]
    rake, rear_rake = (0.75, 0.55 if kind == 'saloon' else 0.30) if kind != 'van' else (0.55, 0.12)
    b.tapered((back + boot, front - hood, -w + 0.05, w - 0.05), (back + boot + rear_rake, front - hood - rake, -w + 0.20, w - 0.20),
              (waist, height), GLASS, {'top': paint})
    b.box(((back + boot + rear_rake + front - hood - rake) / 2, 0, height + 0.005),
          (front - hood - rake - back - boot - rear_rake + 0.1, 2 * w - 0.36, 0.05), paint, solid=False)
    for x in (front - hood - rake - 0.02, (front + back) / 2 - 0.15, back + boot + rear_rake + 0.05):
        for side in (-1, 1):
            lean = 0.0 if abs(x - (front + back) / 2 + 0.15) < 0.01 else (0.60 if x > 0 else -rear_rake + 0.05)
            b.beam((x + lean, side * (w - 0.055), waist), (x, side * (w - 0.195), height), (0.05, 0.09), paint)
    _wheels(b, (front - 0.85, back + 0.80), w + 0.015, 0.33 if kind != 'suv' else 0.37, 0.22)
    for side in (-1, 1):
        b.box((front - 0.03, side * (w - 0.25), nose - 0.13), (0.10, 0.36, 0.13), HEADLAMP, solid=False)
        b.box((back + 0.02, side * (w - 0.2), waist - 0.18), (0.08, 0.30, 0.17), TAILLAMP, solid=False)
        b.box((front - hood - 0.35, side * (w + 0.08), waist + 0.06), (0.12, 0.18, 0.12), paint, solid=False)
        b.box((0.0, side * (w + 0.004), clear + 0.12), (length * 0.45, 0.02, 0.10), DARK, solid=False)
    b.box((front - 0.01, 0, nose - 0.22), (0.06, 0.9, 0.16), DARK, solid=False)
    b.box((back - 0.01, 0, waist - 0.32), (0.04, 0.5, 0.12), PLATE, solid=False)
    return b.build()


def _cab(b: MeshBuilder, back: float, front: float, width: float, height: float, paint: Material) -> None:
    w = width / 2
    b.tapered((back, front, -w, w), (back, front - 0.06, -w, w), (0.55, 1.55), paint)
    b.tapered((back, front - 0.06, -w, w), (back, front - 0.42, -w + 0.12, w - 0.12), (1.55, height), GLASS,
              {'back': paint, 'top': paint})
    b.box(((back + front) / 2 - 0.25, 0, height + 0.06), (front - back - 0.5, width - 0.3, 0.14), paint)
    b.box((front + 0.01, 0, 0.95), (0.05, width * 0.7, 0.45), DARK, solid=False)
    b.box((front + 0.01, 0, 0.55), (0.12, width, 0.22), CHROME)
    for side in (-1, 1):
        b.box((front + 0.03, side * (w - 0.25), 0.72), (0.08, 0.35, 0.18), HEADLAMP, solid=False)
        b.box((front - 0.25, side * (w + 0.16), 1.85), (0.10, 0.14, 0.45), DARK)
        b.beam((front - 0.55, side * w, 1.5), (front - 0.48, side * (w - 0.12), height), (0.06, 0.1), paint)
        b.beam((back + 0.06, side * w, 1.5), (back + 0.06, side * (w - 0.12), height), (0.06, 0.14), paint)


def truck(rng: np.random.Generator) -> Mesh:
    """Box lorry, tipper or flatbed with load."""
    b = MeshBuilder(10)
    length, width = rng.uniform(6.6, 8.6), rng.uniform(2.35, 2.55)
    height = rng.uniform(2.9, 3.5)
    front, back, w = length / 2, -length / 2, width / 2
    paint = Material(
        'paint', _colour(rng, ((0.75, 0.75, 0.75), (0.5, 0.04, 0.03), (0.05, 0.12, 0.4), (0.08, 0.25, 0.12), (0.6, 0.3, 0.05)))
    )
    cab_back = front - rng.uniform(1.75, 2.1)
    _cab(b, cab_back, front, width, 2.55, paint)
    b.box(((back + cab_back) / 2, 0, 0.78), (cab_back - back, 0.9, 0.28), DARK)
    kind = rng.choice(['box', 'box', 'tipper', 'flatbed'])
    deck = 1.0
    if kind == 'box':
        skin = Material('lettering' if rng.random() < 0.7 else 'panel', (0.95, 0.95, 0.95))
        b.box(((back + cab_back - 0.2) / 2, 0, (deck + height) / 2), (cab_back - back - 0.2, width, height - deck), skin)
        for side in (-1, 1):
            b.box(
                ((back + cab_back - 0.2) / 2, side * (w + 0.01), deck + 0.04),
                (cab_back - back - 0.2, 0.03, 0.10),
                CHROME,
                solid=False,
            )
            b.box((back - 0.01, side * w * 0.5, (deck + height) / 2), (0.03, 0.04, height - deck - 0.2), DARK, solid=False)
    elif kind == 'tipper':
        body = Material('paint', _colour(rng, ((0.6, 0.3, 0.03), (0.3, 0.3, 0.32), (0.1, 0.25, 0.4))))
        top = 2.25
        b.tapered((back + 0.15, cab_back - 0.25, -w + 0.1, w - 0.1), (back, cab_back - 0.2, -w, w), (deck, top), body)
        for x in np.linspace(back + 0.3, cab_back - 0.4, 6):
            for side in (-1, 1):
                b.box((x, side * (w + 0.01), (deck + top) / 2), (0.10, 0.10, top - deck), body, solid=False)
        b.ellipsoid(((back + cab_back) / 2, 0, top), ((cab_back - back) * 0.42, w * 0.85, 0.45), Material('soil'), 1, 0.08, rng)
    else:
        b.box(((back + cab_back - 0.2) / 2, 0, deck), (cab_back - back - 0.2, width, 0.2), Material('planks'))
        for side in (-1, 1):
            b.box(((back + cab_back - 0.2) / 2, side * (w - 0.03), deck + 0.35), (cab_back - back - 0.2, 0.06, 0.5), paint)
        x = back + 0.6
        while x < cab_back - 1.2:
            size = rng.uniform(0.7, 1.3)
            b.box((x + size / 2, rng.uniform(-0.2, 0.2), deck + 0.1 + size * 0.55), (size, rng.uniform(1.3, 2.0), size * 1.1),
                  Material(str(rng.choice(['cardboard', 'planks', 'concrete']))))
            x += size + 0.1
    _wheels(b, (front - 1.0, back + 1.1, back + 2.15) if length > 7.4 else (front - 1.0, back + 1.3), w + 0.025, 0.48, 0.30)
    for side in (-1, 1):
        b.box((back - 0.02, side * (w - 0.2), 0.85), (0.06, 0.3, 0.14), TAILLAMP, solid=False)
        b.box(((back + cab_back) / 2, side * (w - 0.05), 0.62), ((cab_back - back) * 0.35, 0.05, 0.35), CHROME, solid=False)
    return b.build()


def bus(rng: np.random.Generator) -> Mesh:
    """City bus: long window rows, doors on the right, lit destination sign."""
    b = MeshBuilder(3)
    length, width, height = rng.uniform(10.2, 12.2), 2.55, rng.uniform(3.05, 3.35)
    front, back, w = length / 2, -length / 2, width / 2
    lower = _colour(rng, ((0.55, 0.04, 0.04), (0.05, 0.16, 0.45), (0.05, 0.33, 0.14), (0.62, 0.33, 0.03), (0.35, 0.05, 0.30)))
    paint, upper = Material('paint', lower), Material('paint', (0.8, 0.8, 0.78) if rng.random() < 0.6 else lower)
    b.box((0, 0, 0.80), (length, width, 1.0), paint)
    b.box((0, 0, 1.85), (length, width - 0.02, 1.15), upper)
    b.tapered((back, front, -w, w), (back + 0.15, front - 0.15, -w + 0.15, w - 0.15), (2.42, height), upper)
    b.box((back + length * 0.3, 0, height + 0.10), (2.2, 1.5, 0.25), Material('paint', (0.7, 0.7, 0.7)))
    panes = int(length / 1.35)
    pitch = (length - 0.9) / panes
    for i in range(panes):
        x = back + 0.45 + (i + 0.5) * pitch
        for side in (-1, 1):
            b.box((x, side * (w + 0.005), 1.88), (pitch - 0.12, 0.03, 0.98), GLASS, solid=False)
    for x in (front - 1.0, front - length * 0.52):
        b.box((x, -w - 0.012, 1.25), (1.15, 0.03, 2.15), GLASS, solid=False)
        b.box((x, -w - 0.02, 1.25), (0.06, 0.03, 2.15), DARK, solid=False)
    b.box((front + 0.01, 0, 1.75), (0.04, width - 0.25, 1.45), GLASS, solid=False)
    b.box((front + 0.02, 0, 2.72), (0.05, 1.7, 0.32), Material('lamp', (0.9, 0.45, 0.02), 0.5), solid=False)
    b.box((front - 2.6, -w - 0.02, 2.62), (1.3, 0.03, 0.24), Material('lamp', (0.9, 0.45, 0.02), 0.5), solid=False)
    b.box((back - 0.01, 0, 2.05), (0.04, width - 0.5, 0.75), GLASS, solid=False)
    b.box((back - 0.01, 0, 0.95), (0.04, width - 0.7, 0.7), DARK, solid=False)
    for side in (-1, 1):
        b.box((front + 0.02, side * (w - 0.3), 0.65), (0.06, 0.4, 0.2), HEADLAMP, solid=False)
        b.box((back - 0.02, side * (w - 0.18), 1.1), (0.06, 0.2, 0.6), TAILLAMP, solid=False)
        b.box((front + 0.15, side * (w + 0.12), 2.15), (0.18, 0.16, 0.45), DARK)
        b.box((0, side * (w + 0.004), 0.95), (length - 0.1, 0.02, 0.12), Material('paint', (0.85, 0.85, 0.85)), solid=False)
    _wheels(b, (front - 2.6, back + 3.0), w + 0.01, 0.50, 0.32)
    return b.build()


def trailer(rng: np.random.Generator) -> Mesh:
    """Semi-trailer that stands on its legs or hangs on a truck: corrugated container, tank or curtain-sider."""
    b = MeshBuilder(9)
    length, width, height = rng.uniform(8.0, 10.5), 2.5, rng.uniform(3.5, 3.9)
    front, back, w = length / 2, -length / 2, width / 2
    deck = 1.25
    colour = _colour(rng, ((0.45, 0.10, 0.05), (0.06, 0.20, 0.42), (0.42, 0.24, 0.07), (0.12, 0.30, 0.24), (0.38, 0.38, 0.38)))
    b.box((0, 0, deck - 0.15), (length, 0.8, 0.3), DARK)
    if rng.random() < 0.72:
        skin = Material('corrugated', triple(min(1.0, 1.6 * c) for c in colour))
        b.box((0, 0, (deck + height) / 2), (length, width, height - deck), skin)
        post = Material('paint', triple(0.6 * c for c in colour))
        for x in (back + 0.06, front - 0.06):
            for side in (-1, 1):
                b.box((x, side * (w - 0.04), (deck + height) / 2), (0.16, 0.12, height - deck + 0.03), post, solid=False)
        for z in (deck + 0.06, height - 0.06):
            for side in (-1, 1):
                b.box((0, side * (w - 0.01), z), (length, 0.06, 0.14), post, solid=False)
        for y in (-0.7, -0.25, 0.25, 0.7):
            b.box((back - 0.03, y, (deck + height) / 2), (0.05, 0.05, height - deck - 0.1), CHROME, solid=False)
    else:
        b.cylinder(
            (back + 0.2, 0, deck + 1.05), (front - 0.2, 0, deck + 1.05), (1.12, 1.12), Material('steel', (1.2, 1.2, 1.22)), 14
        )
        for x in np.linspace(back + 0.8, front - 0.8, 4):
            b.cylinder((x - 0.06, 0, deck + 1.05), (x + 0.06, 0, deck + 1.05), (1.17, 1.17), Material('paint', colour), 14)
        b.box((0, 0, deck - 0.02), (length - 0.3, 1.6, 0.25), Material('paint', colour))
    _wheels(b, (back + 0.9, back + 2.1, back + 3.3), w + 0.02, 0.50, 0.36)
    for side in (-1, 1):
        b.beam((front - 2.0, side * 0.75, deck), (front - 2.0, side * 0.75, 0.1), (0.14, 0.14), DARK)
        b.box((front - 2.0, side * 0.75, 0.05), (0.35, 0.35, 0.1), DARK)
        b.box((back / 2 + front / 2 - 0.4, side * (w - 0.06), 0.75), (length * 0.36, 0.05, 0.6), Material('red_white'))
        b.box((back - 0.03, side * (w - 0.25), 1.05), (0.06, 0.35, 0.18), TAILLAMP, solid=False)
    b.box((back - 0.02, 0, 0.75), (0.10, width, 0.16), Material('red_white'))
    return b.build()


def construction_vehicle(rng: np.random.Generator, kind: str = '') -> Mesh:
    """'excavator', wheel 'loader' or road 'roller', in yellow or orange; any of them without a kind."""
    b = MeshBuilder(5)
    body = Material('paint', _colour(rng, ((0.80, 0.46, 0.02), (0.82, 0.52, 0.03), (0.78, 0.32, 0.02))))
    kind = kind or str(rng.choice(['excavator', 'excavator', 'loader', 'roller']))
    if kind == 'excavator':
        for side in (-1, 1):
            b.prism([(-1.8, 0.15), (-1.5, 0), (1.5, 0), (1.8, 0.15), (1.9, 0.5), (1.5, 0.9), (-1.5, 0.9), (-1.9, 0.5)],
                    (side * 1.4 - 0.28, side * 1.4 + 0.28), Material('rubber', (1.6, 1.5, 1.4)), DARK)
        b.box((0, 0, 0.95), (2.4, 2.2, 0.35), DARK)
        b.box((-0.75, 0, 1.65), (2.6, 2.7, 1.1), body)
        b.box((-1.7, 0, 1.6), (0.8, 2.75, 1.25), body)
        b.box((-2.11, 0, 1.45), (0.04, 2.5, 0.35), Material('hazard'), solid=False)
        b.tapered((0.0, 1.6, 0.35, 1.35), (0.05, 1.35, 0.42, 1.28), (1.1, 2.85), GLASS, {'top': body, 'bottom': body})
        for x, y in ((0.03, 0.37), (0.03, 1.33), (1.55, 0.37), (1.55, 1.33)):
            b.beam((x, y, 1.1), (x - (0.2 if x > 1 else -0.03), y, 2.85), (0.09, 0.09), body)
        b.box((0.7, 0.85, 2.9), (1.4, 1.0, 0.10), body)
        reach, lift = rng.uniform(2.9, 3.4), rng.uniform(3.2, 3.8)
        elbow = (reach, -0.35, lift)
        b.beam((0.6, -0.35, 1.5), elbow, (0.42, 0.55), body)
        tip = (reach + rng.uniform(0.7, 1.2), -0.35, rng.uniform(1.2, 1.8))
        b.beam(elbow, tip, (0.34, 0.42), body)
        b.beam((1.2, -0.35, 2.5), (reach * 0.75, -0.35, lift * 0.72), (0.14, 0.14), CHROME)
        x, _, z = tip
        b.prism(
            [(x - 0.5, z - 0.2), (x + 0.3, z), (x + 0.45, z - 0.5), (x - 0.1, z - 1.0), (x - 0.6, z - 0.8)], (-0.95, 0.25), DARK
        )
    elif kind == 'loader':
        _wheels(b, (1.35, -1.45), 1.30, 0.78, 0.55)
        b.box((-1.5, 0, 1.45), (2.2, 1.7, 0.95), body)
        b.box((0.9, 0, 1.0), (1.8, 1.0, 0.5), body)
        b.box((-2.62, 0, 1.35), (0.05, 1.5, 0.35), Material('hazard'), solid=False)
        b.tapered((-0.7, 0.7, -0.75, 0.75), (-0.6, 0.5, -0.65, 0.65), (1.6, 3.0), GLASS)
        b.box((-0.05, 0, 3.05), (1.4, 1.5, 0.14), body)
        for x, y in ((-0.66, 0.7), (-0.66, -0.7), (0.62, 0.7), (0.62, -0.7)):
            b.beam((x, y, 1.6), (x * 0.85, y * 0.9, 3.0), (0.10, 0.10), body)
        for side in (-1, 1):
            b.beam((0.6, side * 0.55, 1.7), (2.5, side * 0.55, 0.75), (0.22, 0.35), body)
        b.prism([(2.4, 0.15), (3.4, 0.1), (3.3, 0.3), (2.75, 1.15), (2.45, 1.1)], (-1.35, 1.35), DARK)
        b.cylinder((-1.8, 0.4, 1.9), (-1.8, 0.4, 2.6), (0.07, 0.07), DARK, 8)
    else:
        b.cylinder((1.7, -1.0, 0.72), (1.7, 1.0, 0.72), (0.72, 0.72), Material('steel', (0.8, 0.8, 0.8)), 16)
        _wheels(b, (-1.55,), 1.10, 0.72, 0.5)
        for side in (-1, 1):
            b.beam((0.5, side * 1.1, 1.05), (2.5, side * 1.1, 0.9), (0.14, 0.35), body)
        b.box((2.5, 0, 0.9), (0.16, 2.3, 0.35), body)
        b.box((-1.6, 0, 1.45), (2.0, 1.6, 0.8), body)
        b.box((-0.1, 0, 1.2), (1.4, 1.5, 0.55), body)
        b.tapered((-0.8, 0.75, -0.8, 0.8), (-0.7, 0.6, -0.72, 0.72), (1.45, 2.75), GLASS)
        b.box((-0.05, 0, 2.85), (1.7, 1.75, 0.16), body)
        b.box((-2.62, 0, 1.3), (0.05, 1.5, 0.5), Material('hazard'), solid=False)
    b.cylinder(
        (-0.1 if kind != 'excavator' else 0.7, 0, 2.95), (-0.1 if kind != 'excavator' else 0.7, 0, 3.2), (0.1, 0.08), AMBER, 8
    )
    return b.build()

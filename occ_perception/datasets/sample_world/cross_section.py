"""Cross section of a street: lanes both ways, median, cycle lanes, parking lanes, painted lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Section:
    """Places across the street, metres to the left of the centre line; side = 1 left, -1 right.

    ego_lane: centre of the ego vehicle's lane. lanes: (centre, direction) of each. median: width of the island between the
    directions. edge, bike, walk: by side, where the road ends, centre of the cycle lane, width of the sidewalk (as distances).
    lines: painted lines for textures.road_texture.
    """

    ego_lane: float
    lanes: tuple[tuple[float, int], ...]
    median: float
    edge: dict[int, float]
    bike: dict[int, float]
    walk: dict[int, float]
    lines: list[tuple[float, float, float, str]]


def make_section(rng: np.random.Generator) -> Section:
    """Random cross section: one lane each way, sometimes two on one side."""
    lane, bike, park = rng.uniform(3.2, 3.5), rng.uniform(1.2, 1.45), rng.uniform(2.6, 2.8)
    median = rng.uniform(1.3, 2.0)
    side = int(rng.choice([1, -1, 0], p=[0.25, 0.25, 0.5]))
    extra = {k: int(side == k) for k in (1, -1)}
    lanes = []
    for k in (1, -1):
        lanes += [(k * (median / 2 + lane * (i + 0.5)), -k) for i in range(1 + extra[k])]
    inner = {k: median / 2 + lane * (1 + extra[k]) for k in (1, -1)}
    edge = {k: inner[k] + bike + park for k in (1, -1)}
    ego = -(median / 2 + lane * (0.5 if not extra[-1] or rng.random() < 0.5 else 1.5))
    colour = 'yellow' if rng.random() < 0.4 else 'white'
    dash, gap = rng.choice([2.0, 3.0]), rng.choice([3.0, 4.0, 5.0])
    repeat = 24.0 / max(round(24.0 / (dash + gap)), 1)
    marks = [(k * (median / 2 - 0.02), 0.0, 0.0, colour) for k in (1, -1)]
    for k in (1, -1):
        if extra[k]:
            marks.append((k * (median / 2 + lane), dash, repeat - dash, 'white'))
        marks.append((k * inner[k], 0.0, 0.0, 'white'))
        marks.append((k * (inner[k] + bike), 1.0, 1.0, 'white'))
    return Section(float(ego), tuple(lanes), float(median), edge, {k: inner[k] + bike / 2 for k in (1, -1)},
                   {k: float(rng.uniform(2.4, 3.4)) for k in (1, -1)}, [(edge[1] - d, a, g, c) for d, a, g, c in marks])

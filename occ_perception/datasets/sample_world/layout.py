"""Generation of a street from a seed: the ground with all that stands and drives on it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from occ_perception.datasets.sample_world import buildings
from occ_perception.datasets.sample_world.blocks import LOT_CARDS, close_block, furnish_zone
from occ_perception.datasets.sample_world.cross_section import Section, make_section
from occ_perception.datasets.sample_world.ground import (
    KERB_M,
    OTHER_FLAT,
    ROAD,
    SIDEWALK,
    TERRAIN,
    Surface,
    cross_kerb,
    kerb,
    ordered,
    strip,
)
from occ_perception.datasets.sample_world.light import make_light
from occ_perception.datasets.sample_world.mesh import Material, Mesh, MeshBuilder, merge, triple
from occ_perception.datasets.sample_world.path import make_centre_line, make_drive
from occ_perception.datasets.sample_world.plan import Plan, shuffled
from occ_perception.datasets.sample_world.roadside import CURB_CARDS, add_walkers, fill_curb_lane, fill_furniture_band, fill_median
from occ_perception.datasets.sample_world.street import Street
from occ_perception.datasets.sample_world.textures import make_atlas, road_texture
from occ_perception.datasets.sample_world.traffic import add_traffic

MARGIN_M = 62.0
"""How far the street goes on before the start and beyond the end of the drive, metres."""


def _surfaces(rng: np.random.Generator) -> dict[str, list[Surface]]:
    def tint(spread: float = 0.12) -> tuple[float, float, float]:
        return triple(rng.uniform(0.85, 1.1) * rng.uniform(1 - spread / 2, 1 + spread / 2, 3))

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
    section = make_section(rng)
    speed_limit = 11.0
    line = make_centre_line(rng, -MARGIN_M, speed_limit * duration_s + MARGIN_M)
    drive = make_drive(rng, line, section.ego_lane)
    end = drive.along(duration_s) + MARGIN_M
    plan = Plan(line, rng, leaves=str(rng.choice(['leaves_a', 'leaves_b'])))
    width = section.edge[1] + section.edge[-1]
    atlas = make_atlas(rng, {'road': (1024 / 24.0, 512 / width, road_texture(rng, width, section.lines))})
    ground = _lay_ground(plan, section, -MARGIN_M, end, width)
    add_traffic(plan, section, drive.speed, duration_s, end)
    solids, label, owner = (np.concatenate(parts) for parts in zip(*plan.solids, strict=True))
    return Street(
        seed,
        line,
        drive,
        duration_s,
        make_light(rng),
        atlas,
        ground,
        merge(plan.statics),
        np.concatenate(plan.static_ids),
        solids,
        label,
        owner,
        np.array(plan.houses, np.float64).reshape(-1, 7),
        tuple(plan.objects),
    )



def _lay_ground(plan: Plan, section: Section, start: float, end: float, width: float) -> Mesh:
    """Ground and everything that stands on it, side by side; returns the ground."""
    rng, b = plan.rng, MeshBuilder(ROAD)
    surfaces = _surfaces(rng)
    road = Surface(ROAD, Material('road'), 0.0)
    strip(b, plan.line, road, (start, end), (-section.edge[-1], section.edge[1]), uv_scale=(1.0, -(512 / width) / (1024 / 24.0)),
          uv_origin=(0.0, section.edge[1]))
    asphalt = Surface(ROAD, Material('asphalt'), 0.0)
    _lay_median(plan, b, section, surfaces['other_flat'], start, end)
    phase = rng.random()
    curb_deck, lot_deck = shuffled(rng, CURB_CARDS), shuffled(rng, LOT_CARDS)
    for side in (1, -1):
        edge, back_of_walk = section.edge[side], section.edge[side] + section.walk[side]
        mouths = _mouths(rng, start, end)
        for s, half in mouths:
            strip(b, plan.line, asphalt, (s - half, s + half), ordered(side * edge, side * 60.0))
            stripes = Surface(ROAD, Material('crossing'), 0.008)
            strip(b, plan.line, stripes, (s - half, s + half), ordered(side * (edge + 0.4), side * (edge + 2.9)))
            strip(
                b,
                plan.line,
                stripes,
                (s - half - 3.4, s - half - 0.6),
                ordered(side * (section.median / 2 + 0.1), side * (edge - 0.3)),
                swap=True,
            )
            plan.taken.append((s, side * (edge + 20), half + 0.6, 20.6))
            plan.taken.append((s, side * (edge - 1.5), half + 4.0, 1.6))
            plan.stand(plan.model(buildings.house, 26.0, 8.0, False), s, side * 58.0, -side * np.pi / 2)
        borders = [start, *[x for s, half in mouths for x in (s - half, s + half)], end]
        kinds = shuffled(rng,


_ZONE_CARDS)
        count = 0
        shift = (phase + (0.5 if side > 0 else 0.0)) % 1.0
        lot = [int(shift * len(lot_deck))]
        for first, last in zip(borders[::2], borders[1::2], strict=True):
            walk = surfaces['sidewalk'][0]
            kerb(b, plan.line, (first, last), side * edge, 0.0, KERB_M)
            strip(b, plan.line, walk, (first, last), ordered(side * edge, side * back_of_walk))
            pieces = max(round((last - first) / float(rng.uniform(13, 19))), 1)
            cuts = np.linspace(first, last, pieces + 1)
            for a, z in pairwise(cuts):
                kind = kinds[count % len(kinds)]
                count += 1
                options = surfaces[kind]
                surface = options[rng.integers(len(options))]
                depth = rng.uniform(4.5, 6.5) if kind != 'sidewalk' else rng.uniform(1.5, 3.5)
                inner, outer = side * back_of_walk, side * (back_of_walk + depth)
                uv_origin = (0.0, inner + side * 1.6) if surface.material.texture == 'rails' else (0.0, 0.0)
                strip(b, plan.line, surface, (a, z), ordered(inner, outer), rng, uv_origin=uv_origin)
                if abs(surface.height - KERB_M) > 0.01:
                    kerb(b, plan.line, (a, z), inner, surface.height, KERB_M)
                meadow = Surface(TERRAIN, Material('grass'), min(surface.height, KERB_M))
                strip(b, plan.line, meadow, (a, z), ordered(outer, side * 60.0))
                furnish_zone(plan, surface, side, (float(a), float(z)), (back_of_walk, back_of_walk + depth), lot_deck, lot)
                close_block(plan, side, (float(a), float(z)), back_of_walk + depth)
            for s in (first, last):
                cross_kerb(b, plan.line, s, ordered(side * edge, side * back_of_walk), KERB_M)
        fill_curb_lane(plan, section, side, start, end, curb_deck, int(shift * len(curb_deck)))
        fill_furniture_band(plan, section, side, start, end)
        add_walkers(plan, section, side, start, end)
    for s, turn in ((start + 1.0, 0.0), (end - 1.0, np.pi)):
        plan.stand(plan.model(buildings.house, 70.0, 8.0, True), s, 0.0, turn)
    return b.build()


def _mouths(rng: np.random.Generator, start: float, end: float) -> list[tuple[float, float]]:
    out, s = [], start + rng.uniform(15, 50)
    while s < end - 15:
        out.append((float(s), float(rng.uniform(3.6, 5.0))))
        s += rng.uniform(45, 75)
    return out


_ZONE_CARDS = ['terrain', 'other_flat', 'terrain', 'other_flat', 'sidewalk', 'other_flat', 'terrain']


def _lay_median(plan: Plan, b: MeshBuilder, section: Section, surfaces: list[Surface], start: float, end: float) -> None:
    """Traffic islands between the directions, with gaps where the road is only painted."""
    rng, half = plan.rng, section.median / 2 - 0.1
    dry = [k for k in surfaces if k.material.texture in ('gravel', 'court', 'hatch')]
    s = start + rng.uniform(0, 10)
    while s < end - 12:
        length = rng.uniform(14, 30)
        chosen = dry[rng.integers(len(dry))]
        surface = Surface(chosen.label, chosen.material, 0.12)
        span = (s, min(s + length, end))
        strip(b, plan.line, surface, span, (-half, half))
        for side in (1, -1):
            kerb(b, plan.line, span, side * half, 0.0, surface.height)
        fill_median(plan, section, span, surface.height)
        s += length + rng.uniform(6, 14)

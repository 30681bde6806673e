"""The HTML page of a comparison of engines: figures, layers, and the frame of each engine that agrees least."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from occ_perception.engines.layer_outputs import LayerError, first_jump
from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import FREE, OCC3D, UNKNOWN
from occ_perception.pictures.birds_eye import render_birds_eye
from occ_perception.pictures.colors import INK, LINE, MUTED, PAPER, SKY
from occ_perception.pictures.composite import font, render_street
from occ_perception.pictures.page_style import SCRIPT, STYLE
from occ_perception.pictures.report import class_table, player
from occ_perception.pictures.voxel_view import View, render_voxels
from occ_perception.runtime.live_score import Score

SECONDS_PER_PICTURE = 6.0
OTHER, ADDED, LOST, SAME = (214, 60, 60), (240, 150, 40), (50, 110, 220), (205, 209, 215)
"""Colours of voxels: of another class, only in the candidate, only in the reference, equal."""
_WIDTH, _MARGIN, _HEADER, _CAPTION, _STREET = 1600, 14, 54, 28, 300
_LOWEST, _HIGHEST = -8, 1
"""Powers of ten at the ends of the chart of layers."""
_OWN_STYLE = '''.refused,tr.refused td,table.layers tr.jump td,table.layers tr.jump th{color:#c62f2f}
table.engines td,table.layers td{width:auto}
details{margin-top:10px}summary{cursor:pointer;color:var(--muted)}.layers th{font-family:monospace;font-size:12px}'''


@dataclass(frozen=True)
class EngineSection:
    """One engine. verdict: a sentence. figures: titles and texts of its row. classes: agreement 0..1 by class name; picture: of the
    frame that agrees least."""

    name: str
    description: str
    refused: bool
    verdict: str
    figures: Mapping[str, str]
    classes: Mapping[str, float]
    layers: Sequence[LayerError]
    picture: Image.Image | None


@dataclass(frozen=True)
class ParityPage:
    """What the page tells. cards: titles and texts. missing: engines that did not run, with the reason. notes: sentences."""

    title: str
    subtitle: str
    cards: Mapping[str, str]
    engines: Sequence[EngineSection]
    missing: Mapping[str, str]
    notes: Sequence[str]


def write_parity(page: ParityPage, path: Path) -> None:
    """Write the page; it needs no other file and no network."""
    cards = ''.join(f'<div class=card><b>{html.escape(text)}</b><span>{html.escape(title)}</span></div>'
                    for title, text in page.cards.items())
    missing = ''.join(f'<li>{html.escape(name)}: {html.escape(reason)}</li>' for name, reason in page.missing.items())
    notes = ''.join(f'<li>{html.escape(note)}</li>' for note in page.notes)
    pictures = [engine.picture for engine in page.engines if engine.picture is not None]
    classes = {engine.name: Score(np.nan, np.nan, {info.name: engine.classes.get(info.name, np.nan) for info in OCC3D})
               for engine in page.engines}
    path.write_text(
        f'<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">'
        f'<title>{html.escape(page.title)}</title><style>{STYLE}{_OWN_STYLE}</style><main>'
        f'<header><h1>{html.escape(page.title)}</h1><p>{html.escape(page.subtitle)}</p></header>'
        f'<section class=cards>{cards}</section>'
        f'<section><h2>Engines</h2>{_engines(page.engines)}'
        + (f'<h2>Not run here</h2><ul>{missing}</ul>' if missing else '') + '</section>'
        + (f'<section><h2>The frame of each engine that agrees least</h2></section>{player(pictures, SECONDS_PER_PICTURE)}'
           if pictures else '')
        + (f'<section><h2>Equal labels by class of the reference</h2>{class_table(classes)}</section>' if classes else '')
        + ''.join(_layers(engine) for engine in page.engines if engine.layers)
        + f'<section><h2>How this was measured</h2><ul>{notes}</ul></section></main><script>{SCRIPT}</script></html>\n',
        encoding='utf-8')


def compare_grids(title: str, reference: np.ndarray, candidate: np.ndarray, grid: VoxelGridSpec = OCC3D_GRID) -> Image.Image:
    """One picture of two label grids (nx, ny, nz) uint8: reference, candidate and where they differ, in 3D and from above."""
    column = (_WIDTH - 4 * _MARGIN) // 3
    page = Image.new('RGB', (_WIDTH, _HEADER + _CAPTION + _STREET + _MARGIN + column + _MARGIN + _CAPTION), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _HEADER // 2), title, INK, font(22), anchor='lm')
    view = View(width=column, height=_STREET)
    colors, shown = difference_colors(reference, candidate)
    streets = [render_street(reference, view), render_street(candidate, view), render_voxels(colors, shown, view, SKY, grid)]
    maps = [render_birds_eye(reference, column), render_birds_eye(candidate, column),
            _differences_from_above(colors, shown, column)]
    for k, (caption, street, above) in enumerate(zip(('Reference', 'Candidate', 'Difference'), streets, maps, strict=True)):
        x, y = _MARGIN + k * (column + _MARGIN), _HEADER + _CAPTION
        draw.text((x, y - _CAPTION // 2), caption, MUTED, font(15), anchor='lm')
        for picture, top in ((Image.fromarray(street), y), (above, y + _STREET + _MARGIN)):
            page.paste(picture, (x, top))
            draw.rectangle((x - 1, top - 1, x + picture.width, top + picture.height), outline=LINE)
    x, y = _MARGIN + 2 * (column + _MARGIN), page.height - _CAPTION // 2 - 4
    for color, name in ((OTHER, 'another class'), (ADDED, 'only in the candidate'), (LOST, 'only in the reference'),
                        (SAME, 'equal')):
        draw.rounded_rectangle((x, y - 7, x + 14, y + 7), radius=3, fill=color)
        draw.text((x + 20, y), name, INK, font(13), anchor='lm')
        x += round(34 + draw.textlength(name, font(13)))
    return page


def difference_colors(reference: np.ndarray, candidate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours (nx, ny, nz, 3) uint8 of how two grids differ, and the voxels (bool) that either holds something in."""
    here, there = ((labels != FREE) & (labels != UNKNOWN) for labels in (reference, candidate))
    colors = np.full((*reference.shape, 3), SAME, np.uint8)
    colors[here & there & (reference != candidate)] = OTHER
    colors[there & ~here] = ADDED
    colors[here & ~there] = LOST
    return colors, here | there


def _differences_from_above(colors: np.ndarray, shown: np.ndarray, size: int) -> Image.Image:
    """The topmost difference of each column, else what is equal; forward up, left to the left."""
    differs = shown & (colors != np.asarray(SAME, np.uint8)).any(axis=3)
    marked = np.where(differs.any(axis=2)[..., None], differs, shown)
    top = marked.shape[2] - 1 - marked[:, :, ::-1].argmax(axis=2)
    cells = colors[np.arange(colors.shape[0])[:, None], np.arange(colors.shape[1])[None], top]
    cells[~shown.any(axis=2)] = 255
    return Image.fromarray(np.ascontiguousarray(cells[::-1, ::-1])).resize((size, size), Image.Resampling.NEAREST)


def _engines(engines: Sequence[EngineSection]) -> str:
    if not engines:
        return '<p>none</p>'
    head = ''.join(f'<td class=number>{html.escape(title)}</td>' for title in engines[0].figures)
    rows = ''.join(
        f'<tr{" class=refused" if engine.refused else ""}><th>{html.escape(engine.name)}</th>'
        + ''.join(f'<td class=number>{html.escape(text)}</td>' for text in engine.figures.values()) + '</tr>'
        for engine in engines)
    told = ''.join(f'<li{" class=refused" if engine.refused else ""}>{html.escape(engine.verdict)} '
                   f'<code>{html.escape(engine.description)}</code></li>' for engine in engines)
    return f'<table class=engines><tr><th></th>{head}</tr>{rows}</table><ul style="margin-top:12px">{told}</ul>'


def _layers(engine: EngineSection) -> str:
    jump = first_jump(engine.layers)
    begins = 'No layer stands out: the error grows by rounding alone.'
    if jump is not None:
        begins = (f'The error begins at {jump.layer.operator} {jump.layer.tensor} {jump.layer.place}: '
                  f'{jump.rms:.2g}, its inputs {jump.inputs_rms:.2g}.')
    rows = ''.join(
        f'<tr{" class=jump" if error.jump else ""}><th>{html.escape(error.layer.tensor)}</th><td>{error.layer.operator}</td>'
        f'<td>{html.escape(error.layer.place)}</td>'
        + ''.join(f'<td class=number>{value:.2g}</td>' for value in (error.rms, error.maximum, error.inputs_rms)) + '</tr>'
        for error in engine.layers)
    return (f'<section><h2>Layers of {html.escape(engine.name)}</h2><p>{html.escape(begins)}</p>{_chart(engine.layers)}'
            f'<details><summary>all {len(engine.layers)} layers, in the order of the graph</summary><table class=layers>'
            '<tr><th>tensor</th><td>operator</td><td>module</td><td class=number>rms</td><td class=number>max</td>'
            f'<td class=number>rms of its inputs</td></tr>{rows}</table></details></section>')


def _chart(layers: Sequence[LayerError]) -> str:
    """Relative error of the layers from the first to the last, powers of ten."""
    width, height, left, bottom = 1300, 210, 44, 24

    def y(rms: float) -> float:
        power = math.log10(min(max(rms, 10.0 ** _LOWEST), 10.0 ** _HIGHEST))
        return (height - bottom) * (1 - (power - _LOWEST) / (_HIGHEST - _LOWEST)) + 8

    lines = ''.join(f'<line class=grid x1={left} x2={width} y1={y(10.0 ** p):.1f} y2={y(10.0 ** p):.1f} />'
                    f'<text x=2 y={y(10.0 ** p) + 4:.1f}>1e{p}</text>' for p in range(_LOWEST, _HIGHEST + 1, 2))
    dots = []
    for k, error in enumerate(layers):
        x = left + 8 + (width - left - 16) * k / max(len(layers) - 1, 1)
        color, size = ('#c62f2f', 5) if error.jump else ('var(--accent)', 2.6)
        name = html.escape(f'{error.layer.tensor} {error.layer.place}: {error.rms:.2g}', quote=True)
        dots.append(f'<circle cx={x:.1f} cy={y(error.rms):.1f} r={size} fill="{color}"><title>{name}</title></circle>')
    return (f'<svg viewBox="0 0 {width} {height}" role=img aria-label="relative error by layer">{lines}{"".join(dots)}'
            f'<text x={left} y={height - 2}>relative rms error, first layer to last; red: an error begins</text></svg>')

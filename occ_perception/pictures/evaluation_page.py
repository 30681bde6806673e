"""The HTML page of an evaluation: scores, classes, the frames that went worst as pictures, the sequences from worst to best."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from occ_perception.pictures.page_style import SCRIPT, STYLE
from occ_perception.pictures.report import class_table, player
from occ_perception.runtime.live_score import Score

SECONDS_PER_FRAME = 4.0
_COLUMNS = {'iou_camera_mask': 'camera mask', 'iou': 'all voxels', 'ray_iou': 'RayIoU', 'ray_pq': 'RayPQ'}
_CARDS = {'miou_camera_mask': 'mIoU, camera mask', 'miou': 'mIoU, all voxels',
          'geometric_iou_camera_mask': 'geometric IoU, camera mask', 'ray_iou': 'RayIoU', 'ray_pq': 'RayPQ', 'frames': 'frames',
          'left_out': 'frames left out'}


@dataclass(frozen=True)
class SequenceRow:
    """One line of the table of sequences; scores 0..1."""

    name: str
    frames: int
    miou: float
    geometric_iou: float


@dataclass(frozen=True)
class EvaluationPage:
    """What the page tells. scores: the JSON object of the evaluation. worst: pictures, the worst frame first. notes: sentences."""

    title: str
    subtitle: str
    scores: Mapping[str, Any]
    worst: Sequence[Image.Image]
    sequences: Sequence[SequenceRow]
    notes: Sequence[str]
    facts: Mapping[str, str]


def write_evaluation(page: EvaluationPage, path: Path) -> None:
    """Write the page; it needs no other file and no network."""
    cards = ''.join(f'<div class=card><b>{_value(page.scores[name])}</b><span>{title}</span></div>'
                    for name, title in _CARDS.items() if name in page.scores)
    notes = ''.join(f'<li>{html.escape(note)}</li>' for note in page.notes)
    facts = ' · '.join(f'{html.escape(name)}: <code>{html.escape(value)}</code>' for name, value in page.facts.items())
    worst = f'<section><h2>The frames that went worst</h2></section>{player(page.worst, SECONDS_PER_FRAME)}' if page.worst else ''
    path.write_text(
        f'<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">'
        f'<title>{html.escape(page.title)}</title><style>{STYLE}</style><main>'
        f'<header><h1>{html.escape(page.title)}</h1><p>{html.escape(page.subtitle)}</p></header>'
        f'<section class=cards>{cards}</section>{worst}'
        f'<div class=two><section><h2>IoU by class</h2>{class_table(_columns(page.scores))}</section>'
        f'<section><h2>Sequences, the worst first</h2>{_sequences(page.sequences)}</section></div>'
        f'<section><h2>How this was measured</h2><ul>{notes}</ul></section><footer>{facts}</footer></main>'
        f'<script>{SCRIPT}</script></html>\n', encoding='utf-8')


def _columns(scores: Mapping[str, Any]) -> dict[str, Score]:
    def share(value: float | None) -> float:
        return float('nan') if value is None else value / 100

    there = [name for name in _COLUMNS if any(name in values for values in scores['classes'].values())]
    return {_COLUMNS[name]: Score(np.nan, np.nan, {of: share(values.get(name)) for of, values in scores['classes'].items()})
            for name in there}


def _sequences(rows: Sequence[SequenceRow]) -> str:
    ordered = sorted(rows, key=lambda row: (np.isnan(row.miou), row.miou))
    lines = ''.join(f'<tr><th>{html.escape(row.name)}</th><td class=number>{row.frames}</td>'
                    f'<td class=number>{_share(row.miou)}</td><td class=number>{_share(row.geometric_iou)}</td></tr>'
                    for row in ordered)
    return ('<table><tr><th></th><td class=number>frames</td><td class=number>mIoU</td><td class=number>geometric IoU</td></tr>'
            f'{lines}</table>')


def _share(value: float) -> str:
    return '–' if np.isnan(value) else f'{100 * value:.1f}'


def _value(value: float | int | None) -> str:
    return '–' if value is None else str(value) if isinstance(value, int) else f'{value:.2f}'

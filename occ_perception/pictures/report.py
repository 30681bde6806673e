"""One self-contained HTML page of a run: frames to step through, scores beside the baselines, classes, latencies, drops."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from occ_perception.labels import FREE, OCC3D
from occ_perception.pictures.colors import CLASS_COLORS
from occ_perception.pictures.page_style import SCRIPT, STYLE
from occ_perception.runtime.live_score import LiveScore, Score

FRAME_WIDTH = 1280
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Report:
    """What the page tells.

    scores: by name, the network's first, then the baselines. notes: how things were measured, one sentence each.
    facts: short name -> value pairs for the foot (machine, command). seconds_per_frame: of the replay.
    """

    title: str
    subtitle: str
    live: LiveScore
    scores: Mapping[str, Score]
    frames: Sequence[Image.Image]
    seconds_per_frame: float
    notes: Sequence[str]
    facts: Mapping[str, str]


def write_report(report: Report, path: Path | str) -> None:
    """Write the page; it needs no other file and no network."""
    live = report.live
    cards = ''.join(f'<div class=card><b>{value}</b><span>{html.escape(name)}</span></div>' for name, value in (
        ('mIoU, 17 classes', _percent(live.score.miou)), ('geometric IoU', _percent(live.score.geometric_iou)),
        ('frames received / due', f'{live.received} / {live.due}'), ('dropped', str(live.dropped)),
        ('latency p50', _milliseconds(live.latency_ms(50))), ('latency p95', _milliseconds(live.latency_ms(95))),
        ('latency p99', _milliseconds(live.latency_ms(99)))))
    notes = ''.join(f'<li>{html.escape(note)}</li>' for note in report.notes)
    facts = ' · '.join(f'{html.escape(name)}: <code>{html.escape(value)}</code>' for name, value in report.facts.items())
    page = (f'<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">'
            f'<title>{html.escape(report.title)}</title><style>{STYLE}</style><main>'
            f'<header><h1>{html.escape(report.title)}</h1><p>{html.escape(report.subtitle)}</p></header>'
            f'<section class=cards>{cards}</section>{player(report.frames, report.seconds_per_frame)}'
            f'<div class=two><section><h2>Against the baselines</h2>{_scores(report.scores)}'
            f'<h2>Latency</h2>{_latencies(live)}</section>'
            f'<section><h2>IoU by class</h2>{class_table(report.scores)}</section></div>'
            f'<section><h2>How this was measured</h2><ul>{notes}</ul></section><footer>{facts}</footer></main>'
            f'<script>{SCRIPT}</script></html>\n')
    Path(path).write_text(page, encoding='utf-8')


def _percent(share: float) -> str:
    return '–' if np.isnan(share) else f'{100 * share:.1f}'


def _milliseconds(value: float) -> str:
    return '–' if np.isnan(value) else f'{value:.0f} ms'


def player(frames: Sequence[Image.Image], seconds_per_frame: float) -> str:
    """HTML of the frames as JPEG, shown one at a time, each for so long; nothing for none."""
    if not frames:
        return ''
    images = []
    for k, frame in enumerate(frames):
        size = (FRAME_WIDTH, round(frame.height * FRAME_WIDTH / frame.width))
        buffer = io.BytesIO()
        frame.resize(size, Image.Resampling.LANCZOS).save(buffer, 'JPEG', quality=JPEG_QUALITY, optimize=True)
        data = base64.b64encode(buffer.getvalue()).decode()
        shown = '' if k == 0 else ' hidden'
        images.append(f'<img width={size[0]} height={size[1]} alt="frame {k + 1}" src="data:image/jpeg;base64,{data}"{shown}>')
    return (f'<section id=player data-period="{round(1000 * seconds_per_frame)}"><div id=screen>{"".join(images)}</div>'
            f'<div id=controls><button id=play type=button aria-label="play or pause">❚❚</button>'
            f'<input id=seek type=range min=0 max={len(images) - 1} value=0 aria-label=frame>'
            f'<output id=count>1 / {len(images)}</output></div></section>')


def _bar(share: float, color: str, text: str) -> str:
    width = 0 if np.isnan(share) else 100 * share
    return f'<div class=bar><b><i style="width:{width:.1f}%;background:{color}"></i></b><em>{text}</em></div>'


def _scores(scores: Mapping[str, Score]) -> str:
    rows = []
    for k, (name, score) in enumerate(scores.items()):
        color = 'var(--accent)' if k == 0 else 'var(--other)'
        rows.append(f'<tr><th>{html.escape(name)}</th><td>{_bar(score.miou, color, _percent(score.miou))}</td>'
                    f'<td>{_bar(score.geometric_iou, color, _percent(score.geometric_iou))}</td></tr>')
    return f'<table class=scores><tr><th></th><td>mIoU</td><td>geometric IoU</td></tr>{"".join(rows)}</table>'


def class_table(scores: Mapping[str, Score]) -> str:
    """HTML with one row per class: the first score's IoU as a bar in the class's colour, the others as numbers."""
    names = list(scores)
    head = ''.join(f'<td class=number>{html.escape(name)}</td>' for name in names[1:])
    rows = []
    for info in OCC3D:
        if info.id == FREE:
            continue
        color = 'rgb({},{},{})'.format(*CLASS_COLORS[info.id])
        values = [scores[name].iou[info.name] for name in names]
        others = ''.join(f'<td class=number>{_percent(value)}</td>' for value in values[1:])
        rows.append(f'<tr><th><i class=swatch style="background:{color}"></i>{info.name.replace("_", " ")}</th>'
                    f'<td>{_bar(values[0], color, _percent(values[0]))}</td>{others}</tr>')
    return f'<table class=classes><tr><th></th><td>{html.escape(names[0])}</td>{head}</tr>{"".join(rows)}</table>'


def _latencies(live: LiveScore) -> str:
    """Latency of each frame as a bar chart, with p50 and p95 across."""
    values = np.array(live.latencies_ms)
    known = values[np.isfinite(values)]
    if not known.size:
        return '<p>not known</p>'
    width, height, left, foot = 560, 170, 44, 22
    top = max(float(known.max()) * 1.12, 1.0)
    step = next((s for s in (5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000) if top / s <= 5), 10000)

    def y(value: float) -> float:
        return (height - foot) * (1 - value / top)

    parts = [f'<line x1={left} x2={width} y1={y(v):.1f} y2={y(v):.1f} class=grid /><text x={left - 6} y={y(v) + 4:.1f} '
             f'text-anchor=end>{v:.0f}</text>' for v in np.arange(0, top, step)]
    pitch = (width - left) / len(values)
    parts += [f'<rect x={left + k * pitch + 0.15 * pitch:.1f} width={0.7 * pitch:.1f} y={y(v):.1f} '
              f'height={max(height - foot - y(v), 0):.1f} class=latency><title>frame {k + 1}: {v:.0f} ms</title></rect>'
              for k, v in enumerate(values) if np.isfinite(v)]
    for percent, x, anchor in ((50, left + 3, 'start'), (95, width - 2, 'end')):
        level = y(live.latency_ms(percent))
        parts.append(f'<line x1={left} x2={width} y1={level:.1f} y2={level:.1f} class=mark />'
                     f'<text x={x} y={level - 4:.1f} text-anchor={anchor} class=mark>p{percent}</text>')
    parts.append(f'<text x={left} y={height - 5}>frame 1</text><text x={width} y={height - 5} text-anchor=end>{len(values)}</text>'
                 f'<text x=0 y={height - 5}>ms</text>')
    return f'<svg viewBox="0 0 {width} {height}" role=img aria-label="latency of each frame">{"".join(parts)}</svg>'

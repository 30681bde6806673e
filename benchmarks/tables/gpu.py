"""The tables of the GPU suite: every row of the catalogue, run or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchmarks.published_speed import PUBLISHED_SPEEDS
from benchmarks.tables.markdown import Row, by_machine, source, table

NEVER = 'never run'
COLUMNS = {
    'torch_f32': 'eager f32', 'torch_f32_channels_last': 'eager f32, channels last', 'torch_f16': 'eager f16 (autocast)',
    'compile_f32': 'compiled f32', 'compile_f16': 'compiled f16', 'tensorrt_f32': 'TensorRT f32', 'tensorrt_f16': 'TensorRT f16',
    'tensorrt_int8': 'TensorRT int8'}
HOST_COLUMNS = {f'{name}_host': words for name, words in COLUMNS.items() if name.startswith('tensorrt') or name == 'torch_f32'}
HOST_COLUMNS |= {f'{name}_two': f'{words}, two under way' for name, words in HOST_COLUMNS.items() if name.startswith('tensorrt')}
_Told = Callable[[Mapping[str, Any]], str]


def gpu_tables(rows: Mapping[str, Row], networks: Iterable[str]) -> list[str]:
    """Speed, host to host, agreement and memory for each GPU; where no GPU was at hand, every network with 'never run'."""
    networks = list(networks)
    groups = [group for group in by_machine(rows) if next(iter(group.values()))['machine']['gpu']]
    if not any(measured_networks(group) for group in groups):
        return table(['network', 'published frames/s', 'here'], ([f'`{name}`', published(name), NEVER] for name in networks))
    lines: list[str] = []
    for group in groups:
        known = {row['figures']['network']: row['figures'] for row in group.values()}
        names = [*networks, *(name for name in known if name not in networks)]
        lines += ['Labels stay on the device; median milliseconds, in brackets the 95th percentile:', '']
        lines += table(['network', 'floor f32, f16, int8', *COLUMNS.values(), 'most frames/s', 'published frames/s'],
                       ([f'`{name}`', _floors(known.get(name, {})), *_cells(known.get(name), COLUMNS, _speed),
                         _most(known.get(name)), published(name)] for name in names))
        lines += ['', "From image bytes in the host's memory to labels there:", '']
        lines += table(['network', *HOST_COLUMNS.values()],
                       ([f'`{name}`', *_cells(known.get(name), HOST_COLUMNS, _speed)] for name in names if name in known))
        lines += ['', 'Labels equal to those of PyTorch in float32 without TF32, and MiB of the card that are taken:', '']
        lines += table(['network', 'weights', *COLUMNS.values()],
                       ([f'`{name}`', known[name].get('weights'), *_cells(known[name], COLUMNS, _agreement, host_too=True)]
                        for name in names if name in known))
        lines += ['', 'Times as fast as eager f32 in the same minutes:', '']
        lines += table(['network', *list(COLUMNS.values())[1:]],
                       ([f'`{name}`', *(_times(known[name], column) for column in list(COLUMNS)[1:])]
                        for name in names if name in known))
        peaks: Mapping[str, float] = next((figures['peaks'] for figures in known.values() if 'peaks' in figures), {})
        told = ', '.join(f'{name} {value} TFLOP/s' for name, value in peaks.items() if name != 'copy')
        lines += ['', f'Peaks measured there: {told}, copies {peaks.get("copy", "-")} GB/s. {source(group)}', '']
    return lines[:-1]


def measured_networks(rows: Mapping[str, Row]) -> list[str]:
    """Networks with figures from a GPU."""
    return [row['figures']['network'] for row in rows.values() if row['machine']['gpu']
            and any('columns' in step for step in row['figures'].get('steps', {}).values())]


def published(name: str) -> str | None:
    """Speeds that the authors give, in words."""
    return '; '.join(map(str, PUBLISHED_SPEEDS.get(name, ()))) or None


def _state(figures: Mapping[str, Any], column: str) -> dict[str, Any]:
    """Figures of a column; else why there are none, as far as that is known."""
    step = figures.get('steps', {}).get('torch' if column.startswith('torch') else column.partition('_host')[0], {})
    return step.get('columns', {}).get(column, {key: step[key] for key in ('error', 'skipped') if key in step})


def _cells(figures: Mapping[str, Any] | None, columns: Iterable[str], told: _Told, host_too: bool = False) -> list[str | None]:
    """One cell per column. host_too: where only the host's form of a column was measured, that is told."""
    if figures is None:
        return [NEVER, *[None] * (len(list(columns)) - 1)]
    cells: list[str | None] = []
    for column in columns:
        state = _state(figures, column)
        if host_too and 'median_ms' not in state:
            state = _state(figures, f'{column}_host') or state
        if 'median_ms' in state:
            cells.append(told(state))
        elif 'error' in state:
            cells.append(f'failed: {state["error"]}')
        else:
            cells.append('not run' if 'skipped' in state else None)
    return cells


def _speed(state: Mapping[str, Any]) -> str:
    return f'{state["median_ms"]:.4g} ({state["p95_ms"]:.4g})'


def _agreement(state: Mapping[str, Any]) -> str:
    memory = f', {state["card_mib"]} MiB' if 'card_mib' in state else ''
    return f'{100 * state["labels_as_torch_f32"]:.2f} %{memory}'


def _times(figures: Mapping[str, Any], column: str) -> str | None:
    """How many times as fast as eager float32 in the same step; host to host where that is what was measured."""
    for form in ('', '_host'):
        step = figures.get('steps', {}).get('torch' if column.startswith('torch') else column, {}).get('columns', {})
        eager, own = step.get(f'torch_f32{form}'), step.get(f'{column}{form}')
        if eager and own:
            return f'{eager["median_ms"] / own["median_ms"]:.2f}' + (' (host to host)' if form else '')
    return None


def _floors(figures: Mapping[str, Any]) -> str | None:
    floors = figures.get('floor_ms', {})
    return ', '.join(f'{floors[name]["whole"]:.3g}' for name in ('f32', 'f16', 'int8') if name in floors) or None


def _most(figures: Mapping[str, Any] | None) -> str | None:
    best = max(((state['fps'], words) for column, words in COLUMNS.items() if 'fps' in (state := _state(figures or {}, column))),
               default=None)
    return best and f'{best[0]:g} ({best[1]})'

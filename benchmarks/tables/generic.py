"""A table of any benchmark, from nothing but its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.tables.markdown import Row, by_machine, source, table

MOST_COLUMNS = 8
TOLD_BELOW = ('processor', 'cores')
"""Figures that stand under the table anyway."""


def generic_tables(rows: Mapping[str, Row]) -> list[str]:
    """One table per machine: rows by key, figures as columns; the other way round where there are many figures and few rows."""
    lines: list[str] = []
    for group in by_machine(rows):
        flat = {key: dict(_leaves(row['figures'])) for key, row in group.items()}
        names = list(dict.fromkeys(name for leaves in flat.values() for name in leaves))
        if len(names) > MOST_COLUMNS and len(flat) < len(names):
            lines += table(['', *(f'`{key}`' for key in flat)],
                           ([name, *(leaves.get(name) for leaves in flat.values())] for name in names))
        else:
            lines += table(['', *names], ([f'`{key}`', *(leaves.get(name) for name in names)] for key, leaves in flat.items()))
        lines += ['', source(group), '']
    return lines[:-1]


def _leaves(figures: Mapping[str, Any], above: str = '') -> Iterator[tuple[str, Any]]:
    """Every figure by its path in words."""
    for name, value in figures.items():
        words = f'{above}{name.replace("_", " ")}'
        if isinstance(value, Mapping):
            yield from _leaves(value, f'{words}: ')
        elif above or name not in TOLD_BELOW:
            yield words, value

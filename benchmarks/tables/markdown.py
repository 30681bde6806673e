"""Tables in Markdown, and what stands under each: machine, versions, dates, commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
"""A row of benchmarks.recording.load_rows: date, command, machine, figures."""
MOST_COMMANDS = 3


def text_of(value: Any) -> str:
    """A cell: numbers with six digits at most, '-' for what is not there."""
    if value is None:
        return '-'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, float):
        return f'{value:.6g}'
    if isinstance(value, list | tuple):
        return ', '.join(map(text_of, value)) if len(value) <= 8 else f'{len(value)} values'
    if isinstance(value, Mapping):
        return ', '.join(f'{name} {text_of(one)}' for name, one in value.items())
    return ' '.join(str(value).replace('|', '/').split())


def table(head: Sequence[str], body: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a table."""
    return [f'| {" | ".join(head)} |', '|' + '---|' * len(head), *(f'| {" | ".join(map(text_of, cells))} |' for cells in body)]


def by_machine(rows: Mapping[str, Row]) -> list[dict[str, Row]]:
    """The rows of each machine, machines in the order of their names."""
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for key, row in rows.items():
        machine = row['machine']
        groups.setdefault((str(machine['gpu']), machine['processor'], str(machine['cores'])), {})[key] = row
    return [groups[name] for name in sorted(groups)]


def source(rows: Mapping[str, Row]) -> str:
    """Where the rows of one machine come from, as one line under their table."""
    machine = next(iter(rows.values()))['machine']
    versions: dict[str, list[str]] = {}
    for row in rows.values():
        for name, value in row['machine']['versions'].items():
            versions.setdefault(name, [])
            versions[name] += [value] if value not in versions[name] else []
    dates = sorted({row['date'] for row in rows.values()})
    commands = list(dict.fromkeys(row['command'] for row in rows.values()))
    told = ', '.join(f'`{command}`' for command in commands[:MOST_COMMANDS])
    where = (machine['gpu'] + ', ' if machine['gpu'] else '') + f'{machine["processor"]}, {machine["cores"]} cores'
    held = ', '.join(f'{name} {" and ".join(values)}' for name, values in sorted(versions.items()))
    when = ' to '.join(dict.fromkeys((dates[0], dates[-1])))
    return f'{where}; {held}; {when}. {told}' + (', and so on for each row.' if len(commands) > MOST_COMMANDS else '.')

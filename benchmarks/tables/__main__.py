"""Puts everything that was measured into the documents: `python -m benchmarks.tables [--readme] [--check]`.

Reads benchmarks/results/*.json and rewrites what stands between `<!-- table NAME -->` and `<!-- end of table -->` in
docs/performance.md, with --readme also in README.md; all other text stays. NAME is a benchmark; `others` takes every benchmark
that has no place of its own in the document, `status` gives a line per benchmark.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from benchmarks.recording import RESULTS, load_rows
from benchmarks.tables.known import COMMANDS, headline, tables_of
from benchmarks.tables.markdown import table

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT, README = ROOT / 'docs' / 'performance.md', ROOT / 'README.md'
_PLACE = re.compile(r'(<!-- table (\w+) -->\n).*?(<!-- end of table -->)', re.DOTALL)


def filled(text: str, results: Path = RESULTS) -> str:
    """The text with every table made anew from the result files. Raises ValueError where a table has no end."""
    names = [found[2] for found in _PLACE.finditer(text)]
    begun = re.findall(r'<!-- table (\w+) -->', text)
    if begun != names:
        raise ValueError(f'not every table ends with <!-- end of table -->: {", ".join(begun)}')
    return _PLACE.sub(lambda found: f'{found[1]}\n' + '\n'.join(_lines(found[2], names, results)) + f'\n\n{found[3]}', text)


def _lines(name: str, names: list[str], results: Path) -> list[str]:
    if name == 'status':
        return table(['what', 'newest', 'when', 'command'], _status(results))
    if name != 'others':
        return tables_of(name, load_rows(name, results))
    lines: list[str] = []
    for other in benchmarks_in(results):
        if other not in names:
            lines += [f'### {other.replace("_", " ").capitalize()}', '', *tables_of(other, load_rows(other, results)), '']
    return lines[:-1] or ['None.']


def benchmarks_in(results: Path) -> list[str]:
    """Benchmarks that have results."""
    return sorted(path.stem for path in results.glob('*.json'))


def _status(results: Path) -> list[list[str | None]]:
    lines = []
    for name in sorted({*benchmarks_in(results), *COMMANDS}):
        rows = load_rows(name, results)
        commands = sorted({row['command'] for row in rows.values()})
        command = COMMANDS.get(name) or (commands[0] if len(commands) == 1 else f'python -m benchmarks.{name}')
        lines.append([name.replace('_', ' '), headline(name, rows), max((row['date'] for row in rows.values()), default=None),
                      f'`{command}`'])
    return lines


def main() -> int:
    """Write the documents, or with --check say whether they are as the results have it."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.tables', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--readme', action='store_true', help='also the tables in README.md')
    parser.add_argument('--check', action='store_true', help='write nothing; exit code 1 when a document is out of date')
    arguments = parser.parse_args()
    stale = []
    for document in (DOCUMENT, *([README] if arguments.readme else [])):
        before = document.read_text()
        try:
            after = filled(before)
        except ValueError as error:
            print(f'{document}: {error}', file=sys.stderr)
            return 2
        if not _PLACE.search(before):
            print(f'{document} has no table: put the lines <!-- table status --> and <!-- end of table --> where it shall stand',
                  file=sys.stderr)
            return 2
        if before == after:
            continue
        stale.append(document.name)
        if not arguments.check:
            document.write_text(after)
    if arguments.check and stale:
        print(f'{", ".join(stale)}: not what benchmarks/results gives; run python -m benchmarks.tables --readme', file=sys.stderr)
        return 1
    print(f'written: {", ".join(stale)}' if stale else 'all tables are as the results have them')
    return 0


if __name__ == '__main__':
    sys.exit(main())

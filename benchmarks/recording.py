"""How benchmarks print their figures and keep them: one JSON file per benchmark under benchmarks/results/."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from occ_perception.machine import processor

RESULTS = Path(__file__).parent / 'results'
_PACKAGES = ('torch', 'openvino', 'onnxruntime', 'tensorrt', 'tensorrt-rtx-cu13-libs', 'nncf', 'numpy')


def print_result(result: Mapping[str, Any], as_json: bool) -> None:
    """One JSON object on one line, or a line per figure."""
    print(json.dumps(result) if as_json else '\n'.join(f'{name}: {value}' for name, value in result.items()), flush=True)


def machine(gpu: str | None = None) -> dict[str, Any]:
    """What figures depend on: processor, cores, GPU, Python and the versions of what computes."""
    versions = {'python': platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {'processor': processor(), 'cores': os.cpu_count(), 'gpu': gpu, 'versions': versions}


def save_row(benchmark: str, key: str, figures: Mapping[str, Any], command: str, gpu: str | None = None,
             folder: Path = RESULTS) -> None:
    """Put the figures of one row into FOLDER/BENCHMARK.json, beside the rows of earlier runs.

    key: what the row is about (a network, a stage ...). command: what a reader types to get it again. The row carries the date and
    the machine, so that rows of several machines may stand in one file. The file is replaced atomically.
    """
    path = folder / f'{benchmark}.json'
    rows = load_rows(benchmark, folder)
    rows[key] = {'date': date.today().isoformat(), 'command': command, 'machine': machine(gpu), 'figures': dict(figures)}
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix('.part')
    unfinished.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + '\n')
    unfinished.replace(path)


def load_rows(benchmark: str, folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Rows of a benchmark by key; none where it was never run."""
    path = folder / f'{benchmark}.json'
    return json.loads(path.read_text()) if path.is_file() else {}

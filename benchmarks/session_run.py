"""Time and peak memory of one exported file, in a process of its own: `python -m benchmarks.session_run FILE FEEDS.npz`."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.timing import WARM_UP
from occ_perception.engines.openvino_engine import OpenVinoSession


def peak_mb() -> float:
    """The most memory that this process has held so far; getrusage would tell that of the process which started it."""
    status = Path('/proc/self/status').read_text()
    return round(int(status.partition('VmHWM:')[2].split()[0]) / 1e3, 1)


def run(path: Path, feeds: Mapping[str, np.ndarray], precision: str, runs: int) -> dict[str, float]:
    """Median milliseconds of a call in OpenVINO, and the megabytes that loading and running the file took at the most."""
    before = peak_mb()
    session = OpenVinoSession(path, precision=precision)
    times = []
    for _ in range(runs + WARM_UP):
        began = time.perf_counter()
        session.run(feeds)
        times.append(1e3 * (time.perf_counter() - began))
    return {'milliseconds': round(statistics.median(times[WARM_UP:]), 1), 'peak_mb': round(peak_mb() - before, 1)}


def run_apart(path: Path, feeds: Mapping[str, np.ndarray], precision: str, runs: int) -> dict[str, float]:
    """The same in a new process, which holds nothing else."""
    np.savez(path.with_suffix('.npz'), **feeds)
    command = [sys.executable, '-m', 'benchmarks.session_run', str(path), str(path.with_suffix('.npz')), '--precision', precision,
               '--runs', str(runs)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('file', type=Path, help='an exported file')
    parser.add_argument('feeds', type=Path, help='its inputs by name, .npz')
    parser.add_argument('--precision', default='f32', choices=('f32', 'bf16', 'int8'))
    parser.add_argument('--runs', type=int, default=10, help='timed calls')
    arguments = parser.parse_args()
    with np.load(arguments.feeds) as feeds:
        print(json.dumps(run(arguments.file, dict(feeds), arguments.precision, arguments.runs)))
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""Times of calls on a device: in turn, after warm-up, by CUDA events on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

WARM_UP = 5
MOST_SECONDS, FEWEST_RUNS = 8.0, 5
"""A round of slow calls ends after this long, but not before so many runs of each."""


def elapsed_ms(call: Callable[[], object], device: torch.device) -> float:
    """Milliseconds from when the device is idle until it has done everything the call asked of it."""
    if device.type != 'cuda':
        began = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - began)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def best_ms(call: Callable[[], object], device: torch.device) -> float:
    """The shortest of ten calls after three; of two after one on a CPU."""
    calls, first = (13, 3) if device.type == 'cuda' else (3, 1)
    return min([elapsed_ms(call, device) for _ in range(calls)][first:])


def interleaved_ms(calls: Mapping[str, Callable[[], object]], device: torch.device, runs: int) -> dict[str, list[float]]:
    """Milliseconds of every call by name; the calls take turns."""
    for _ in range(WARM_UP if device.type == 'cuda' else 1):
        for call in calls.values():
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    for run in range(runs):
        if run >= FEWEST_RUNS and time.perf_counter() - began > MOST_SECONDS:
            break
        for name, call in calls.items():
            times[name].append(elapsed_ms(call, device))
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Median, 95th percentile and number of runs; frames per second at the median."""
    median = float(np.median(times))
    return {'median_ms': round(median, 3), 'p95_ms': round(float(np.percentile(times, 95)), 3), 'runs': len(times),
            'fps': round(1e3 / median, 1)}

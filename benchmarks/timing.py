"""Times of calls: alone, or taking turns on the processor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

WARM_UP = 2


def interleaved(calls: Mapping[str, Callable[[], object]], runs: int, digits: int = 1) -> dict[str, float]:
    """Median milliseconds of each call; the calls take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + WARM_UP):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if run >= WARM_UP:
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: round(statistics.median(values), digits) for name, values in times.items()}


def median_seconds(call: Callable[[], object], runs: int) -> float:
    """Median duration of a call, after one to warm up."""
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])

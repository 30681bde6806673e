"""Whether sets come at a pace that meets the past frames a network looks at. Imports no ROS."""

from __future__ import annotations

from occ_perception.catalogue import HistorySpec, NetworkEntry


def missed_ages(history: HistorySpec, max_rate_hz: float) -> tuple[float, ...]:
    """Ages in seconds of past frames that sets 1 / max_rate_hz apart never have within the tolerance; none for 0 (every set)."""
    if not max_rate_hz:
        return ()
    step_s = 1 / max_rate_hz
    return tuple(age for age in history.offsets_s
                 if abs(age - max(round(age / step_s), 1) * step_s) > history.tolerance_s + 1e-6)


def pace_warning(row: NetworkEntry, max_rate_hz: float) -> str:
    """What to tell when max_rate starves a network of its past frames, with the rates that do not; '' when it does not."""
    missed = missed_ages(row.history, max_rate_hz)
    if not missed:
        return ''
    fitting = 1 / row.history.offsets_s[0]
    return (f'max_rate {max_rate_hz:g} gives a set every {1 / max_rate_hz:.3g} s, but {row.name} looks at frames '
            f'{", ".join(f"{age:g}" for age in missed)} s old (within {row.history.tolerance_s:g} s): they will be missing; '
            f'set max_rate to {fitting:g} or a multiple of it')

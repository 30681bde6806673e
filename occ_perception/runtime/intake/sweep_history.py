"""Which earlier sweeps go along with the present one: chosen by age, kept within bounds."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SECOND = 1_000_000_000
DUPLICATE, OUT_OF_ORDER, LATE, TIME_JUMP, OVERFLOW = 'duplicate', 'out_of_order', 'late', 'time_jump', 'overflow'
"""What is counted of sweeps that come otherwise than one after another."""
MOST_SWEEPS = 128
"""Sweeps kept at most, whatever their age: 20 Hz for longer than any network looks back."""


def sweeps_by_age(stamps_ns: Sequence[int], present_ns: int, ages_s: Sequence[float], tolerance_s: float) -> list[int | None]:
    """For each age the stamp of the sweep that stands for it, None where there is none: a function of the stamps alone.

    stamps_ns: in any order; ages_s: seconds before present_ns, the youngest first. The nearest sweep counts, the older of two
    that are equally near; it must lie within the tolerance, before the present one, and serves for one age only.
    """
    left = sorted({stamp for stamp in stamps_ns if stamp < present_ns})
    found: list[int | None] = []
    for age_s in ages_s:
        wanted_ns = present_ns - round(age_s * SECOND)
        nearest = min(left, key=lambda stamp: abs(stamp - wanted_ns), default=None)
        if nearest is None or abs(nearest - wanted_ns) > round(tolerance_s * SECOND):
            found.append(None)
            continue
        left.remove(nearest)
        found.append(nearest)
    return found


@dataclass(frozen=True, order=True)
class _Kept:
    stamp_ns: int
    item: Any = None


class SweepHistory:
    """Sweeps of one LiDAR, kept as long as a network may look back.

    reach_s: ages that are kept. jump_back_ns: a stamp that goes back by more starts time anew (bag loop). most: sweeps at most.
    counts: of sweeps that came otherwise than one after another.
    """

    def __init__(self, reach_s: float, jump_back_ns: int = SECOND // 2, most: int = MOST_SWEEPS) -> None:
        self.reach_ns = round(reach_s * SECOND)
        self.jump_back_ns = jump_back_ns
        self.most = most
        self.counts: Counter[str] = Counter()
        self._kept: list[_Kept] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, stamp_ns: int, item: Any) -> str:
        """Keep a sweep; returns what was counted of it, '' for one that follows the others.

        A DUPLICATE and one that is older than anything looks back (LATE) are not kept; one OUT_OF_ORDER finds its place.
        """
        reason = self._reason(stamp_ns)
        if reason:
            self.counts[reason] += 1
        if reason in (DUPLICATE, LATE):
            return reason
        if reason == TIME_JUMP:
            self._kept.clear()
        insort(self._kept, _Kept(stamp_ns, item), key=lambda kept: kept.stamp_ns)
        earliest = self._kept[-1].stamp_ns - self.reach_ns
        self._kept = [kept for kept in self._kept if kept.stamp_ns >= earliest]
        if len(self._kept) > self.most:
            self.counts[OVERFLOW] += len(self._kept) - self.most
            self._kept = self._kept[-self.most:]
        return reason

    def _reason(self, stamp_ns: int) -> str:
        if not self._kept or stamp_ns > self._kept[-1].stamp_ns:
            return ''
        if any(kept.stamp_ns == stamp_ns for kept in self._kept):
            return DUPLICATE
        behind_ns = self._kept[-1].stamp_ns - stamp_ns
        if behind_ns > self.jump_back_ns:
            return TIME_JUMP
        return LATE if behind_ns > self.reach_ns else OUT_OF_ORDER

    def earlier(self, present_ns: int, ages_s: Sequence[float], tolerance_s: float) -> list[Any]:
        """What was kept of the sweep of each age (see sweeps_by_age), None where there is none."""
        items = {kept.stamp_ns: kept.item for kept in self._kept}
        return [None if stamp is None else items[stamp] for stamp in sweeps_by_age(list(items), present_ns, ages_s, tolerance_s)]

"""Which stamps of a stream are wanted at a limited rate."""

from __future__ import annotations

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


class RateThinner:
    """Chooses which reference stamps are due: the first one, then each at least a period (less slack) after the last due."""

    def __init__(self, max_rate_hz: float, slack_ns: int = 5 * MILLISECOND, jump_back_ns: int = SECOND // 2) -> None:
        self.step_ns = max(round(SECOND / max_rate_hz) - slack_ns, 1) if max_rate_hz else 1
        self.slack_ns = slack_ns if max_rate_hz else 0
        self.jump_back_ns = jump_back_ns
        self.last_due_ns: int | None = None

    def due(self, stamp_ns: int) -> bool:
        """Whether a set is wanted at this reference stamp; stamps must be offered in order, each once."""
        last = self.last_due_ns
        if last is not None and last - self.jump_back_ns <= stamp_ns < last + self.step_ns:
            return False
        self.last_due_ns = stamp_ns
        return True

    @property
    def next_due_ns(self) -> int | None:
        """Earliest stamp that would be due now, or None when any would."""
        return None if self.last_due_ns is None else self.last_due_ns + self.step_ns

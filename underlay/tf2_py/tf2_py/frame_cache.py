"""What is known of one child frame: its pose in its parent frame over time, or once and for all."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from tf2_py.exceptions import ExtrapolationException
from tf2_py.rigid import Rigid, interpolate


class Sample(NamedTuple):
    """Pose of the child in a parent frame."""

    parent: str
    transform: Rigid


def seconds(stamp: int) -> str:
    """Nanoseconds as seconds, for error texts."""
    return f'{stamp / 1e9:.6f}'


class StaticFrame:
    """One pose that holds at any time."""

    latest = oldest = 0
    length = 1

    def __init__(self) -> None:
        self._sample: Sample | None = None

    def insert(self, stamp: int, sample: Sample) -> bool:
        """Replace the pose; always accepted."""
        self._sample = sample
        return True

    def clear(self) -> None:
        """Static poses outlive jumps in time."""

    @property
    def parent(self) -> str | None:
        """Name of the parent frame."""
        return self._sample.parent if self._sample else None

    def at(self, stamp: int) -> Sample:
        """The pose, whatever the time."""
        assert self._sample is not None
        return self._sample


class MovingFrame:
    """Poses by time, the last `span` nanoseconds of them."""

    def __init__(self, span: int) -> None:
        self._span = span
        self._stamps: list[int] = []
        self._samples: list[Sample] = []

    @property
    def latest(self) -> int:
        """Newest stamp, 0 when there is none."""
        return self._stamps[-1] if self._stamps else 0

    @property
    def oldest(self) -> int:
        """Oldest stamp, 0 when there is none."""
        return self._stamps[0] if self._stamps else 0

    @property
    def length(self) -> int:
        """Number of poses held."""
        return len(self._stamps)

    @property
    def parent(self) -> str | None:
        """Name of the newest parent frame, None when nothing is held."""
        return self._samples[-1].parent if self._samples else None

    def insert(self, stamp: int, sample: Sample) -> bool:
        """Add a pose, in any order of time; False when it is older than what is kept. The same pose twice counts once."""
        expired = bisect_right(self._stamps, self.latest - self._span - 1)
        if expired:
            del self._stamps[:expired], self._samples[:expired]
        if self._stamps and stamp < self.latest - self._span:
            return False
        place = bisect_right(self._stamps, stamp)
        same = place
        while same > 0 and self._stamps[same - 1] == stamp:
            same -= 1
            if self._samples[same] == sample:
                return True
        self._stamps.insert(place, stamp)
        self._samples.insert(place, sample)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._stamps.clear()
        self._samples.clear()

    def at(self, stamp: int) -> Sample:
        """The pose at a time in nanoseconds (0: the newest), interpolated; raises ExtrapolationException outside what is held."""
        if stamp == 0 and self._stamps:
            return self._samples[-1]
        if len(self._stamps) < 2 and self._stamps != [stamp]:
            raise ExtrapolationException(f'Lookup would require extrapolation at time {seconds(stamp)}, '
                                         f'but only time {seconds(self.latest)} is in the buffer')
        if stamp > self._stamps[-1]:
            raise ExtrapolationException('Lookup would require extrapolation into the future.  '
                                         f'Requested time {seconds(stamp)} but the latest data is at time {seconds(self.latest)}')
        if stamp < self._stamps[0]:
            raise ExtrapolationException('Lookup would require extrapolation into the past.  '
                                         f'Requested time {seconds(stamp)} but the earliest data is at time {seconds(self.oldest)}')
        if stamp in (self._stamps[-1], self._stamps[0]):
            return self._samples[-1 if stamp == self._stamps[-1] else 0]
        after = bisect_right(self._stamps, stamp)
        before = self._samples[after - 1]
        if self._stamps[after - 1] == stamp:
            return before
        following = self._samples[after]
        if following.parent != before.parent:
            return before
        ratio = (stamp - self._stamps[after - 1]) / (self._stamps[after] - self._stamps[after - 1])
        return Sample(before.parent, interpolate(before.transform, following.transform, ratio))

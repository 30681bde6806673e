"""Remembers the last messages."""

from __future__ import annotations

from typing import Any

from rclpy.time import Time

from message_filters.simple_filter import SimpleFilter, stamp_of


class Cache(SimpleFilter):
    """Keeps the last cache_size messages of a filter, passes each on, and answers questions about their times."""

    def __init__(self, f: SimpleFilter, cache_size: int = 1, allow_headerless: bool = False) -> None:
        super().__init__()
        self.cache_size = cache_size
        self.allow_headerless = allow_headerless
        self.cache_msgs: list[Any] = []
        self.cache_times: list[Time] = []
        self.connectInput(f)

    def connectInput(self, f: SimpleFilter) -> None:
        """Take the messages of a filter."""
        self.incoming_connection = f.registerCallback(self.add)

    def add(self, msg: Any) -> None:
        """Take in one message."""
        stamp = stamp_of(msg, self.allow_headerless, 'message_filters_cache')
        if stamp is None:
            return
        self.cache_msgs.append(msg)
        self.cache_times.append(stamp)
        if len(self.cache_msgs) > self.cache_size:
            del self.cache_msgs[0], self.cache_times[0]
        self.signalMessage(msg)

    def getInterval(self, from_stamp: Time, to_stamp: Time) -> list[Any]:
        """The messages from one time to another, both included."""
        assert from_stamp <= to_stamp, f'the interval ends ({to_stamp}) before it begins ({from_stamp})'
        return [msg for msg, stamp in self._kept() if from_stamp <= stamp <= to_stamp]

    def getElemAfterTime(self, stamp: Time) -> Any:
        """The first message at or after a time, None when there is none."""
        return next((msg for msg, kept in self._kept() if kept >= stamp), None)

    def getElemBeforeTime(self, stamp: Time) -> Any:
        """The last message at or before a time, None when there is none."""
        return next((msg for msg, kept in reversed(self._kept()) if kept <= stamp), None)

    def getLastestTime(self) -> Time | None:
        """Stamp of the last message (the name is the distribution's)."""
        return self.cache_times[-1] if self.cache_times else None

    def getOldestTime(self) -> Time | None:
        """Stamp of the first message kept."""
        return self.cache_times[0] if self.cache_times else None

    def getLast(self) -> Any:
        """The last message, None when there is none."""
        last = self.getLastestTime()
        return None if last is None else self.getElemAfterTime(last)

    def _kept(self) -> list[tuple[Any, Time]]:
        return list(zip(self.cache_msgs, self.cache_times, strict=True))

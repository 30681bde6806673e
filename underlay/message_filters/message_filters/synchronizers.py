"""Bring together messages of several filters by their stamps."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import product
from typing import Any

from rclpy.duration import Duration

from message_filters.simple_filter import SimpleFilter, stamp_of


class TimeSynchronizer(SimpleFilter):
    """Outputs one message of each filter when all carry the same stamp; keeps queue_size messages of each meanwhile."""

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.lock = threading.RLock()
        self.connectInput(fs)

    def connectInput(self, fs: Sequence[SimpleFilter]) -> None:
        """Take the messages of the filters."""
        self.queues: list[dict[int, Any]] = [{} for _ in fs]
        self.input_connections = [f.registerCallback(self.add, queue, index)
                                  for index, (f, queue) in enumerate(zip(fs, self.queues, strict=True))]

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        """Take in one message of one filter."""
        stamp = stamp_of(msg, False, 'message_filters')
        if stamp is None:
            return
        with self.lock:
            self._keep(my_queue, stamp.nanoseconds, msg)
            for common in sorted(set.intersection(*(set(queue) for queue in self.queues))):
                self._emit([common] * len(self.queues))

    def _keep(self, queue: dict[int, Any], stamp: int, msg: Any) -> None:
        queue[stamp] = msg
        while len(queue) > self.queue_size:
            del queue[min(queue)]

    def _emit(self, stamps: Sequence[int]) -> None:
        matched = [queue.pop(stamp) for queue, stamp in zip(self.queues, stamps, strict=True)]
        self.signalMessage(*matched)


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Outputs one message of each filter when their stamps differ by less than slop seconds, nearest first."""

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int, slop: float, allow_headerless: bool = False) -> None:
        self.slop = Duration(seconds=slop)
        self.allow_headerless = allow_headerless
        super().__init__(fs, queue_size)

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        """Take in one message of one filter."""
        time = stamp_of(msg, self.allow_headerless, 'message_filters_approx')
        if time is None:
            return
        stamp, slop = time.nanoseconds, self.slop.nanoseconds
        with self.lock:
            self._keep(my_queue, stamp, msg)
            candidates = []
            for queue in self.queues:
                if queue is my_queue:
                    near = [stamp] if stamp in queue else []
                else:
                    near = sorted((kept for kept in queue if abs(kept - stamp) <= slop), key=lambda kept: abs(kept - stamp))
                candidates.append(near)
            for stamps in product(*candidates):
                if max(stamps) - min(stamps) < slop:
                    self._emit(stamps)
                    return

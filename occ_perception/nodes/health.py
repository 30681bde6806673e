"""Counted reasons, throttled logs and /diagnostics: how a node says that something does not go well."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from occ_perception.nodes import qos

LOG_PERIOD_S = 5.0
LONGEST_FLOW_S = 1000.0
STEADY = Clock(clock_type=ClockType.STEADY_TIME)
"""For timers that must not stand still with simulated time."""
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Health:
    """What a node counts and tells. All methods may be called from any thread.

    describe: called once a second, returns (level, message, values) for /diagnostics; the counts are added to the values.
    clock: stamps the diagnostics; the node's own when not given.
    """

    def __init__(self, node: Node, describe: Callable[[], tuple[bytes, str, Mapping[str, object]]],
                 clock: Clock | None = None) -> None:
        self._node = node
        self._clock = clock or node.get_clock()
        self._describe = describe
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', qos.DIAGNOSTICS)
        self._timer = node.create_timer(1.0, self.publish, clock=STEADY)

    def count(self, stream: str, what: str, many: int = 1) -> None:
        """Count events of a stream."""
        with self._lock:
            self._counts.setdefault(stream, Counter())[what] += many

    def problem(self, stream: str, reason: str, message: str) -> None:
        """Count a dropped frame and warn about it."""
        self.count(stream, reason)
        self.tell(stream, reason, message)

    def tell(self, stream: str, reason: str, message: str) -> None:
        """Warn, at most every few seconds for each stream and reason."""
        key, now = (stream, reason), time.monotonic()
        with self._lock:
            last, silent = self._told.get(key, (-LOG_PERIOD_S, 0))
            if now - last < LOG_PERIOD_S:
                self._told[key] = last, silent + 1
                return
            self._told[key] = now, 0
        more = f' ({silent} more like this since the last report)' if silent else ''
        self._node.get_logger().warning(f'{message} [{reason}]{more}')

    def counts(self, stream: str) -> Counter[str]:
        """A copy of what was counted for a stream."""
        with self._lock:
            return Counter(self._counts.get(stream, ()))

    def publish(self) -> None:
        """Send the present state to /diagnostics."""
        level, message, values = self._describe()
        with self._lock:
            counted = {f'{stream}.{what}': n for stream, counts in self._counts.items() for what, n in counts.items()}
        pairs = [KeyValue(key=key, value=str(value)) for key, value in {**values, **counted}.items()]
        name = self._node.get_fully_qualified_name().lstrip('/')
        status = DiagnosticStatus(level=level, name=f'{name}: status', hardware_id='occ_perception', message=message, values=pairs)
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._clock.now().to_msg()
        self._publisher.publish(array)


class TimeFlow:
    """Tells silence from a clock that stands still: a paused replay sends nothing, and nothing is wrong."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_ns = clock.now().nanoseconds

    def passed(self, seconds: float) -> bool:
        """Whether at least so many seconds passed on the clock since the last call, without having just begun or jumped."""
        last_ns, self._last_ns = self._last_ns, self._clock.now().nanoseconds
        return last_ns > 0 and seconds * 1e9 <= self._last_ns - last_ns < LONGEST_FLOW_S * 1e9


def published_topics(node: Node, *types: str) -> str:
    """Names of the topics of some types that another node publishes, for a message to the user."""
    there = [name for name, kinds in node.get_topic_names_and_types()
             if set(types) & set(kinds) and node.count_publishers(name) and '/occ/' not in name]
    return ', '.join(sorted(there)) or 'none'

"""What every filter is, and the one that messages come in by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import ROSClock
from rclpy.logging import get_logger
from rclpy.time import Time


def stamp_of(message: Any, allow_headerless: bool, logger: str) -> Time | None:
    """Time in a message's header; now, or None after a warning, for a message without one."""
    if not hasattr(message, 'header') or not hasattr(message.header, 'stamp'):
        if allow_headerless:
            return ROSClock().now()
        get_logger(logger).warning(f'{type(message).__name__} has no header with a stamp: left out. '
                                   'With allow_headerless it is taken as of now.')
        return None
    stamp = message.header.stamp
    return stamp if hasattr(stamp, 'nanoseconds') else Time.from_msg(stamp)


class SimpleFilter:
    """Hands its output to registered callbacks."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:
        """Call cb(*output, *args) for each output; returns the number of the connection."""
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg: Any) -> None:
        """Give an output to all callbacks."""
        for callback, extra in list(self.callbacks.values()):
            callback(*msg, *extra)


class Subscriber(SimpleFilter):
    """A subscription as a filter: Subscriber(node, type, topic, qos_profile=10, ...) as Node.create_subscription takes them.

    Attributes not found here are those of the subscription, which is `sub`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.node = args[0]
        self.topic = args[2]
        kwargs.setdefault('qos_profile', 10)
        self.sub = self.node.create_subscription(*args[1:], self.callback, **kwargs)

    def callback(self, msg: Any) -> None:
        """Pass a message on."""
        self.signalMessage(msg)

    def getTopic(self) -> str:
        """The topic as given."""
        return self.topic

    def __getattr__(self, key: str) -> Any:
        if key == 'sub':
            raise AttributeError(key)
        return getattr(self.sub, key)

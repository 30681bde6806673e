"""Running nodes: one alone with its own executor, and a clean end on SIGINT, also when it comes twice."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from occ_perception.nodes.dds import use_default_profile
from occ_perception.nodes.parameters import ParameterError


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets; more signals while things come to an end change nothing."""
    stop = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if handler is signal.default_int_handler else handler)


class Spinner:
    """A node that is spun in a thread of its own.

    An executor looks at all of its entities each time it wakes up, so one for each node costs a fraction of one for all; a
    MultiThreadedExecutor costs several times as much (measured).
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name=node.get_name(), daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while self.node.context.ok():
            try:
                self._executor.spin()
                return
            except ExternalShutdownException:
                return
            except Exception as error:
                if not self.node.context.ok():
                    return
                # A callback let something through: say it and go on, one bad message must not end the node.
                self.node.get_logger().error(f'unexpected {type(error).__name__} in a callback: {error}')

    def close(self) -> None:
        """Stop spinning and destroy the node."""
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(timeout=2.0)
        self.node.destroy_node()


def side_node(name: str, namespace: str, context: Context | None, parameters: Sequence[Parameter] = ()) -> Node:
    """A small node that helps another one; keeps its name when the process's node is renamed, follows other remappings."""
    return Node(name, namespace=namespace or None, context=context, start_parameter_services=False, enable_rosout=False,
                parameter_overrides=list(parameters),
                cli_args=['--ros-args', '-r', f'__node:={name}', '-r', f'__ns:={namespace or "/"}'])


def run_node(make: Callable[[], Node], args: list[str] | None = None, ready: Callable[[Any], object] | None = None) -> int:
    """Run one node until it is told to stop; returns the exit status (2 for a bad parameter).

    ready: called with the node once it spins. A node with an attribute `finished` (threading.Event) ends when that is set.
    """
    use_default_profile()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    status = 0
    with stop_on_signal() as stop:
        try:
            node = make()
        except (ParameterError, ValueError, FileNotFoundError) as error:
            print(error, file=sys.stderr)
            rclpy.try_shutdown()
            return 2
        spinner = Spinner(node)
        if ready is not None:
            ready(node)
        finished: threading.Event = getattr(node, 'finished', threading.Event())
        while not stop.wait(0.1) and not finished.is_set() and node.context.ok():
            pass
        spinner.close()
        rclpy.try_shutdown()
    return status

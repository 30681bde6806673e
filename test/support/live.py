"""Running nodes in tests: a ROS domain of one's own, waiting for things, child processes that are ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from occ_perception.nodes.composition import Composition
from occ_perception.nodes.dds import use_default_profile
from occ_perception.nodes.running import Spinner

SUPPORT = Path(__file__).resolve().parent
DOMAIN = 1 + os.getpid() % 100
"""ROS domain of this test process; children inherit it by environment()."""


def environment(**changes: str) -> dict[str, str]:
    """Environment of a child process in this test's domain."""
    path = os.pathsep.join([str(SUPPORT), os.environ.get('PYTHONPATH', '')])
    return {**os.environ, 'ROS_DOMAIN_ID': str(DOMAIN), 'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1', **changes}


@contextlib.contextmanager
def ros() -> Iterator[Context]:
    """A context of its own in this test's domain."""
    use_default_profile()
    context = Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    try:
        yield context
    finally:
        rclpy.try_shutdown(context=context)


@contextlib.contextmanager
def running(specs, context: Context, make, namespace: str = '') -> Iterator[Composition]:
    """A composition that is closed at the end."""
    composition = Composition(specs, namespace, context, make)
    try:
        yield composition
    finally:
        composition.close()


class Ear(Node):
    """Collects messages of some topics; spins by itself."""

    def __init__(self, context: Context, name: str = 'ear', **topics) -> None:
        super().__init__(name, context=context)
        self.heard: dict[str, list] = {name: [] for name in topics}
        self.arrived = threading.Condition()
        for key, (kind, topic, profile) in topics.items():
            self.create_subscription(kind, topic, lambda message, key=key: self._take(key, message), profile)
        self._spinner = Spinner(self)

    def _take(self, key: str, message) -> None:
        with self.arrived:
            self.heard[key].append(message)
            self.arrived.notify_all()

    def wait(self, done: Callable[[dict[str, list]], bool], timeout_s: float = 20.0) -> bool:
        """Whether done(heard) became true in time."""
        with self.arrived:
            return self.arrived.wait_for(lambda: done(self.heard), timeout_s)

    def close(self) -> None:
        self._spinner.close()


def until(done: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Whether a condition became true in time."""
    end = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def child(*arguments: str, **options) -> Iterator[subprocess.Popen]:
    """A Python child process in this test's domain, interrupted and reaped at the end."""
    process = subprocess.Popen([sys.executable, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def node_code(module: str, parameters: dict, make: bool = False) -> str:
    """Code that runs the main of one node's module with parameters; make: with the fake predictor."""
    arguments = ['--ros-args']
    for name, value in parameters.items():
        arguments += ['-p', f'{name}:={json.dumps(value)}']
    setup = 'import fake_predictor; module.make_predictor = fake_predictor.make\n' if make else ''
    return f'import sys\nfrom occ_perception.nodes import {module} as module\n{setup}sys.exit(module.main({arguments!r}))'

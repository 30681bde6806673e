"""How long transforms are waited for."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from occ_perception.nodes import poses
from occ_perception.nodes.poses import Patience


class Clock:
    """ROS time that is set by hand."""

    def __init__(self) -> None:
        self.nanoseconds = 5_000_000_000

    def now(self) -> SimpleNamespace:
        return SimpleNamespace(nanoseconds=self.nanoseconds)


def test_the_wait_ends_by_ros_time_by_a_jump_and_when_told() -> None:
    for shift_ns in (200_000_000, -1):
        clock = Clock()
        patience = Patience(clock, 0.2, threading.Event())
        assert not patience.over()
        clock.nanoseconds += shift_ns
        assert patience.over()
    stopping = threading.Event()
    patience = Patience(Clock(), 0.2, stopping)
    stopping.set()
    assert patience.over()


def test_it_ends_while_ros_time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a replay whose bag is paused for the set that waits here."""
    wall_s = [100.0]
    monkeypatch.setattr(poses, 'time', SimpleNamespace(monotonic=lambda: wall_s[0]))
    patience, longer = Patience(Clock(), 0.2, threading.Event()), Patience(Clock(), 30.0, threading.Event())
    wall_s[0] += poses.WALL_TIMEOUT_S - 0.01
    assert not patience.over()
    wall_s[0] += 0.02
    assert patience.over() and not longer.over()
    wall_s[0] += 60
    assert longer.over()

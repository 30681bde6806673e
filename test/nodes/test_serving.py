"""Two frames under way: one is prepared and computed while the one before is finished and delivered; nothing is lost or swapped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from live import until

from occ_perception.catalogue import entry
from occ_perception.nodes.exchange import Lazy, Sweep
from occ_perception.nodes.poses import PoseError
from occ_perception.nodes.serving import Served, Serving, Tally
from occ_perception.runtime.frames import OccupancyPrediction, PendingPrediction, SensorFrame
from occ_perception.runtime.intake.assembly import AssemblyRules

TICK = 100_000_000
PATIENCE_S = 5.0


class Gates:
    """A predictor each of whose halves waits until it is let through; log tells what was called, in order.

    let: (half, number of the stamp) -> event; what is not in it goes through. breaks: halves that raise.
    """

    def __init__(self, network: str = 'scocc_sample') -> None:
        self.entry, self.news = entry(network), ''
        self.log: list[tuple[str, int]] = []
        self.let: dict[tuple[str, int], threading.Event] = {}
        self.breaks: set[tuple[str, int]] = set()

    def hold(self, half: str, number: int) -> threading.Event:
        return self.let.setdefault((half, number), threading.Event())

    def _pass(self, half: str, number: int) -> None:
        self.log.append((half, number))
        if (half, number) in self.let:
            assert self.let[half, number].wait(PATIENCE_S)
        if (half, number) in self.breaks:
            raise RuntimeError('out of memory')

    def submit(self, frame: SensorFrame) -> PendingPrediction:
        number = frame.stamp_ns // TICK
        self._pass('submit', number)

        def result() -> OccupancyPrediction:
            self._pass('result', number)
            return OccupancyPrediction(frame.stamp_ns, self.entry.name, self.entry.grid, np.zeros((1, 1, 1), np.uint8),
                                       np.zeros((1, 1, 1), np.uint16), (), {}, timings_ms={'network': 1.0})
        return PendingPrediction(result)

    def reset(self) -> None:
        self.log.append(('reset', 0))


class Quiet:
    """Health that only remembers."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, str]] = []

    def count(self, stream: str, what: str, many: int = 1) -> None:
        self.counted.append((stream, what))

    def problem(self, stream: str, reason: str, message: str) -> None:
        self.counted.append((stream, reason))

    def tell(self, stream: str, reason: str, message: str) -> None:
        """Nobody listens."""


class Poses:
    """Everything stands still; stamps in `unknown` have no pose."""

    def __init__(self) -> None:
        self.unknown: set[int] = set()

    def fixed_from_ego(self, stamp_ns: int, patience: Any) -> np.ndarray:
        if stamp_ns in self.unknown:
            raise PoseError('no transform')
        return np.eye(4)


class Stage:
    """A Serving of LiDAR references alone, with what it delivered."""

    def __init__(self, backlog: int = 1) -> None:
        self.poses, self.health, self.predictor = Poses(), Quiet(), Gates()
        self.delivered: list[Served] = []
        self.deliver_breaks = False
        clock = SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=time.monotonic_ns()))
        rules = AssemblyRules((), max_rate_hz=0.0, min_cameras=0)
        self.serving = Serving(rules, self.poses, self._deliver, self.health, clock, 0.01, backlog)
        self.serving.load(lambda: self.predictor)
        self.serving.open()

    def _deliver(self, served: Served) -> None:
        if self.deliver_breaks:
            raise RuntimeError('no publisher')
        self.delivered.append(served)

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.serving.take_sweep(Sweep(number * TICK, Lazy(tuple)))

    def saw(self, *called: tuple[str, int]) -> bool:
        return until(lambda: all(call in self.predictor.log for call in called), PATIENCE_S)

    def numbers(self) -> list[int]:
        return [served.prediction.stamp_ns // TICK for served in self.delivered]

    def settled(self) -> Tally:
        """The tally once every due reference was published or dropped."""
        def done(tally: Tally) -> bool:
            return tally.published + sum(tally.dropped.values()) == tally.due

        assert until(lambda: done(self.serving.tally()), PATIENCE_S), self.serving.tally()
        return self.serving.tally()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    for event in made.predictor.let.values():
        event.set()
    made.serving.stop()


def test_the_next_frame_is_submitted_while_one_is_finished(stage: Stage) -> None:
    release = stage.predictor.hold('result', 1)
    stage.send(1)
    assert stage.saw(('result', 1))
    stage.send(2)
    assert stage.saw(('submit', 2))
    tally = stage.serving.tally()
    assert (tally.due, tally.published, tally.settled_until_ns) == (2, 0, TICK - 1)
    time.sleep(0.05)
    release.set()
    tally = stage.settled()
    assert stage.numbers() == [1, 2]
    assert (tally.published, dict(tally.dropped), tally.settled_until_ns) == (2, {}, 2 * TICK)
    assert tally.processing_ms[0] >= 50
    assert set(stage.delivered[0].stages_ms) == {'poses', 'pictures', 'network'}


def test_two_frames_are_under_way_at_most_and_the_oldest_that_wait_are_dropped(stage: Stage) -> None:
    release = stage.predictor.hold('result', 1)
    stage.send(1)
    assert stage.saw(('result', 1))
    stage.send(2)
    assert stage.saw(('submit', 2))
    stage.send(3, 4, 5)
    assert until(lambda: stage.serving.tally().dropped['busy'] == 1, PATIENCE_S)
    assert ('submit', 4) not in stage.predictor.log
    release.set()
    tally = stage.settled()
    assert stage.numbers() == [1, 2, 4, 5]
    assert (tally.due, tally.published, dict(tally.dropped)) == (5, 4, {'busy': 1})


def test_a_reset_waits_for_the_next_submission_and_what_is_under_way_goes_out(stage: Stage) -> None:
    release = stage.predictor.hold('result', 1)
    stage.send(1)
    assert stage.saw(('result', 1))
    stage.serving.forget()
    stage.send(2)
    assert stage.saw(('submit', 2))
    assert stage.predictor.log == [('submit', 1), ('result', 1), ('reset', 0), ('submit', 2)]
    release.set()
    assert stage.settled().published == 2
    assert stage.health.counted == [('memory', 'reset')]


def test_time_that_jumps_back_resets_between_two_frames_under_way(stage: Stage) -> None:
    release = stage.predictor.hold('result', 50)
    stage.send(50)
    assert stage.saw(('result', 50))
    stage.send(20)
    assert stage.saw(('submit', 20))
    assert stage.predictor.log == [('submit', 50), ('result', 50), ('reset', 0), ('submit', 20)]
    assert stage.serving.tally().settled_until_ns == 20 * TICK - 1
    release.set()
    assert stage.settled().published == 2
    assert stage.numbers() == [50, 20]
    assert stage.health.counted == [('memory', 'time_jump')]


def test_closing_drops_what_waits_and_delivers_what_is_under_way(stage: Stage) -> None:
    release = stage.predictor.hold('result', 1)
    stage.send(1)
    assert stage.saw(('result', 1))
    stage.send(2)
    assert stage.saw(('submit', 2))
    stage.send(3)
    assert until(lambda: len(stage.serving._ready) == 1, PATIENCE_S)
    stage.serving.close()
    stage.send(4)
    release.set()
    tally = stage.settled()
    assert (tally.due, tally.published, dict(tally.dropped)) == (3, 2, {'inactive': 1})
    stage.serving.open()
    stage.send(5)
    assert stage.saw(('submit', 5))
    assert stage.predictor.log.index(('reset', 0)) == stage.predictor.log.index(('submit', 5)) - 1
    assert stage.settled().published == 3
    assert stage.numbers() == [1, 2, 5]


def test_stopping_waits_for_what_is_under_way(stage: Stage) -> None:
    release = stage.predictor.hold('result', 1)
    stage.send(1)
    assert stage.saw(('result', 1))
    stage.send(2)
    assert stage.saw(('submit', 2))
    stopper = threading.Thread(target=stage.serving.stop)
    stopper.start()
    stopper.join(0.1)
    assert stopper.is_alive()
    release.set()
    stopper.join(PATIENCE_S)
    assert not stopper.is_alive()
    assert stage.numbers() == [1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(('delivery', 'prediction'))]


@pytest.mark.parametrize(('half', 'reason'), [('submit', 'prediction_error'), ('result', 'prediction_error'),
                                              ('publish', 'publish_error'), ('pose', 'no_pose')])
def test_whichever_half_fails_is_counted_once_and_the_next_frame_served(stage: Stage, half: str, reason: str) -> None:
    stage.predictor.breaks.add((half, 1))
    stage.deliver_breaks = half == 'publish'
    stage.poses.unknown = {TICK} if half == 'pose' else set()
    stage.send(1)
    tally = stage.settled()
    assert (tally.due, dict(tally.dropped), tally.settled_until_ns) == (1, {reason: 1}, TICK)
    stage.deliver_breaks = False
    stage.send(2)
    tally = stage.settled()
    assert (tally.due, tally.published, dict(tally.dropped)) == (2, 1, {reason: 1})
    assert stage.numbers() == [2]


def test_a_frame_that_fails_at_once_does_not_settle_the_one_before_it(stage: Stage) -> None:
    release = stage.predictor.hold('result', 1)
    stage.predictor.breaks.add(('submit', 2))
    stage.send(1)
    assert stage.saw(('result', 1))
    stage.send(2)
    assert until(lambda: stage.serving.tally().dropped['prediction_error'] == 1, PATIENCE_S)
    assert stage.serving.tally().settled_until_ns == TICK - 1
    release.set()
    assert stage.settled().settled_until_ns == 2 * TICK


def test_another_predictor_takes_over_after_what_is_under_way(stage: Stage) -> None:
    release = stage.predictor.hold('result', 1)
    stage.send(1)
    assert stage.saw(('result', 1))
    other = Gates('scocc-r50')
    loaded: list[str] = []
    loader = threading.Thread(target=lambda: loaded.append(stage.serving.load(lambda: other).name))
    loader.start()
    assert until(lambda: stage.serving._predictor is other, PATIENCE_S)
    stage.send(2)
    loader.join(0.1)
    assert not loaded and not other.log
    release.set()
    loader.join(PATIENCE_S)
    assert loaded == ['scocc-r50']
    assert stage.settled().published == 2
    assert [served.prediction.network for served in stage.delivered] == ['scocc_sample', 'scocc-r50']


def test_a_burst_of_frames_is_delivered_in_order(stage: Stage) -> None:
    """Slow in both halves: what is published stays in order, and each reference ends once."""
    def slow(call: Callable[..., Any]) -> Callable[..., Any]:
        def wait_first(*arguments: Any) -> Any:
            time.sleep(0.002)
            return call(*arguments)
        return wait_first

    stage.predictor.submit, stage.serving._deliver = slow(stage.predictor.submit), slow(stage.serving._deliver)
    for number in range(1, 61):
        stage.send(number)
        time.sleep(0.001)
    tally = stage.settled()
    assert stage.numbers() == sorted(set(stage.numbers()))
    assert tally.due == 60 and tally.published == len(stage.delivered) >= 10
    assert set(tally.dropped) <= {'busy'}

"""From frames to predictions, in two threads: one takes complete sets, waits for their poses and hands them to the network, the
other waits for its answers and delivers them.

So one frame is prepared and computed while the one before is finished and published. Order is kept, and two are under way at most.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from rclpy.clock import Clock

from occ_perception.catalogue import NetworkEntry
from occ_perception.nodes.exchange import CameraFrame, Sweep
from occ_perception.nodes.health import Health
from occ_perception.nodes.poses import Patience, PoseError, Poses
from occ_perception.runtime.fallback import InputMissing
from occ_perception.runtime.frames import CameraImage, LidarSweep, OccupancyPrediction, PendingPrediction, SensorFrame
from occ_perception.runtime.intake.assembly import (
    LIDAR,
    RESET,
    TIME_JUMP,
    TOO_FEW_CAMERAS,
    AssembledSet,
    Assembler,
    AssemblyRules,
)

POLL_S = 0.01
IDLE_S = 0.5
SET_WALL_TIMEOUT_S = 3.0
"""Longest wait for the pictures of a set while ROS time stands still; longer ones by parameter."""
MOST_UNDER_WAY = 2
"""Sets that were taken and have neither been published nor dropped; engines have room for no more."""
BUSY = 'busy'
NO_POSE = 'no_pose'
PREDICTION_ERROR, PUBLISH_ERROR = 'prediction_error', 'publish_error'
INACTIVE = 'inactive'
FALLBACK = 'fallback'
"""Stream under which it is counted what frames lacked."""
MEMORY = 'memory'
"""Stream under which it is counted why past frames were forgotten."""
DURATIONS_KEPT = 200


class PredictorLike(Protocol):
    """What serving needs of a Predictor."""

    entry: NetworkEntry

    @property
    def news(self) -> str:
        """What is to be told of its engine; '' when nothing is."""

    def submit(self, frame: SensorFrame) -> PendingPrediction:
        """Begin with a frame; the result is taken in another thread, in the order of the frames."""

    def reset(self) -> None:
        """Forget past frames before the next one that is submitted."""


@dataclass(frozen=True)
class Served:
    """A prediction with the duration of every stage in milliseconds, from the reference's arrival on."""

    prediction: OccupancyPrediction
    stages_ms: dict[str, float]


@dataclass(frozen=True)
class _UnderWay:
    """A set in the hands of the network. marks: (stage, end of it by time.perf_counter) since it was taken."""

    stamp_ns: int
    marks: list[tuple[str, float]]
    pending: PendingPrediction


@dataclass
class Tally:
    """What became of the due references so far; times in milliseconds.

    settled_until_ns: every reference up to this stamp has its grid, or never will; 0 before the first. past_ages_s: of the past
    frames that the newest grid was made with, None for those that were not known; incomplete: grids that lacked one. news: of the
    engine, such as how far its build is. stood_in: due references that a camera gave in place of the LiDAR. fallback: what the
    newest grid's frame lacked (see runtime.fallback), '' for nothing; network: which made it.
    """

    due: int
    published: int
    dropped: Counter[str]
    frames: dict[str, Counter[str]]
    processing_ms: list[float]
    settled_until_ns: int
    past_ages_s: tuple[float | None, ...] = ()
    incomplete: int = 0
    news: str = ''
    stood_in: int = 0
    fallback: str = ''
    network: str = ''


class Serving:
    """Frames in (from any thread), predictions out (from the delivery thread, through `deliver`).

    clock: tells deadlines. backlog: complete sets that may wait while the network is busy, beside those under way. Every due
    reference ends in exactly one of `published` and `dropped`.
    """

    def __init__(self, rules: AssemblyRules, poses: Poses, deliver: Callable[[Served], None], health: Health,
                 clock: Clock, tf_timeout_s: float, backlog: int = 1,
                 jumped_back: Callable[[], None] = lambda: None) -> None:
        self._assembler = Assembler(rules)
        self._poses = poses
        self._deliver = deliver
        self._health = health
        self._clock = clock
        self._tf_timeout_s = tf_timeout_s
        self._backlog = backlog
        self._ready: deque[tuple[int, AssembledSet]] = deque()
        self._jumped_back = jumped_back
        self._condition = threading.Condition()
        self._open = False
        self._worker: threading.Thread | None = None
        self._predictor: PredictorLike | None = None
        self._stopping = threading.Event()
        self._dropped: Counter[str] = Counter()
        self._published = 0
        self._processing_ms: deque[float] = deque(maxlen=DURATIONS_KEPT)
        self._under_way_ns: list[int] = []
        self._reset_why = ''
        self._jumps_seen = self._jumps_served = 0
        self._past_ages_s: tuple[float | None, ...] = ()
        self._incomplete = 0
        self._fallback = self._made_by = ''
        self._oldest: tuple[int | None, float] = (None, 0.0)

    def load(self, make: Callable[[], PredictorLike]) -> NetworkEntry:
        """Make a predictor in a worker thread of its own and serve it from then on; the present one serves until then.

        Raises what making it raised.
        """
        ready: Future[NetworkEntry] = Future()
        worker = threading.Thread(target=self._run, args=(make, ready), name='prediction', daemon=True)
        worker.start()
        return ready.result()

    def open(self) -> None:
        """Take frames from now on."""
        with self._condition:
            self._assembler.reset()
            self._open = True

    def close(self) -> None:
        """Take no more frames; predictions under way are still delivered."""
        with self._condition:
            self._open = False
            self._assembler.reset(INACTIVE)
            self._dropped[INACTIVE] += len(self._ready)
            self._ready.clear()
            self._reset_why = INACTIVE

    def stop(self) -> None:
        """End the threads for good, once predictions under way have been delivered."""
        self._stopping.set()
        with self._condition:
            self._open = False
            worker, self._worker = self._worker, None
            self._condition.notify_all()
        if worker is not None:
            worker.join()

    def forget(self) -> None:
        """Reset the network's memory before the next prediction."""
        with self._condition:
            self._reset_why = RESET

    def change_rules(self, rules: AssemblyRules) -> None:
        """Assemble by other rules from now on."""
        with self._condition:
            self._assembler.change_rules(rules)

    def _now_ns(self) -> int:
        return self._clock.now().nanoseconds

    def take_camera(self, frame: CameraFrame) -> None:
        """Take one picture; it is decoded now only if a set may want it."""
        with self._condition:
            if not self._open:
                return
            if frame.camera not in self._assembler.frames:
                self._health.problem(frame.camera, 'unknown_camera', f'camera {frame.camera} is not in the parameter cameras')
                return
            if self._assembler.wanted(frame.camera, frame.stamp_ns):
                frame.picture.start()
            self._assembler.add(frame.camera, frame.stamp_ns, frame, self._now_ns())
            if self._assembler.pending:
                self._condition.notify_all()

    def take_sweep(self, sweep: Sweep) -> None:
        """Take one LiDAR reading; the reference when the rules say so."""
        with self._condition:
            if self._open and self._assembler.rules.reference == LIDAR:
                self._assembler.add(LIDAR, sweep.stamp_ns, sweep, self._now_ns())
                self._condition.notify_all()

    def tally(self) -> Tally:
        """Counts since the start and the last processing times."""
        with self._condition:
            assembler = self._assembler
            return Tally(assembler.due, self._published, assembler.dropped + self._dropped,
                         {name: Counter(counts) for name, counts in assembler.frames.items()}, list(self._processing_ms),
                         self._settled_until_ns(), self._past_ages_s, self._incomplete,
                         '' if self._predictor is None else self._predictor.news, assembler.stood_in, self._fallback, self._made_by)

    def _settled_until_ns(self) -> int:
        unsettled = [*self._under_way_ns, *(made.stamp_ns for _, made in self._ready)]
        if self._assembler.oldest_ns is not None:
            unsettled.append(self._assembler.oldest_ns)
        return min(unsettled) - 1 if unsettled else self._assembler.newest_ns or 0

    def _run(self, make: Callable[[], PredictorLike], ready: Future) -> None:
        try:
            predictor = make()
        except BaseException as error:
            ready.set_exception(error)
            return
        me = threading.current_thread()
        with self._condition:
            before, self._worker, self._predictor = self._worker, me, predictor
            self._condition.notify_all()
        if before is not None:
            before.join()
        ready.set_result(predictor.entry)
        with ThreadPoolExecutor(1, 'delivery') as delivery:
            while (taken := self._next(me)) is not None:
                made, reset_why = taken
                if reset_why:
                    predictor.reset()
                    self._health.count(MEMORY, reset_why)
                begun = self._begin(predictor, made)
                if begun is not None:
                    delivery.submit(self._finish, begun)

    def _next(self, me: threading.Thread) -> tuple[AssembledSet, str] | None:
        """The next complete set, waited for, and why the memory must be reset before it ('' when it must not).

        It counts as under way from then on. Sets beyond the backlog count as dropped. None when the worker must end.
        """
        assembler = self._assembler
        with self._condition:
            while self._worker is me:
                before = assembler.dropped.copy()
                complete = assembler.poll(self._now_ns(), self._waited_too_long())
                self._ready += [(assembler.jumps, made) for made in complete]
                for reason in assembler.dropped - before:
                    self._health.tell('sets', reason, 'set dropped before it was complete')
                if assembler.jumps != self._jumps_seen:
                    self._jumps_seen = assembler.jumps
                    self._jumped_back()
                while len(self._ready) > self._backlog + 1:
                    self._ready.popleft()
                    self._dropped[BUSY] += 1
                    self._health.tell('sets', BUSY, 'set dropped: the network is slower than sets come; lower max_rate')
                if self._ready and len(self._under_way_ns) < MOST_UNDER_WAY:
                    jumps, made = self._ready.popleft()
                    self._under_way_ns.append(made.stamp_ns)
                    reset_why, self._reset_why = self._reset_why, ''
                    if jumps != self._jumps_served:
                        self._jumps_served, reset_why = jumps, TIME_JUMP
                    return made, reset_why
                self._condition.wait(POLL_S if assembler.pending else IDLE_S)
        return None

    def _waited_too_long(self) -> bool:
        """Whether the oldest reference has waited so long by this computer's clock that ROS time seems to stand still."""
        oldest = self._assembler.oldest_ns
        if oldest != self._oldest[0]:
            self._oldest = oldest, time.monotonic()
        limit_s = max(SET_WALL_TIMEOUT_S, 2e-9 * self._assembler.rules.deadline_ns)
        return oldest is not None and time.monotonic() - self._oldest[1] > limit_s

    def _settle(self, stamp_ns: int) -> None:
        """A set is no longer under way; to be called with the lock held."""
        self._under_way_ns.remove(stamp_ns)
        self._condition.notify_all()

    def _drop(self, stamp_ns: int, reason: str, why: object) -> None:
        """Count a set that was under way as dropped, and tell."""
        with self._condition:
            self._dropped[reason] += 1
            self._settle(stamp_ns)
        self._health.tell('sets', reason, f'set at {stamp_ns / 1e9:.3f} s dropped: {why}')

    def _begin(self, predictor: PredictorLike, made: AssembledSet) -> _UnderWay | None:
        """Prepare a set and hand it to the network; None where it was dropped."""
        marks = [('', time.perf_counter())]
        for name, why in made.missing.items():
            self._health.problem(name, f'absent_{why}', f'set goes out without {name}')
        try:
            frame = self._frame(predictor, made, marks)
            if len(frame.cameras) >= self._assembler.rules.min_cameras:
                return _UnderWay(made.stamp_ns, marks, predictor.submit(frame))
            self._drop(made.stamp_ns, TOO_FEW_CAMERAS,
                       f'{len(frame.cameras)} usable cameras, min_cameras is {self._assembler.rules.min_cameras}')
        except PoseError as error:
            self._drop(made.stamp_ns, NO_POSE, error)
        except InputMissing as error:
            self._drop(made.stamp_ns, error.lacking, error)
        except Exception as error:
            self._drop(made.stamp_ns, PREDICTION_ERROR, f'{type(error).__name__}: {error}')
        return None

    def _finish(self, begun: _UnderWay) -> None:
        """Wait for the network's answer and deliver it."""
        try:
            prediction = begun.pending.result()
        except Exception as error:
            self._drop(begun.stamp_ns, PREDICTION_ERROR, f'{type(error).__name__}: {error}')
            return
        try:
            self._tell_of(prediction)
            stages = {name: 1e3 * (after - before) for (_, before), (name, after) in pairwise(begun.marks)}
            self._deliver(Served(prediction, stages | prediction.timings_ms))
        except Exception as error:
            self._drop(begun.stamp_ns, PUBLISH_ERROR, f'{type(error).__name__}: {error}')
            return
        with self._condition:
            self._published += 1
            self._past_ages_s = tuple((prediction.stamp_ns - past) * 1e-9 if past else None for past in prediction.past_stamps_ns)
            self._incomplete += None in self._past_ages_s
            self._fallback, self._made_by = prediction.fallback, prediction.network
            self._processing_ms.append(1e3 * (time.perf_counter() - begun.marks[0][1]))
            self._settle(begun.stamp_ns)

    def _tell_of(self, prediction: OccupancyPrediction) -> None:
        """Count and tell what a prediction was made without."""
        if prediction.forgotten:
            self._health.problem(MEMORY, prediction.forgotten, f'past frames forgotten before {prediction.stamp_ns / 1e9:.3f} s')
        if prediction.fallback:
            other = prediction.network != prediction.intended
            self._health.problem(FALLBACK, prediction.fallback, f'{prediction.network} serves ' + (
                f'in place of {prediction.intended}' if other else 'with that input masked'))

    def _frame(self, predictor: PredictorLike, made: AssembledSet, marks: list[tuple[str, float]]) -> SensorFrame:
        """SensorFrame of a set: poses from tf, decoded pictures; cameras that lack one are left out. Raises PoseError."""
        for reading in made.cameras.values():
            reading.item.picture.start()
        patience = Patience(self._clock, self._tf_timeout_s, self._stopping)
        fixed_from_ego = self._poses.fixed_from_ego(made.stamp_ns, patience)
        placed: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name, reading in made.cameras.items():
            try:
                placed[name] = (self._poses.ego_from_sensor(reading.item.frame_id, reading.stamp_ns, patience),
                                self._poses.fixed_from_ego(reading.stamp_ns, patience))
            except PoseError as error:
                self._health.problem(name, NO_POSE, f'{name} left out of a set: {error}')
        marks.append(('poses', time.perf_counter()))
        cameras = {}
        for name, (ego_from_camera, camera_pose) in placed.items():
            reading = made.cameras[name]
            try:
                image, intrinsics = reading.item.picture.result()
            except Exception:  # counted and told by the node that decodes
                self._health.count(name, 'left_out')
                continue
            cameras[name] = CameraImage(name, reading.stamp_ns, image, intrinsics, ego_from_camera, camera_pose)
        sweeps = self._sweeps(made.reference.item) if predictor.entry.lidar is not None else ()
        marks.append(('pictures', time.perf_counter()))
        return SensorFrame(made.stamp_ns, fixed_from_ego, cameras, sweeps)

    def _sweeps(self, item: object) -> tuple[LidarSweep, ...]:
        """Sweeps of a LiDAR reference; none when it is a camera or its points cannot be used."""
        if not isinstance(item, Sweep):
            return ()
        try:
            return item.sweeps.result()
        except Exception:  # counted and told by the node that moves the points
            self._health.count('sweeps', 'left_out')
            return ()

"""Set assembly: which camera frames go with which reference reading, by stamps alone.

Plain logic with an explicit clock: no threads, no I/O, no ROS. A set is anchored on a reference stream (the LiDAR or one of
the cameras). Which frame of a camera belongs to a reference is a function of the stamps only, never of the order or jitter of
arrival; arrival time matters only for the deadline, after which a set goes out without the cameras that have not come.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Any

from occ_perception.runtime.intake.rate_thinner import MILLISECOND, SECOND, RateThinner

LIDAR = 'lidar'
"""Name of the LiDAR as a stream."""

IN_SET = 'in_set'
NOT_DUE = 'not_due'
REPLACED = 'replaced'
LATE = 'late'
OUT_OF_TOLERANCE = 'out_of_tolerance'
DUPLICATE = 'duplicate'
OUT_OF_ORDER = 'out_of_order'
TIME_JUMP = 'time_jump'
RESET = 'reset'
OVERFLOW = 'overflow'
SILENT = 'silent'
TOO_FEW_CAMERAS = 'too_few_cameras'

INTERVALS_KEPT = 8
EMITTED_KEPT = 8


@dataclass(frozen=True)
class CameraRule:
    """How frames of one camera are matched: wanted at reference stamp + offset_ns, at most tolerance_ns away from that."""

    name: str
    offset_ns: int = 0
    tolerance_ns: int = 50 * MILLISECOND


@dataclass(frozen=True)
class AssemblyRules:
    """All that decides what goes into a set.

    reference: name of the anchoring stream; a camera's name makes that camera the anchor. stand_ins: cameras that anchor sets
    while the reference is silent, each while those before it are silent too; a stream is silent after lost_after_ns of stamp time
    without it, or two and a half of its usual intervals if that is longer. max_rate_hz: sets per second of stamp time at most, 0
    for every reference. deadline_ns: a set goes out at the latest this long after its reference arrived. min_cameras: sets with
    fewer are dropped; 0 with a LiDAR as the reference only. silent_after_ns: a camera not heard for so long is not waited for.
    jump_back_ns: a stamp that goes back by more starts time anew (bag loop). slack_ns: jitter allowed in the reference's period.
    capacity: frames kept for each camera; max_pending: references waiting for their cameras.
    """

    cameras: tuple[CameraRule, ...]
    reference: str = LIDAR
    stand_ins: tuple[str, ...] = ()
    lost_after_ns: int = SECOND // 2
    max_rate_hz: float = 5.0
    deadline_ns: int = 100 * MILLISECOND
    min_cameras: int = 1
    silent_after_ns: int = SECOND
    jump_back_ns: int = SECOND // 2
    slack_ns: int = 5 * MILLISECOND
    capacity: int = 32
    max_pending: int = 8

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.cameras]
        anchored = self.reference not in names
        if (not names and not anchored) or len(set(names)) != len(names):
            raise ValueError(f'cameras must be a non-empty list of different names, got {names}')
        if not (0 if anchored else 1) <= self.min_cameras <= len(names):
            raise ValueError(f'min_cameras is {self.min_cameras}, must be {0 if anchored else 1} ... {len(names)} (the number of '
                             'cameras)')
        odd = [name for name in self.stand_ins if name not in names or not anchored]
        if odd or len(set(self.stand_ins)) != len(self.stand_ins):
            raise ValueError(f'{", ".join(odd or self.stand_ins)} cannot stand in for the reference {self.reference}: they must be '
                             f'different ones of the cameras {", ".join(names)}, and the reference none of them')
        if self.max_rate_hz < 0:
            raise ValueError(f'max_rate_hz is {self.max_rate_hz}, must be 0 (every reference) or more')


@dataclass(frozen=True)
class Reading:
    """One frame of a stream: its acquisition stamp and whatever the caller attached to it."""

    stamp_ns: int
    item: Any


@dataclass(frozen=True)
class AssembledSet:
    """A reference with the camera frames that go with it; `missing` says for each camera left out why."""

    reference: Reading
    cameras: dict[str, Reading]
    missing: dict[str, str]

    @property
    def stamp_ns(self) -> int:
        """Stamp of the reference."""
        return self.reference.stamp_ns


@dataclass(eq=False)
class _Frame:
    stamp_ns: int
    item: Any
    interval_ns: int | None
    fate: str = NOT_DUE


@dataclass
class _Camera:
    rule: CameraRule
    frames: deque[_Frame] = field(default_factory=deque)
    last_ns: int | None = None
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=INTERVALS_KEPT))


@dataclass
class _Pending:
    """A reference that waits. nominal_ns: the stamp that the cameras' offsets count from: its own, or the one that the silent
    reference would have had where a camera stands in."""

    reading: Reading
    arrived_ns: int
    nominal_ns: int


class Assembler:
    """Collects frames and references, hands out sets in the order of their references.

    `frames[stream][fate]` counts every frame by what became of it (counted when it leaves the buffer), `due` the references
    for which a set was wanted, `dropped[reason]` those among them that got none, `resets` how often time started
    anew, `jumps` how often of these because the reference's stamps went back, `stood_in` the due references that a camera gave.
    Not thread-safe: the caller holds a lock.
    """

    def __init__(self, rules: AssemblyRules) -> None:
        self.rules = rules
        self.frames: dict[str, Counter[str]] = {name: Counter() for name in
                                                (rules.reference, *(rule.name for rule in rules.cameras))}
        self.dropped: Counter[str] = Counter()
        self.due = 0
        self.resets = 0
        self.jumps = 0
        self.stood_in = 0
        self._start()

    def _start(self) -> None:
        rules = self.rules
        self._thinner = RateThinner(rules.max_rate_hz, rules.slack_ns, rules.jump_back_ns)
        self._cameras = {rule.name: _Camera(replace(rule, offset_ns=0) if rule.name == rules.reference else rule)
                         for rule in rules.cameras}
        self._pending: deque[_Pending] = deque()
        self._emitted: deque[tuple[int, dict[str, str]]] = deque(maxlen=EMITTED_KEPT)
        self._last_reference_ns: int | None = None
        self._first_reference_ns: int | None = None
        self._heard_ns: dict[str, int] = {}  # nominal stamp of what each stream that may anchor sets sent last
        self._intervals: deque[int] = deque(maxlen=INTERVALS_KEPT)

    @property
    def pending(self) -> int:
        """References that wait for cameras."""
        return len(self._pending)

    def reset(self, reason: str = TIME_JUMP) -> None:
        """Forget every buffered frame; waiting references count as dropped for the reason given."""
        for name, camera in self._cameras.items():
            for frame in camera.frames:
                self.frames[name][frame.fate if frame.fate == IN_SET else reason] += 1
        self.dropped[reason] += len(self._pending)
        self.resets += 1
        self._start()

    def change_rules(self, rules: AssemblyRules) -> None:
        """Go on under other rules for the same streams: buffered frames are forgotten, counts kept. Raises ValueError."""
        streams = {rules.reference, *(rule.name for rule in rules.cameras)}
        if streams != set(self.frames):
            raise ValueError(f'rules for {sorted(streams)} cannot follow rules for {sorted(self.frames)}')
        self.reset(RESET)
        self.rules = rules
        self._start()

    def add(self, stream: str, stamp_ns: int, item: Any, now_ns: int) -> None:
        """Take one frame of the reference stream or of a camera; now_ns is the arrival time on the caller's clock.

        Raises ValueError for a stream that the rules do not name.
        """
        if stream not in self.frames:
            raise ValueError(f'stream {stream!r} is not one of {sorted(self.frames)}')
        if stream == self.rules.reference:
            heard_ns = self._heard_ns.get(stream)
            if heard_ns is not None and stamp_ns > heard_ns and self._last_reference_ns is not None:
                self._intervals.append(stamp_ns - heard_ns)
            self._heard_ns[stream] = stamp_ns
            if not self._add_reference(stamp_ns, item, now_ns, stamp_ns):
                return
        if stream in self._cameras:
            self._add_frame(self._cameras[stream], stamp_ns, item)
        if stream in self.rules.stand_ins:
            self._stand_in(stream, stamp_ns, item, now_ns)

    def _stand_in(self, name: str, stamp_ns: int, item: Any, now_ns: int) -> None:
        """Let a frame of a camera that stands in anchor a set when all that come before it have been silent for too long."""
        nominal_ns = stamp_ns - self._cameras[name].rule.offset_ns
        before = (self.rules.reference, *self.rules.stand_ins[:self.rules.stand_ins.index(name)])
        for other in before:
            if other not in self._heard_ns or self._heard_ns[other] - nominal_ns > self.rules.jump_back_ns:
                self._heard_ns[other] = nominal_ns  # time begins, or began anew: the other is waited for from here on
        self._heard_ns[name] = nominal_ns
        if all(nominal_ns - self._heard_ns[other] > self._patience_ns(other) for other in before):
            due = self.due
            self._add_reference(stamp_ns, item, now_ns, nominal_ns, counted=False)
            self.stood_in += self.due - due

    def _patience_ns(self, name: str) -> int:
        """How long a stream that anchors sets may be silent."""
        intervals = self._intervals if name == self.rules.reference else self._cameras[name].intervals
        if not intervals:
            return self.rules.silent_after_ns
        return max(self.rules.lost_after_ns, 5 * min(intervals) // 2)

    def _add_reference(self, stamp_ns: int, item: Any, now_ns: int, nominal_ns: int, counted: bool = True) -> bool:
        name, last = self.rules.reference, self._last_reference_ns
        if last is not None and stamp_ns <= last:
            if last - stamp_ns <= self.rules.jump_back_ns:
                if counted:
                    self.frames[name][DUPLICATE if stamp_ns == last else OUT_OF_ORDER] += 1
                return False
            self._jump_back(stamp_ns)
            self._heard_ns = {name: nominal_ns}
        if self._first_reference_ns is None:
            self._first_reference_ns = stamp_ns
        self._last_reference_ns = stamp_ns
        due = self._thinner.due(stamp_ns)
        if counted and name not in self._cameras:
            self.frames[name][IN_SET if due else NOT_DUE] += 1
        if due:
            self.due += 1
            self._pending.append(_Pending(Reading(stamp_ns, item), now_ns, nominal_ns))
            if len(self._pending) > self.rules.max_pending:
                self._pending.popleft()
                self.dropped[OVERFLOW] += 1
        return True

    def _jump_back(self, stamp_ns: int) -> None:
        """Start time anew at a reference stamp; camera frames that already belong to the new time stay."""
        kept = {name: [frame for frame in camera.frames if frame.stamp_ns <= stamp_ns + self.rules.jump_back_ns]
                for name, camera in self._cameras.items()}
        for name, camera in self._cameras.items():
            camera.frames = deque(frame for frame in camera.frames if frame not in kept[name])
        self.jumps += 1
        self.reset(TIME_JUMP)
        for name, frames in kept.items():
            for frame in frames:
                self._add_frame(self._cameras[name], frame.stamp_ns, frame.item)

    def _add_frame(self, camera: _Camera, stamp_ns: int, item: Any) -> None:
        rule, counts = camera.rule, self.frames[camera.rule.name]
        if camera.last_ns is not None:
            if camera.last_ns - stamp_ns > self.rules.jump_back_ns:
                for frame in camera.frames:
                    counts[frame.fate if frame.fate == IN_SET else TIME_JUMP] += 1
                camera.frames.clear()
                camera.intervals.clear()
            elif stamp_ns <= camera.last_ns:
                counts[DUPLICATE if stamp_ns == camera.last_ns else OUT_OF_ORDER] += 1
                return
            else:
                camera.intervals.append(stamp_ns - camera.last_ns)
        camera.last_ns = stamp_ns
        frame = _Frame(stamp_ns, item, min(camera.intervals, default=None))
        for reference_ns, missing in self._emitted:
            if rule.name in missing and abs(stamp_ns - rule.offset_ns - reference_ns) <= rule.tolerance_ns:
                frame.fate = LATE
        camera.frames.append(frame)
        self._prune(camera)

    def wanted(self, stream: str, stamp_ns: int) -> bool:
        """Whether a frame of this camera may go into a set that waits or that is expected next: worth decoding now."""
        rule = self._cameras[stream].rule
        references = [pending.nominal_ns for pending in self._pending]
        if self._thinner.next_due_ns is not None:
            references.append(self._thinner.next_due_ns + self._thinner.slack_ns)
        return any(abs(stamp_ns - rule.offset_ns - reference) <= rule.tolerance_ns for reference in references)

    @property
    def oldest_ns(self) -> int | None:
        """Stamp of the reference that has waited longest; None when none waits."""
        return self._pending[0].reading.stamp_ns if self._pending else None

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest reference, due or not; None before the first."""
        return self._last_reference_ns

    def poll(self, now_ns: int, overdue: bool = False) -> list[AssembledSet]:
        """Sets that are complete, or whose deadline has passed, at now_ns; oldest reference first.

        overdue: the oldest has waited long enough, whatever now_ns says (a clock may stand still).
        """
        sets = []
        while self._pending:
            head = self._pending[0]
            head.arrived_ns = min(head.arrived_ns, now_ns)
            overdue = overdue or now_ns - head.arrived_ns >= self.rules.deadline_ns
            choices = {name: self._choose(camera, head.nominal_ns) for name, camera in self._cameras.items()}
            if not overdue and not all(settled for _, settled, _ in choices.values()):
                break
            self._pending.popleft()
            made = self._emit(head, choices)
            overdue = False
            if len(made.cameras) < self.rules.min_cameras:
                self.dropped[TOO_FEW_CAMERAS] += 1
            else:
                sets.append(made)
        return sets

    def _choose(self, camera: _Camera, reference_ns: int) -> tuple[_Frame | None, bool, str]:
        """Frame for a reference, whether waiting longer could not change the choice, and why there is none."""
        rule = camera.rule
        target = reference_ns + rule.offset_ns
        before = next((frame for frame in reversed(camera.frames) if frame.stamp_ns < target), None)
        after = next((frame for frame in camera.frames if frame.stamp_ns >= target), None)
        best, settled = before, after is not None
        if before is not None and before.interval_ns is not None:
            expected = before.stamp_ns + before.interval_ns - target
            if expected >= target - before.stamp_ns and target - before.stamp_ns <= rule.tolerance_ns:
                return before, True, ''
        if after is not None and (before is None or after.stamp_ns - target < target - before.stamp_ns):
            best = after
        if best is not None and abs(best.stamp_ns - target) <= rule.tolerance_ns:
            return best, settled, ''
        if settled:
            return None, True, OUT_OF_TOLERANCE
        heard_ns = camera.last_ns if camera.last_ns is not None else self._first_reference_ns
        silent = heard_ns is None or reference_ns - heard_ns >= self.rules.silent_after_ns
        return None, silent, SILENT if silent else LATE

    def _emit(self, head: _Pending, choices: dict[str, tuple[_Frame | None, bool, str]]) -> AssembledSet:
        chosen, missing = {}, {}
        for name, (frame, _, why) in choices.items():
            camera = self._cameras[name]
            target = head.nominal_ns + camera.rule.offset_ns
            for other in camera.frames:
                if other.fate == NOT_DUE and abs(other.stamp_ns - target) <= camera.rule.tolerance_ns:
                    other.fate = REPLACED
            if frame is None:
                missing[name] = why
                if why == OUT_OF_TOLERANCE:
                    nearest = min(camera.frames, key=lambda f: abs(f.stamp_ns - target))
                    nearest.fate = nearest.fate if nearest.fate == IN_SET else OUT_OF_TOLERANCE
            else:
                frame.fate = IN_SET
                chosen[name] = Reading(frame.stamp_ns, frame.item)
        self._emitted.append((head.nominal_ns, missing))
        for camera in self._cameras.values():
            self._prune(camera)
        return AssembledSet(head.reading, chosen, missing)

    def _prune(self, camera: _Camera) -> None:
        """Let go of frames that no waiting or coming reference can want, and of the oldest beyond the capacity."""
        counts, rule = self.frames[camera.rule.name], camera.rule
        earliest = self._pending[0].nominal_ns if self._pending else self._thinner.next_due_ns
        last_ns, reference_ns = camera.last_ns, self._last_reference_ns
        if last_ns is not None and reference_ns is not None and last_ns < reference_ns - self.rules.jump_back_ns:
            earliest = None  # this camera's time has gone back already, the reference's will follow
        while camera.frames and earliest is not None and \
                camera.frames[0].stamp_ns < earliest + rule.offset_ns - rule.tolerance_ns:
            counts[camera.frames.popleft().fate] += 1
        while len(camera.frames) > self.rules.capacity:
            frame = camera.frames.popleft()
            counts[OVERFLOW if frame.fate == NOT_DUE else frame.fate] += 1

"""The tree of frames over time, with lookups between any two of them. Nothing here waits; safe to call from any thread."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.time import Time

from tf2_py.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)
from tf2_py.frame_cache import MovingFrame, Sample, StaticFrame, seconds
from tf2_py.rigid import IDENTITY, Rigid, canonical, compose, inverse

DEFAULT_CACHE_NS = 10_000_000_000
MAX_DEPTH = 1000
BILLION = 1_000_000_000


def nanoseconds_of(time: Any) -> int:
    """A time or duration, as message (sec, nanosec) or rclpy object (nanoseconds), in nanoseconds."""
    if hasattr(time, 'sec') and hasattr(time, 'nanosec'):
        return time.sec * BILLION + time.nanosec
    if hasattr(time, 'nanoseconds'):
        return int(time.nanoseconds)
    raise TypeError(f'a time has sec and nanosec, or nanoseconds; got {type(time).__name__}')


def to_message(target: str, source: str, stamp: int, transform: Rigid) -> TransformStamped:
    """Wrap a lookup's result."""
    message = TransformStamped()
    message.header.stamp = TimeMessage(sec=stamp // BILLION, nanosec=stamp % BILLION)
    message.header.frame_id = target
    message.child_frame_id = source
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = transform.translation
    rotation.x, rotation.y, rotation.z, rotation.w = canonical(transform.rotation)
    return message


class BufferCore:
    """Transforms between frames, by time.

    cache_time: how much of the past is kept for each frame, 10 s when not given.
    """

    def __init__(self, cache_time: Duration | None = None) -> None:
        self._cache_ns = DEFAULT_CACHE_NS if cache_time is None else nanoseconds_of(cache_time)
        self._frames: dict[str, MovingFrame | StaticFrame | None] = {}
        self._authority: dict[str, str] = {}
        self._lock = threading.RLock()

    # Filling.

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add the pose of a frame at its stamp; its rotation is normalised. Unusable input is reported in the log and left out."""
        self._insert(transform, authority, static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Set the pose of a frame for all times."""
        self._insert(transform, authority, static=True)

    def clear(self) -> None:
        """Forget all poses but the static ones."""
        with self._lock:
            for frame in self._frames.values():
                if frame is not None:
                    frame.clear()

    def _insert(self, message: TransformStamped, authority: str, static: bool) -> bool:
        parent = message.header.frame_id.removeprefix('/')
        child = message.child_frame_id.removeprefix('/')
        translation, rotation = message.transform.translation, message.transform.rotation
        position = (translation.x, translation.y, translation.z)
        turn = (rotation.x, rotation.y, rotation.z, rotation.w)
        problem = None
        if parent == child:
            problem = f'TF_SELF_TRANSFORM: frame_id and child_frame_id are both "{child}"'
        elif not child:
            problem = 'TF_NO_CHILD_FRAME_ID: child_frame_id is not set'
        elif not parent:
            problem = f'TF_NO_FRAME_ID: frame_id is not set for child_frame_id "{child}"'
        elif any(map(math.isnan, position + turn)) or not any(turn):
            problem = f'TF_NAN_INPUT: a nan, or a rotation of length 0, in the transform of "{child}": {position} {turn}'
        if problem:
            get_logger('tf2').error(f'{problem}. Ignoring the transform from authority "{authority}".')
            return False
        kind = StaticFrame if static else MovingFrame
        with self._lock:
            frame = self._frames.get(child)
            if not isinstance(frame, kind):
                frame = StaticFrame() if static else MovingFrame(self._cache_ns)
                self._frames[child] = frame
            self._frames.setdefault(parent, None)
            stamp = nanoseconds_of(message.header.stamp)
            if not frame.insert(stamp, Sample(parent, Rigid(position, canonical(turn)))):
                get_logger('tf2').warning(f'TF_OLD_DATA: ignoring data from the past for frame {child} at time {seconds(stamp)} '
                                          f'according to authority {authority}.')
                return False
            self._authority[child] = authority
        return True

    # Looking up.

    def can_transform_core(self, target_frame: str, source_frame: str, time: Time | TimeMessage) -> tuple[bool, str]:
        """Whether a lookup would succeed now, and if not, why."""
        return self._possible(lambda: self._lookup(target_frame, source_frame, nanoseconds_of(time), 'canTransform'))

    def can_transform_full_core(self, target_frame: str, target_time: Time | TimeMessage, source_frame: str,
                                source_time: Time | TimeMessage, fixed_frame: str) -> tuple[bool, str]:
        """Whether a lookup between two times would succeed now, and if not, why."""
        return self._possible(lambda: self._lookup_full(target_frame, nanoseconds_of(target_time), source_frame,
                                                        nanoseconds_of(source_time), fixed_frame, 'canTransform'))

    def lookup_transform_core(self, target_frame: str, source_frame: str, time: Time | TimeMessage) -> TransformStamped:
        """The transform that takes coordinates in source_frame to target_frame at a time; time 0 means the latest common one.

        Raises LookupException, ConnectivityException, ExtrapolationException or InvalidArgumentException.
        """
        with self._lock:
            stamp, transform = self._lookup(target_frame, source_frame, nanoseconds_of(time), 'lookupTransform')
        return to_message(target_frame, source_frame, stamp, transform)

    def lookup_transform_full_core(self, target_frame: str, target_time: Time | TimeMessage, source_frame: str,
                                   source_time: Time | TimeMessage, fixed_frame: str) -> TransformStamped:
        """From source_frame at source_time to target_frame at target_time, by way of a frame that stays put in between."""
        with self._lock:
            stamp, transform = self._lookup_full(target_frame, nanoseconds_of(target_time), source_frame,
                                                 nanoseconds_of(source_time), fixed_frame, 'lookupTransform')
        return to_message(target_frame, source_frame, stamp, transform)

    def get_latest_common_time(self, target_frame: str, source_frame: str) -> Time:
        """Newest time at which both frames can be placed; 0 when only static transforms lie between them."""
        with self._lock:
            for frame in (target_frame, source_frame):
                self._validate('get_latest_common_time', frame)
            try:
                stamp = self._latest_common(target_frame, source_frame)
            except TransformException as error:
                raise TransformException(str(error)) from None
        return Time(nanoseconds=stamp)

    def all_frames_as_string(self) -> str:
        """One line for each frame with its parent."""
        with self._lock:
            return ''.join(f'Frame {name} exists with parent {frame.parent or "NO_PARENT"}.\n'
                           for name, frame in self._frames.items() if frame is not None)

    def all_frames_as_yaml(self) -> str:
        """For each frame its parent, broadcaster, rate and times, as YAML."""
        with self._lock:
            if not self._frames:
                return '[]'
            parts = []
            for name, frame in self._frames.items():
                if frame is None or frame.parent is None:
                    continue
                span = frame.latest - frame.oldest
                authority = self._authority.get(name, 'no recorded authority')
                parts.append(f"{name}: \n  parent: '{frame.parent}'\n  broadcaster: '{authority}'\n"
                             f'  rate: {frame.length * 1e9 / max(span, 100_000):.3f}\n'
                             f'  most_recent_transform: {seconds(frame.latest)}\n  oldest_transform: {seconds(frame.oldest)}\n'
                             f'  buffer_length: {span / 1e9:.3f}\n')
            return ''.join(parts)

    def _possible(self, look: Callable[[], object]) -> tuple[bool, str]:
        with self._lock:
            try:
                look()
            except TransformException as error:
                return False, str(error)
        return True, ''

    def _validate(self, call: str, frame: str) -> None:
        if not frame or frame.startswith('/'):
            rule = "cannot start with a '/'" if frame else 'cannot be empty'
            what = 'frame ID' if call.startswith('canTransform') else 'argument'
            raise InvalidArgumentException(f'Invalid {what} "{frame}" passed to {call} - in tf2 frame_ids {rule}')
        if frame not in self._frames:
            if call.startswith('canTransform'):
                raise LookupException(f'Invalid frame ID "{frame}" passed to {call} - frame does not exist')
            raise LookupException(f'"{frame}" passed to {call} does not exist. ')

    def _lookup(self, target: str, source: str, stamp: int, call: str) -> tuple[int, Rigid]:
        if target == source:
            frame = self._frames.get(target)
            return (frame.latest if stamp == 0 and frame is not None else stamp), IDENTITY
        self._validate(f'{call} argument target_frame', target)
        self._validate(f'{call} argument source_frame', source)
        if stamp == 0:
            stamp = self._latest_common(target, source)
        return stamp, self._walk(target, source, stamp)

    def _lookup_full(self, target: str, target_stamp: int, source: str, source_stamp: int, fixed: str,
                     call: str) -> tuple[int, Rigid]:
        for name, frame in (('target', target), ('source', source), ('fixed', fixed)):
            self._validate(f'{call} argument {name}_frame', frame)
        _, fixed_from_source = self._lookup(fixed, source, source_stamp, call)
        stamp, target_from_fixed = self._lookup(target, fixed, target_stamp, call)
        return stamp, compose(target_from_fixed, fixed_from_source)

    def _walk(self, target: str, source: str, stamp: int) -> Rigid:
        """Up the tree from the source to where it ends or meets the target, then up from the target to the same frame."""
        source_up, top, halted = self._climb(source, target, stamp)
        if top == target:
            return source_up
        target_up, meeting, target_halted = self._climb(target, source, stamp, stop=top)
        if meeting == source:
            return inverse(target_up)
        if meeting == top:
            return compose(inverse(target_up), source_up)
        between = f', when looking up transform from frame [{source}] to frame [{target}]'
        for halt in (target_halted, halted):
            if halt is not None:
                raise ExtrapolationException(f'{halt}{between}')
        raise self._unconnected(target, source)

    def _climb(self, start: str, goal: str, stamp: int,
               stop: str | None = None) -> tuple[Rigid, str, ExtrapolationException | None]:
        """Accumulate poses from start upwards; returns reached_from_start, the frame reached, and why it went no further."""
        name, up = start, IDENTITY
        for _ in range(MAX_DEPTH + 1):
            frame = self._frames.get(name)
            if frame is None or name == stop or (name == goal and name != start):
                return up, name, None
            try:
                sample = frame.at(stamp)
            except ExtrapolationException as error:
                return up, name, error
            up, name = compose(sample.transform, up), sample.parent
        raise self._loop()

    def _latest_common(self, target: str, source: str) -> int:
        """Newest stamp that every moving frame on the path between two frames has reached; 0 with static ones only."""
        if source == target:
            frame = self._frames.get(source)
            return frame.latest if frame is not None else 0
        source_path, source_latest = self._path(source, [target])
        target_path, target_latest = ([target], []) if source_path[-1] == target else self._path(target, source_path)
        if target_path[-1] not in source_path:
            raise self._unconnected(target, source)
        newest = target_latest + source_latest[:source_path.index(target_path[-1])]
        return min(filter(None, newest), default=0)

    def _path(self, start: str, stops: list[str]) -> tuple[list[str], list[int]]:
        """Frames upwards by their newest parents to the first of the stops or the root; the newest stamp of each but the last."""
        path, latest = [start], []
        while (frame := self._frames.get(path[-1])) is not None and (parent := frame.parent) is not None:
            path.append(parent)
            latest.append(frame.latest)
            if parent in stops:
                break
            if len(path) > MAX_DEPTH + 1:
                raise self._loop()
        return path, latest

    def _loop(self) -> LookupException:
        return LookupException(f'The tf tree is invalid because it contains a loop.\n{self.all_frames_as_string()}\n')

    def _unconnected(self, target: str, source: str) -> ConnectivityException:
        return ConnectivityException(f"Could not find a connection between '{target}' and '{source}' because they are not part "
                                     'of the same tree.Tf has two or more unconnected trees.')

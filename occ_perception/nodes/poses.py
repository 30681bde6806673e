"""Poses from tf at acquisition stamps, waited for with a bound."""

from __future__ import annotations

import threading
import time
from typing import cast

import numpy as np
from rclpy.clock import Clock, ROSClock
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.time import Time
from tf2_ros import Buffer, ExtrapolationException, TransformException, TransformListener

from occ_perception.nodes.conversions import transform_matrix
from occ_perception.nodes.running import Spinner, side_node

POLL_S = 0.002
WALL_TIMEOUT_S = 2.0
"""Longest wait for transforms while ROS time stands still; longer ones by parameter."""
SECOND = 1_000_000_000


class PoseError(Exception):
    """No transform where one is needed; the message names the frames and what is known."""


class TransformFeed:
    """A tf buffer that fills itself: a small node with its own thread, so that waiting never blocks anybody's callbacks.

    clock: follows /clock when use_sim_time is set.
    """

    def __init__(self, name: str, namespace: str, context: Context | None = None, use_sim_time: bool = False) -> None:
        node = side_node(f'{name}_transforms', namespace, context, [Parameter('use_sim_time', value=use_sim_time)])
        self.clock = cast(ROSClock, node.get_clock())
        self.buffer = Buffer(node=node)
        self._listener = TransformListener(self.buffer, node)
        self._spinner = Spinner(node)

    def close(self) -> None:
        """Stop listening."""
        self._spinner.close()


class Patience:
    """How long to wait for transforms: timeout_s of ROS time, and twice that or WALL_TIMEOUT_S of this computer's time.

    stopping: ends the wait when set. In a replay ROS time stands still while the bag is paused, perhaps for the very set that waits
    here, and transforms that were lost on the way do not come again.
    """

    def __init__(self, clock: Clock, timeout_s: float, stopping: threading.Event) -> None:
        self._clock = clock
        self._began_ns = clock.now().nanoseconds
        self._timeout_ns = round(timeout_s * SECOND)
        self._stopping = stopping
        self._until = time.monotonic() + max(2 * timeout_s, WALL_TIMEOUT_S)

    def over(self) -> bool:
        """Whether the wait has ended; a jump of time ends it, too."""
        waited_ns = self._clock.now().nanoseconds - self._began_ns
        return self._stopping.is_set() or not 0 <= waited_ns < self._timeout_ns or time.monotonic() >= self._until


class Poses:
    """Poses of one vehicle: base_frame moves in fixed_frame, sensors sit on base_frame."""

    def __init__(self, buffer: Buffer, fixed_frame: str, base_frame: str) -> None:
        self.buffer = buffer
        self.fixed_frame = fixed_frame
        self.base_frame = base_frame

    def fixed_from_ego(self, stamp_ns: int, patience: Patience) -> np.ndarray:
        """(4, 4) ego pose at a stamp, waited for with patience. Raises PoseError."""
        return self._lookup(self.fixed_frame, self.base_frame, stamp_ns, patience, 'fixed_frame')

    def ego_from_sensor(self, frame_id: str, stamp_ns: int, patience: Patience) -> np.ndarray:
        """(4, 4) mounting pose of a sensor at a stamp, waited for with patience. Raises PoseError."""
        return self._lookup(self.base_frame, frame_id, stamp_ns, patience, 'base_frame')

    def _lookup(self, target: str, source: str, stamp_ns: int, patience: Patience, parameter: str) -> np.ndarray:
        when = Time(nanoseconds=stamp_ns)
        while True:
            try:
                return transform_matrix(self.buffer.lookup_transform(target, source, when).transform)
            except TransformException as error:
                lost = isinstance(error, ExtrapolationException) and 'into the past' in str(error)  # no wait brings it back
                if lost or patience.over():
                    raise PoseError(f'no transform {target} <- {source} at {stamp_ns / 1e9:.3f} s: {error} '
                                    f'(is {target!r} right? it is the parameter {parameter})') from error
            except ValueError as error:
                raise PoseError(f'transform {target} <- {source}: {error}') from error
            time.sleep(POLL_S)

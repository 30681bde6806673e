"""Poses from tf at acquisition stamps, waited for with a bound."""

from __future__ import annotations

import time

import numpy as np
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.time import Time
from tf2_ros import Buffer, TransformException, TransformListener

from occ_perception.nodes.conversions import transform_matrix
from occ_perception.nodes.running import Spinner, side_node

POLL_S = 0.002


class PoseError(Exception):
    """No transform where one is needed; the message names the frames and what is known."""


class TransformFeed:
    """A tf buffer that fills itself: a small node with its own thread, so that waiting never blocks anybody's callbacks.

    clock: follows /clock when use_sim_time is set.
    """

    def __init__(self, name: str, namespace: str, context: Context | None = None, use_sim_time: bool = False) -> None:
        node = side_node(f'{name}_transforms', namespace, context, [Parameter('use_sim_time', value=use_sim_time)])
        self.clock = node.get_clock()
        self.buffer = Buffer(node=node)
        self._listener = TransformListener(self.buffer, node)
        self._spinner = Spinner(node)

    def close(self) -> None:
        """Stop listening."""
        self._spinner.close()


class Poses:
    """Poses of one vehicle: base_frame moves in fixed_frame, sensors sit on base_frame."""

    def __init__(self, buffer: Buffer, fixed_frame: str, base_frame: str) -> None:
        self.buffer = buffer
        self.fixed_frame = fixed_frame
        self.base_frame = base_frame

    def fixed_from_ego(self, stamp_ns: int, until: float) -> np.ndarray:
        """(4, 4) ego pose at a stamp; waits until time.monotonic() == until. Raises PoseError."""
        return self._lookup(self.fixed_frame, self.base_frame, stamp_ns, until, 'fixed_frame')

    def ego_from_sensor(self, frame_id: str, stamp_ns: int, until: float) -> np.ndarray:
        """(4, 4) mounting pose of a sensor at a stamp; waits until time.monotonic() == until. Raises PoseError."""
        return self._lookup(self.base_frame, frame_id, stamp_ns, until, 'base_frame')

    def _lookup(self, target: str, source: str, stamp_ns: int, until: float, parameter: str) -> np.ndarray:
        when = Time(nanoseconds=stamp_ns)
        while True:
            try:
                return transform_matrix(self.buffer.lookup_transform(target, source, when).transform)
            except TransformException as error:
                if time.monotonic() >= until:
                    raise PoseError(f'no transform {target} <- {source} at {stamp_ns / 1e9:.3f} s: {error} '
                                    f'(is {target!r} right? it is the parameter {parameter})') from error
            except ValueError as error:
                raise PoseError(f'transform {target} <- {source}: {error}') from error
            time.sleep(POLL_S)

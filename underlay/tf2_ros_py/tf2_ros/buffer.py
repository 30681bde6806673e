"""The buffer that nodes use: lookups that can wait, futures, and a fresh start after a jump back in time."""

from __future__ import annotations

import threading
import time as wall
from collections.abc import Callable

from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.task import Future
from rclpy.time import Time
from tf2_msgs.srv import FrameGraph
from tf2_py import BufferCore

POLL_SECONDS = 0.02


class Buffer(BufferCore):
    """Transforms between frames by time, kept for cache_time (10 s when not given).

    node: gives the clock whose jumps back clear the buffer, and carries the service `tf2_frames`.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        super().__init__(cache_time)
        self._waiting: list[Callable[[], None]] = []
        self._waiting_lock = threading.RLock()
        if node is not None:
            self.srv = node.create_service(FrameGraph, 'tf2_frames', self._on_frame_graph)
        self.clock = Clock() if node is None else node.get_clock()
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True)
        self.jump_handle = self.clock.create_jump_callback(threshold, post_callback=self.time_jump_callback)

    def _on_frame_graph(self, request: FrameGraph.Request, response: FrameGraph.Response) -> FrameGraph.Response:
        response.frame_yaml = self.all_frames_as_yaml()
        return response

    def time_jump_callback(self, time_jump: TimeJump) -> None:
        """Forget all poses but the static ones."""
        get_logger('tf2_buffer').warning('Detected jump back in time. Clearing tf buffer.')
        self.clear()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add the pose of a frame at its stamp, and complete the futures that it makes possible."""
        super().set_transform(transform, authority)
        self._notify()

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Set the pose of a frame for all times, and complete the futures that it makes possible."""
        super().set_transform_static(transform, authority)
        self._notify()

    def lookup_transform(self, target_frame: str, source_frame: str, time: Time,
                         timeout: Duration = Duration()) -> TransformStamped:  # noqa: B008
        """The transform that takes coordinates in source_frame to target_frame at a time; 0 means the latest common one.

        Waits up to timeout for it. Raises LookupException, ConnectivityException, ExtrapolationException or
        InvalidArgumentException when there is none then.
        """
        self.can_transform(target_frame, source_frame, time, timeout)
        return self.lookup_transform_core(target_frame, source_frame, time)

    def lookup_transform_full(self, target_frame: str, target_time: Time, source_frame: str, source_time: Time, fixed_frame: str,
                              timeout: Duration = Duration()) -> TransformStamped:  # noqa: B008
        """From source_frame at source_time to target_frame at target_time, by way of a frame that stays put in between."""
        self.can_transform_full(target_frame, target_time, source_frame, source_time, fixed_frame, timeout)
        return self.lookup_transform_full_core(target_frame, target_time, source_frame, source_time, fixed_frame)

    async def lookup_transform_async(self, target_frame: str, source_frame: str, time: Time) -> TransformStamped:
        """As lookup_transform, to be awaited."""
        await self.wait_for_transform_async(target_frame, source_frame, time)
        return self.lookup_transform_core(target_frame, source_frame, time)

    async def lookup_transform_full_async(self, target_frame: str, target_time: Time, source_frame: str, source_time: Time,
                                          fixed_frame: str) -> TransformStamped:
        """As lookup_transform_full, to be awaited."""
        await self.wait_for_transform_full_async(target_frame, target_time, source_frame, source_time, fixed_frame)
        return self.lookup_transform_full_core(target_frame, target_time, source_frame, source_time, fixed_frame)

    def can_transform(self, target_frame: str, source_frame: str, time: Time, timeout: Duration = Duration(),  # noqa: B008
                      return_debug_tuple: bool = False) -> bool | tuple[bool, str]:
        """Whether lookup_transform would succeed, waiting up to timeout; with return_debug_tuple also why not."""
        answer = self._poll(lambda: self.can_transform_core(target_frame, source_frame, time), timeout)
        return answer if return_debug_tuple else answer[0]

    def can_transform_full(self, target_frame: str, target_time: Time, source_frame: str, source_time: Time, fixed_frame: str,
                           timeout: Duration = Duration(), return_debug_tuple: bool = False) -> bool | tuple[bool, str]:  # noqa: B008
        """Whether lookup_transform_full would succeed, waiting up to timeout; with return_debug_tuple also why not."""
        answer = self._poll(lambda: self.can_transform_full_core(target_frame, target_time, source_frame, source_time, fixed_frame),
                            timeout)
        return answer if return_debug_tuple else answer[0]

    def wait_for_transform_async(self, target_frame: str, source_frame: str, time: Time) -> Future:
        """A future that completes with the transform as soon as there is one."""
        return self._future(lambda: self.can_transform_core(target_frame, source_frame, time)[0],
                            lambda: self.lookup_transform_core(target_frame, source_frame, time))

    def wait_for_transform_full_async(self, target_frame: str, target_time: Time, source_frame: str, source_time: Time,
                                      fixed_frame: str) -> Future:
        """A future that completes with the transform between two times as soon as there is one."""
        return self._future(
            lambda: self.can_transform_full_core(target_frame, target_time, source_frame, source_time, fixed_frame)[0],
            lambda: self.lookup_transform_full_core(target_frame, target_time, source_frame, source_time, fixed_frame))

    @staticmethod
    def _poll(ask: Callable[[], tuple[bool, str]], timeout: Duration) -> tuple[bool, str]:
        """Ask until the answer is yes or the timeout has passed, by the wall clock."""
        end = wall.monotonic() + timeout.nanoseconds / 1e9
        answer = ask()
        while not answer[0] and wall.monotonic() < end:
            wall.sleep(POLL_SECONDS)
            answer = ask()
        return answer

    def _future(self, ready: Callable[[], bool], look: Callable[[], TransformStamped]) -> Future:
        future = Future()

        def attempt() -> None:
            try:
                if not future.done() and ready():
                    future.set_result(look())
            except Exception as error:
                future.set_exception(error)

        attempt()
        if not future.done():
            with self._waiting_lock:
                self._waiting.append(attempt)
            future.add_done_callback(lambda _: self._forget(attempt))
        return future

    def _forget(self, attempt: Callable[[], None]) -> None:
        with self._waiting_lock:
            if attempt in self._waiting:
                self._waiting.remove(attempt)

    def _notify(self) -> None:
        with self._waiting_lock:
            waiting = list(self._waiting)
        for attempt in waiting:
            attempt()

"""A subscriber as any user would write one: takes VoxelGrids off the topic and notes when each arrived.

Latency is counted from the newest sensor stamp of the set to the callback here. With /clock (a replay) stamps are placed on this
computer's clock by the smallest difference between receiving a /clock message and the time it carries, so delays of the player
count as latency too; without /clock stamps are taken to be this computer's system time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
import zstandard
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from occ_msgs.msg import VoxelGrid
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.nodes.dds import use_default_profile
from occ_perception.nodes.running import stop_on_signal
from occ_perception.runtime.live_score import ReceivedGrid


class Scorer(Node):
    """Collects VoxelGrids of one topic with the time they arrived; `rate` is the replay's (sensor seconds per second)."""

    def __init__(self, topic: str = 'occ/voxels', rate: float = 1.0) -> None:
        super().__init__('scorer')
        self._rate = rate
        self._arrived: list[tuple[int, VoxelGrid]] = []
        self._clock_lead_ns: int | None = None
        self.last_arrival = time.monotonic()
        self.create_subscription(VoxelGrid, topic, self._on_grid, QoSProfile(depth=50))
        self.create_subscription(Clock, '/clock', self._on_clock,
                                 QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT))

    @property
    def count(self) -> int:
        """Grids received so far."""
        return len(self._arrived)

    def grids(self) -> list[ReceivedGrid]:
        """Decode all received grids, in the order they came; those on another grid than Occ3D's are reported and left out."""
        decoded = []
        for arrival_ns, message in self._arrived:
            try:
                decoded.append(self._decode(arrival_ns, message))
            except ValueError as error:
                self.get_logger().error(f'left out a grid: {error}')
        return decoded

    def _on_grid(self, message: VoxelGrid) -> None:
        self._arrived.append((time.time_ns(), message))
        self.last_arrival = time.monotonic()

    def _on_clock(self, message: Clock) -> None:
        lead = time.time_ns() - round(_nanoseconds(message.clock) / self._rate)
        self._clock_lead_ns = lead if self._clock_lead_ns is None else min(lead, self._clock_lead_ns)

    def _decode(self, arrival_ns: int, message: VoxelGrid) -> ReceivedGrid:
        shape = (message.size_x, message.size_y, message.size_z)
        origin = (message.origin.position.x, message.origin.position.y, message.origin.position.z)
        same = shape == OCC3D_GRID.shape and np.allclose([*origin, message.resolution],
                                                         [*OCC3D_GRID.origin_m, OCC3D_GRID.resolution_m], atol=1e-4)
        if not same:
            raise ValueError(f'grid of {shape} voxels of {message.resolution} m at {origin}; truth is on {OCC3D_GRID}')
        stamp = _nanoseconds(message.header.stamp)
        ages = [sensor.age for sensor in message.sensors if sensor.valid]
        newest = stamp + max([0, *(round(-age * 1e9) for age in ages)])
        on_our_clock = newest if self._clock_lead_ns is None else round(newest / self._rate) + self._clock_lead_ns
        instances = _unpack(message, message.instance_ids, '<u2', shape) if len(message.instance_ids) else None
        return ReceivedGrid(stamp, newest, (arrival_ns - on_our_clock) / 1e6, message.network,
                            _unpack(message, message.labels, 'u1', shape), instances)


def receive(topic: str, expect: int, start_timeout_s: float, idle_timeout_s: float, rate: float = 1.0,
            on_ready: Callable[[], None] = lambda: None, on_grid: Callable[[int], None] = lambda count: None) -> list[ReceivedGrid]:
    """Receive grids until there are `expect`, or none came for idle_timeout_s (start_timeout_s before the first).

    Runs rclpy by itself; SIGINT or SIGTERM ends receiving, not the scoring after it. on_ready is called once the subscription
    stands, on_grid with the count after each grid.
    """
    use_default_profile()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Scorer(topic, rate)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        with stop_on_signal() as stop:
            on_ready()
            while node.count < expect and not stop.is_set():
                before = node.count
                executor.spin_once(timeout_sec=0.2)
                if node.count > before:
                    on_grid(node.count)
                if time.monotonic() - node.last_arrival > (idle_timeout_s if node.count else start_timeout_s):
                    break
            return node.grids()
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _nanoseconds(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def _unpack(message: VoxelGrid, payload: Any, dtype: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Array of a payload in the message's encoding; raises ValueError when it does not fit the shape."""
    data = bytes(payload)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if message.encoding == VoxelGrid.ENCODING_ZSTD:
        try:
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
        except zstandard.ZstdError as error:
            raise ValueError(f'its payload is no zstd frame of {size} bytes ({error})') from error
    if len(data) != size:
        raise ValueError(f'its payload has {len(data)} bytes, {shape} voxels need {size}')
    return np.frombuffer(data, dtype).reshape(shape)

"""The `lidar` node: sweeps moved into the ego frame at their own stamp, each point from where it was measured.

Subscribes to a PointCloud2 topic and tf; publishes occ/sweeps (x, y, z, intensity, ring, time_lag; ego frame). In one process with
the `occupancy` node sweeps are handed over by reference, and points are moved only when somebody wants them.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import PointCloud2

from occ_perception.nodes import qos
from occ_perception.nodes.conversions import SWEEP_FIELDS, cloud_message, header, stamp_ns
from occ_perception.nodes.exchange import Exchange, Lazy, Sweep
from occ_perception.nodes.health import OK, STEADY, Health, TimeFlow, published_topics
from occ_perception.nodes.parameters import Parameter, declare
from occ_perception.nodes.poses import Patience, PoseError, Poses, TransformFeed
from occ_perception.nodes.running import run_node
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.intake.sweeps import CloudError, SweepHistory, points_from_cloud, time_span, to_ego

SILENCE_S = 5.0
SECOND = 1_000_000_000
WAITING_SWEEPS = 20
NO_POINTS = np.zeros((0, 6), np.float32)

PARAMETERS = (
    Parameter('points_topic', 'LIDAR_TOP/points', 'sensor_msgs/PointCloud2 of the LiDAR'),
    Parameter('fixed_frame', 'odom', 'frame that does not move with the vehicle and never jumps'),
    Parameter('base_frame', 'base_link', 'frame of the vehicle'),
    Parameter('tf_timeout', 0.2, 'longest wait for a transform [s]', low=0.0, high=10.0),
    Parameter('window', 0.0, 'earlier sweeps measured so long before the newest go along with it [s]; 0: the newest alone',
              low=0.0, high=5.0),
)


class LidarNode(Node):
    """See the module's description."""

    def __init__(self, exchange: Exchange | None = None, feed: TransformFeed | None = None, **node_options: Any) -> None:
        super().__init__('lidar', **node_options)
        values = declare(self, PARAMETERS)
        self._exchange = exchange
        self._own_feed = None
        if feed is None:
            feed = self._own_feed = TransformFeed('lidar', self.get_namespace(), self.context,
                                                  self.get_parameter('use_sim_time').value)
        self._time, self._stopping = feed.clock, threading.Event()
        self._poses = Poses(feed.buffer, values['fixed_frame'], values['base_frame'])
        self._timeout_s: float = values['tf_timeout']
        self._history = SweepHistory(round(values['window'] * SECOND))
        self._topic = self.resolve_topic_name(values['points_topic'])
        self._heard = False
        self._health = Health(self, self._describe, feed.clock)
        self._publisher = self.create_publisher(PointCloud2, 'occ/sweeps', qos.SENSOR)
        self._work: queue.Queue[Sweep | None] = queue.Queue(maxsize=WAITING_SWEEPS)
        self._worker = threading.Thread(target=self._publish_all, name='lidar', daemon=True)
        self._worker.start()
        self.create_subscription(PointCloud2, self._topic, self._on_cloud, qos.SENSOR,
                                 qos_overriding_options=QoSOverridingOptions.with_default_policies())
        self._flow = TimeFlow(feed.clock)
        self._silence = self.create_timer(SILENCE_S, self._report_silence, clock=STEADY)
        self.get_logger().info(f'LiDAR on {self._topic}, moved in {values["fixed_frame"]}')

    def _on_cloud(self, cloud: PointCloud2) -> None:
        self._heard = True
        stamp = stamp_ns(cloud.header.stamp)
        if cloud.width * cloud.height == 0:
            self._health.problem('sweeps', 'empty_cloud', f'{self._topic}: empty cloud (0 points); its stamp is used all the same')
        sweep = Sweep(stamp, Lazy(partial(self._move, cloud, stamp)))
        if self._publisher.get_subscription_count() or self._history.window_ns:
            try:
                self._work.put_nowait(sweep)
            except queue.Full:
                self._health.problem('sweeps', 'overflow', f'{self._topic}: sweeps come faster than they can be moved')
        if self._exchange is not None:
            self._exchange.give_sweep(sweep)

    def _move(self, cloud: PointCloud2, stamp: int) -> tuple[LidarSweep, ...]:
        """Points of one cloud in the ego frame at its stamp; raises CloudError or PoseError, which are counted here."""
        if cloud.width * cloud.height == 0:
            return ()
        try:
            points, left_out = points_from_cloud(cloud, stamp, self._topic)
            patience = Patience(self._time, self._timeout_s, self._stopping)
            first_s, last_s = time_span(points)
            mount = self._poses.ego_from_sensor(cloud.header.frame_id, stamp, patience)
            reference = self._poses.fixed_from_ego(stamp, patience)
            moving = last_s - first_s > 1e-6
            first = self._poses.fixed_from_ego(stamp + round(first_s * SECOND), patience) if moving else reference
            last = self._poses.fixed_from_ego(stamp + round(last_s * SECOND), patience) if moving else reference
        except CloudError as error:
            self._health.problem('sweeps', 'bad_cloud', str(error))
            raise
        except PoseError as error:
            self._health.problem('sweeps', 'no_pose', f'{self._topic}: {error}')
            raise
        if left_out:
            self._health.count('points', 'not_finite')
        self._health.count('sweeps', 'moved')
        moved = self._history.add(stamp, to_ego(points, mount, first, last, reference), reference)
        return (LidarSweep(stamp, moved, mount),)

    def _publish_all(self) -> None:
        """Move and publish sweeps one after another; runs in a thread of its own because it waits for tf."""
        while not self._stopping.is_set():
            sweep = self._work.get()
            if sweep is None:
                return
            try:
                sweeps = sweep.sweeps.result()
            except (CloudError, PoseError):
                sweeps = ()  # the stamp still serves as a reference for the cameras
            if self.context.ok() and self._publisher.get_subscription_count():
                points = np.concatenate([each.points for each in sweeps]) if sweeps else NO_POINTS
                self._publisher.publish(cloud_message(points, SWEEP_FIELDS, header(sweep.stamp_ns, self._poses.base_frame)))

    def _report_silence(self) -> None:
        if self._flow.passed(SILENCE_S / 2) and not self._heard:
            self._health.tell('sweeps', 'silent', f'nothing on {self._topic} for {SILENCE_S:g} s; PointCloud2 topics that somebody '
                              f'publishes: {published_topics(self, "sensor_msgs/msg/PointCloud2")}')
        self._heard = False

    def _describe(self) -> tuple[bytes, str, dict[str, object]]:
        return OK, f'LiDAR on {self._topic}', {}

    def destroy_node(self) -> None:
        """Stop the worker and let go of everything."""
        if hasattr(self, '_worker'):  # Kilted destroys nodes whose making failed, too
            self._stopping.set()
            with contextlib.suppress(queue.Full):
                self._work.put_nowait(None)  # wakes the worker when it waits for a sweep
            self._worker.join(timeout=2.0)
            if self._own_feed is not None:
                self._own_feed.close()
        super().destroy_node()


def main(args: list[str] | None = None) -> int:
    """Console script `lidar`."""
    return run_node(LidarNode, args)

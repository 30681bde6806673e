"""The `lidar` node: sweeps moved into the ego frame at the present one's stamp, each point from where it was measured.

Subscribes to a PointCloud2 topic and tf; publishes occ/sweeps (x, y, z, intensity, ring, time_lag, sweep; ego frame), and which
sweeps these are in occ/sweep_info. Earlier sweeps go along as the network looks at them. In one process with the `occupancy` node
sweeps are handed over by reference, and points are moved only when somebody wants them.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import PointCloud2

from occ_msgs.msg import SweepInfo
from occ_perception.catalogue import NETWORKS, LidarSpec, entry
from occ_perception.nodes import qos
from occ_perception.nodes.conversions import header, stamp_ns, sweep_messages
from occ_perception.nodes.exchange import Exchange, Lazy, Sweep
from occ_perception.nodes.health import OK, STEADY, Health, TimeFlow, published_topics
from occ_perception.nodes.parameters import Parameter, declare
from occ_perception.nodes.poses import Patience, PoseError, Poses, TransformFeed
from occ_perception.nodes.running import run_node
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.intake.clouds import MOST_POINTS, CloudError, points_from_cloud
from occ_perception.runtime.intake.sweep_history import SweepHistory
from occ_perception.runtime.intake.sweeps import PlacedSweep, gathered, time_span, to_ego, without_ego

SILENCE_S = 5.0
SECOND = 1_000_000_000
WAITING_SWEEPS = 20

PARAMETERS = (
    Parameter('points_topic', 'LIDAR_TOP/points', 'sensor_msgs/PointCloud2 of the LiDAR'),
    Parameter('network', 'scocc_sample', 'catalogue name of the network whose earlier sweeps go along', choices=tuple(NETWORKS),
              changeable=True),
    Parameter('fixed_frame', 'odom', 'frame that does not move with the vehicle and never jumps'),
    Parameter('base_frame', 'base_link', 'frame of the vehicle'),
    Parameter('tf_timeout', 0.2, 'longest wait for a transform [s]', low=0.0, high=10.0),
    Parameter('max_points', MOST_POINTS, 'clouds of more points are thinned evenly', low=1000, high=10_000_000),
    Parameter('ego_front', 0.0, 'returns of the vehicle itself: as far before base_frame [m]', low=0.0, high=20.0),
    Parameter('ego_back', 0.0, '... behind it [m]', low=0.0, high=20.0),
    Parameter('ego_side', 0.0, '... and to either side are removed [m]; 0: none are, as the networks were trained', low=0.0,
              high=5.0),
)


class LidarNode(Node):
    """See the module's description."""

    def __init__(self, exchange: Exchange | None = None, feed: TransformFeed | None = None, **node_options: Any) -> None:
        super().__init__('lidar', **node_options)
        self._values = declare(self, PARAMETERS, self._changed)
        self._exchange = exchange
        self._own_feed = None
        if feed is None:
            feed = self._own_feed = TransformFeed('lidar', self.get_namespace(), self.context,
                                                  self.get_parameter('use_sim_time').value)
        self._time, self._stopping = feed.clock, threading.Event()
        self._poses = Poses(feed.buffer, self._values['fixed_frame'], self._values['base_frame'])
        self._changed(self._values)
        self._topic = self.resolve_topic_name(self._values['points_topic'])
        self._heard = False
        self._found = (0, 0)
        self._health = Health(self, self._describe, feed.clock)
        self._publisher = self.create_publisher(PointCloud2, 'occ/sweeps', qos.SENSOR)
        self._info = self.create_publisher(SweepInfo, 'occ/sweep_info', qos.SENSOR)
        self._work: queue.Queue[Sweep | None] = queue.Queue(maxsize=WAITING_SWEEPS)
        self._worker = threading.Thread(target=self._publish_all, name='lidar', daemon=True)
        self._worker.start()
        self.create_subscription(PointCloud2, self._topic, self._on_cloud, qos.own(qos.SENSOR),
                                 qos_overriding_options=QoSOverridingOptions.with_default_policies())
        self._flow = TimeFlow(feed.clock)
        self._silence = self.create_timer(SILENCE_S, self._report_silence, clock=STEADY)
        self.get_logger().info(f'LiDAR on {self._topic}, moved in {self._values["fixed_frame"]}')

    def _changed(self, values: dict[str, Any]) -> str:
        spec = entry(values['network']).lidar or LidarSpec()
        self._spec, self._history = spec, SweepHistory(max(spec.ages_s, default=0.0) + spec.tolerance_s)
        return ''

    def _on_cloud(self, cloud: PointCloud2) -> None:
        self._heard = True
        stamp = stamp_ns(cloud.header.stamp)
        placed = Lazy(partial(self._place, cloud, stamp))
        if cloud.width * cloud.height == 0:
            self._health.problem('sweeps', 'empty_cloud', f'{self._topic}: empty cloud (0 points); its stamp is used all the same')
        reason = self._history.add(stamp, placed)
        if reason:
            self._health.problem('sweeps', reason, f'{self._topic}: sweep at {stamp / SECOND:.3f} s, after a later one or its like')
        # which earlier sweeps go along is settled here, by stamps; their points are moved when somebody asks
        earlier = self._history.earlier(stamp, self._spec.ages_s, self._spec.tolerance_s)
        sweep = Sweep(stamp, Lazy(partial(self._gather, placed, earlier)))
        if self._publisher.get_subscription_count():
            try:
                self._work.put_nowait(sweep)
            except queue.Full:
                self._health.problem('sweeps', 'overflow', f'{self._topic}: sweeps come faster than they can be moved')
        if self._exchange is not None:
            self._exchange.give_sweep(sweep)

    def _gather(self, present: Lazy[PlacedSweep | None], earlier: list[Lazy[PlacedSweep | None] | None]) -> tuple[LidarSweep, ...]:
        """The present sweep and those of earlier ones that can be used; none where the present one is empty. Raises CloudError or
        PoseError for the present one."""
        own = present.result()
        if own is None:
            return ()
        found = []
        for wanted in earlier:
            with contextlib.suppress(CloudError, PoseError):  # counted where it was placed
                known = None if wanted is None else wanted.result()
                if known is not None:
                    found.append(known)
        self._found = 1 + len(found), 1 + len(earlier)
        if len(found) < len(earlier):
            self._health.count('sweeps', 'incomplete')
        return gathered(own, found)

    def _place(self, cloud: PointCloud2, stamp: int) -> PlacedSweep | None:
        """One cloud in the ego frame at its stamp, None without points. Raises CloudError or PoseError, which are counted here."""
        if cloud.width * cloud.height == 0:
            return None
        values = self._values
        try:
            points, counted = points_from_cloud(cloud, stamp, self._topic, values['max_points'])
            patience = Patience(self._time, values['tf_timeout'], self._stopping)
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
        for reason, many in counted.items():
            self._health.count('points', reason, many)
            self._health.tell('points', reason, f'{self._topic}: {many} points of a cloud at {stamp / SECOND:.3f} s')
        self._health.count('sweeps', 'moved')
        moved = to_ego(points, mount, first, last, reference)
        kept = without_ego(moved, values['ego_front'], values['ego_back'], values['ego_side'])
        if len(kept) < len(moved):
            self._health.count('points', 'ego', len(moved) - len(kept))
        return PlacedSweep(stamp, kept, mount, reference)

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
                info, cloud = sweep_messages(sweeps, header(sweep.stamp_ns, self._poses.base_frame))
                self._info.publish(info)
                self._publisher.publish(cloud)

    def _report_silence(self) -> None:
        if self._flow.passed(SILENCE_S / 2) and not self._heard:
            self._health.tell('sweeps', 'silent', f'nothing on {self._topic} for {SILENCE_S:g} s; PointCloud2 topics that somebody '
                              f'publishes: {published_topics(self, "sensor_msgs/msg/PointCloud2")}')
        self._heard = False

    def _describe(self) -> tuple[bytes, str, dict[str, object]]:
        found, wanted = self._found
        return OK, f'LiDAR on {self._topic}', {'sweeps': f'{found}/{wanted}', 'sweeps.kept': len(self._history)}

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

"""The `player` node: replays a ROS 2 bag (mcap or sqlite3), raw and on time, with /clock, rate, loop and start offset.

Topics keep their names and types and follow the node's namespace (/tf, /tf_static and /clock stay as they are). With lockstep
it holds back whatever was recorded more than `horizon` after a due reference until that reference's grid has come (or has been
given up), so that networks slower than the sensors replay without loss.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections import deque
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock

from occ_msgs.msg import LabelInfo, VoxelGrid
from occ_perception.datasets.bag_reader import Bag, BagError, header_stamp_ns
from occ_perception.nodes import qos
from occ_perception.nodes.conversions import stamp_ns, time_message
from occ_perception.nodes.parameters import Parameter, declare
from occ_perception.nodes.running import run_node
from occ_perception.runtime.intake.rate_thinner import RateThinner

SECOND = 1_000_000_000
GLOBAL_TOPICS = ('/tf', '/tf_static')
NEVER_REPLAYED = ('/clock', '/rosout', '/parameter_events', '/diagnostics')
SENSOR_TYPES = ('sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo',
                'sensor_msgs/msg/PointCloud2')
SUBSCRIBER_WAIT_S = 5.0
LISTENER_WAIT_S = 20.0
SETTLE_S, SETTLE_LISTENER_S, SETTLE_APART_S = 0.3, 1.0, 2.0
"""Time for the nodes to find each other: in one process, with a listener in another, and in several processes, whose intermediate
topics must be matched, too."""
TAIL_S = 0.5
"""How long time goes on after the last message, so that deadlines pass."""

PARAMETERS = (
    Parameter('bag', '', 'ROS 2 bag: mcap or sqlite3 file, or folder with metadata.yaml'),
    Parameter('rate', 1.0, 'seconds of the bag per second', low=0.01, high=100.0),
    Parameter('loop', False, 'begin again at the end'),
    Parameter('start_offset', 0.0, 'skip so much of the beginning [s]', low=0.0, high=1e6),
    Parameter('duration', 0.0, 'play so much of the bag [s]; 0: to the end', low=0.0, high=1e6),
    Parameter('clock', True, 'publish /clock; the other nodes need use_sim_time'),
    Parameter('clock_rate', 40.0, '/clock messages per second of the bag', low=1.0, high=1000.0),
    Parameter('wait', True, 'begin when a network serves (occ/label_info) and the sensor topics are subscribed to'),
    Parameter('wait_timeout', 600.0, 'longest wait for a network to serve [s]', low=0.0, high=1e5),
    Parameter('listener', '', 'begin when a node of this name subscribes to occ/voxels, so that it misses nothing; empty: nobody'),
    Parameter('lockstep', False, 'hold back until the grid of each due reference has come'),
    Parameter('lockstep_timeout', 120.0, 'longest wait for one grid [s]', low=0.1, high=1e5),
    Parameter('horizon', 0.25, 'what was recorded so long after a due reference is still sent before its grid [s]: the pictures '
              'and transforms that belong to it', low=0.0, high=10.0),
    Parameter('reference_topic', 'LIDAR_TOP/points', 'topic that anchors sets'),
    Parameter('max_rate', 5.0, 'max_rate of the occupancy node: tells which references are due', low=0.0, high=100.0),
)


def message_type(name: str) -> type:
    """Message class of a type name such as sensor_msgs/msg/Image. Raises ImportError when its package is not installed."""
    package, _, message = name.partition('/msg/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), message)
    except AttributeError as error:
        raise ImportError(f'package {package} has no message {message}') from error


class PlayerNode(Node):
    """See the module's description. `finished` is set when the bag has been played or cannot be."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('player', **node_options)
        self._values = declare(self, PARAMETERS)
        if not self._values['bag']:
            raise ValueError('player: parameter bag is empty; give the path of a ROS 2 bag')
        self._bag = Bag(self._values['bag'])
        self.finished = threading.Event()
        self.sent = 0
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._serving = False
        self._outstanding: deque[int] = deque()
        self._newest_ns = 0
        self._paused_s = 0.0
        self._publishers_by_topic = self._advertise()
        self._clock_publisher = self.create_publisher(Clock, '/clock', qos.CLOCK) if self._values['clock'] else None
        if self._values['wait']:
            self.create_subscription(LabelInfo, 'occ/label_info', self._on_label_info, qos.LATCHED)
        if self._values['lockstep']:
            self.create_subscription(VoxelGrid, 'occ/voxels', self._on_grid, qos.OUTPUT)
            self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, qos.DIAGNOSTICS)
        self._thread = threading.Thread(target=self._run, name='player', daemon=True)

    def start(self) -> None:
        """Begin to play, in a thread of its own."""
        self._thread.start()

    def _advertise(self) -> dict[str, Publisher]:
        publishers = {}
        for topic, kind in sorted(self._bag.topics.items()):
            if topic in NEVER_REPLAYED or '/occ/' in topic:
                continue
            try:
                message = message_type(kind)
            except ImportError as error:
                self.get_logger().warning(f'{topic} is not replayed: {error}')
                continue
            latched = topic == '/tf_static' or topic in self._bag.latched
            name = topic if topic in GLOBAL_TOPICS else topic.lstrip('/')
            publishers[topic] = self.create_publisher(message, name, qos.REPLAY_LATCHED if latched else qos.REPLAY)
        return publishers

    def _on_label_info(self, _: LabelInfo) -> None:
        with self._changed:
            self._serving = True
            self._changed.notify_all()

    def _on_grid(self, grid: VoxelGrid) -> None:
        self._settled(stamp_ns(grid.header.stamp))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith('occupancy: status'):
                for pair in status.values:
                    if pair.key == 'settled_until_ns':
                        self._settled(int(pair.value))

    def _settled(self, reference_ns: int) -> None:
        """Nothing at or before this reference is waited for any more; what belongs to an earlier round of a loop is passed over."""
        with self._changed:
            while reference_ns <= self._newest_ns and self._outstanding and self._outstanding[0] <= reference_ns:
                self._outstanding.popleft()
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            if self._wait_until_served():
                rounds = 0
                while not self._stop.is_set() and (rounds == 0 or self._values['loop']):
                    if rounds:
                        self.get_logger().info('bag starts again')
                    self._play()
                    rounds += 1
                self.get_logger().info(f'played {self._bag.path}: {self.sent} messages')
        except Exception as error:
            if self.context.ok():
                self.get_logger().error(f'{self._bag.path}: {type(error).__name__}: {error}')
        finally:
            self.finished.set()

    def _wait_until_served(self) -> bool:
        """Wait for a network and for the sensor topics' subscribers; False when told to stop."""
        if not self._values['wait']:
            return True
        until = time.monotonic() + self._values['wait_timeout']
        with self._changed:
            while not self._serving and not self._stop.is_set():
                if time.monotonic() > until:
                    self.get_logger().warning(f'no network serves after {self._values["wait_timeout"]:g} s; playing all the same')
                    break
                self._changed.wait(0.2)
        sensors = {topic: publisher for topic, publisher in self._publishers_by_topic.items()
                   if self._bag.topics[topic] in SENSOR_TYPES or topic in GLOBAL_TOPICS}
        until = time.monotonic() + SUBSCRIBER_WAIT_S
        # every subscriber that is known of, too: one that is found late misses the first transforms
        while time.monotonic() < until and any(p.get_subscription_count() < max(1, self.count_subscribers(p.topic_name))
                                               for p in sensors.values()):
            if self._stop.wait(0.05):
                return False
        deaf = [topic for topic, publisher in sensors.items() if not publisher.get_subscription_count()]
        if deaf:
            self.get_logger().info(f'nobody subscribes to {", ".join(deaf)}')
        settle_s = SETTLE_APART_S if self._nodes_are_apart(until) else SETTLE_LISTENER_S if self._values['listener'] else SETTLE_S
        return self._wait_for_listener() and not self._stop.wait(settle_s)

    def _wait_for_listener(self) -> bool:
        """Wait until the node that is to hear the grids has been found; False when told to stop."""
        name, topic, until = self._values['listener'], self.resolve_topic_name('occ/voxels'), time.monotonic() + LISTENER_WAIT_S
        while name and name not in {info.node_name for info in self.get_subscriptions_info_by_topic(topic)}:
            if time.monotonic() > until:
                self.get_logger().warning(f'no node called {name} subscribes to occ/voxels; playing all the same')
                break
            if self._stop.wait(0.05):
                return False
        return True

    def _nodes_are_apart(self, until: float) -> bool:
        """Whether nodes hand over frames by topic; waits until each such topic that is wanted has a publisher."""
        while True:
            wanted = [name for name, _ in self.get_topic_names_and_types()
                      if name.endswith(('/occ/image', '/occ/sweeps')) and self.count_subscribers(name)]
            if all(self.count_publishers(name) for name in wanted) or time.monotonic() > until or self._stop.wait(0.05):
                return bool(wanted)

    def _play(self) -> None:
        """One round through the bag."""
        values = self._values
        begin = self._bag.start_ns + round(values['start_offset'] * SECOND)
        end = begin + round(values['duration'] * SECOND) if values['duration'] else None
        if begin >= self._bag.end_ns:
            raise BagError(f'start_offset {values["start_offset"]:g} s lies behind the end; the bag is '
                           f'{(self._bag.end_ns - self._bag.start_ns) / SECOND:.1f} s long')
        latched = {topic for topic in self._publishers_by_topic if topic == '/tf_static' or topic in self._bag.latched}
        if begin > self._bag.start_ns:
            for message in self._bag.messages(latched, stop_ns=begin):
                self._publishers_by_topic[message.topic].publish(message.data)
        thinner = RateThinner(values['max_rate'])
        reference = '/' + values['reference_topic'].lstrip('/')
        recorded: dict[int, int] = {}
        step_ns = round(SECOND / values['clock_rate'])
        self._paused_s, self._newest_ns = 0.0, 0
        self._outstanding.clear()
        origin, next_clock, now = time.monotonic(), begin, begin
        for message in self._bag.messages(set(self._publishers_by_topic), begin, end):
            while next_clock <= message.recorded_ns:
                now = max(next_clock, message.recorded_ns - step_ns) if message.recorded_ns - next_clock > SECOND else next_clock
                if not self._reach(now, begin, origin, recorded):
                    return
                self._tick(now)
                next_clock = now + step_ns
            if not self._reach(message.recorded_ns, begin, origin, recorded):
                return
            if values['lockstep'] and message.topic == reference:
                stamp = self._newest_ns = header_stamp_ns(message.data)
                if thinner.due(stamp):
                    recorded[stamp] = message.recorded_ns
                    with self._changed:
                        self._outstanding.append(stamp)
            self._publishers_by_topic[message.topic].publish(message.data)
            self.sent += 1
            now = message.recorded_ns
        for i in range(1, round(TAIL_S * SECOND / step_ns) + 1):
            if not self._reach(now + i * step_ns, begin, origin, {}):
                return
            self._tick(now + i * step_ns)
        if values['lockstep']:
            self._hold_back(None, recorded)

    def _tick(self, now_ns: int) -> None:
        if self._clock_publisher is not None:
            self._clock_publisher.publish(Clock(clock=time_message(now_ns)))

    def _reach(self, recorded_ns: int, begin_ns: int, origin: float, recorded: dict[int, int]) -> bool:
        """Wait until a recorded time has come, and in lockstep until it may be sent; False when told to stop."""
        if recorded:
            self._hold_back(recorded_ns, recorded)
        wait = origin + self._paused_s + (recorded_ns - begin_ns) / SECOND / self._values['rate'] - time.monotonic()
        return not (self._stop.wait(wait) if wait > 0 else self._stop.is_set()) and self.context.ok()

    def _hold_back(self, recorded_ns: int | None, recorded: dict[int, int]) -> None:
        """Wait while a reference recorded more than the horizon before recorded_ns (any, for None) lacks its grid."""
        horizon_ns = round(self._values['horizon'] * SECOND)
        began = time.monotonic()
        with self._changed:
            while self._outstanding and not self._stop.is_set():
                oldest = self._outstanding[0]
                if recorded_ns is not None and recorded_ns <= recorded[oldest] + horizon_ns:
                    break
                if time.monotonic() - began > self._values['lockstep_timeout']:
                    self.get_logger().warning(f'no grid for {oldest / SECOND:.3f} s after '
                                              f'{self._values["lockstep_timeout"]:g} s; going on')
                    self._outstanding.popleft()
                    continue
                self._changed.wait(0.2)
        waited = time.monotonic() - began
        if waited > 0.001:
            self._paused_s += waited

    def destroy_node(self) -> None:
        """Stop playing and close the bag."""
        if hasattr(self, '_thread'):  # Kilted destroys nodes whose making failed, too
            self._stop.set()
            with self._changed:
                self._changed.notify_all()
            if self._thread.is_alive():
                self._thread.join(timeout=5.0)
            self._bag.close()
        super().destroy_node()


def main(args: list[str] | None = None) -> int:
    """Console script `player`."""
    return run_node(PlayerNode, args, ready=PlayerNode.start)

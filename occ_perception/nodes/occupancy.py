"""The `occupancy` node: sets of camera pictures around a reference in, VoxelGrids out.

A managed (lifecycle) node; with autostart it configures and activates itself. Takes <camera>/occ/image and occ/sweeps from the
`cameras` and `lidar` nodes (by reference in one process, by topic apart), poses from tf; publishes occ/voxels, occ/flow,
occ/instances, occ/point_labels and occ/detections (networks that label points and find boxes), occ/label_info (latched),
occ/timings and /diagnostics. Services: ~/reset_memory, ~/switch_network.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from sensor_msgs.msg import PointCloud2

from occ_msgs.msg import InstanceArray, LabelInfo, StageTimings, VoxelFlow, VoxelGrid
from occ_msgs.srv import ResetMemory, SwitchNetwork
from occ_perception.catalogue import EGO, NETWORKS, NetworkEntry, entry
from occ_perception.nodes import qos
from occ_perception.nodes.conversions import (
    instance_array_message,
    label_info_message,
    point_labels_message,
    stage_timings_message,
    voxel_flow_message,
    voxel_grid_message,
)
from occ_perception.nodes.detections import detection_array_message, detection_type
from occ_perception.nodes.exchange import Exchange
from occ_perception.nodes.health import ERROR, OK, WARN, Health
from occ_perception.nodes.occupancy_parameters import PARAMETERS, assembly_rules, camera_parameters
from occ_perception.nodes.pace import pace_warning
from occ_perception.nodes.parameters import declare
from occ_perception.nodes.poses import Poses, TransformFeed
from occ_perception.nodes.predictors import make_predictor
from occ_perception.nodes.running import Spinner, run_node, side_node
from occ_perception.nodes.serving import PredictorLike, Served, Serving
from occ_perception.nodes.topic_inputs import TopicInputs
from occ_perception.runtime.intake.assembly import LIDAR

SERVICE_WAIT_S = 2.0


class OccupancyNode(LifecycleNode):
    """See the module's description. make: (network, weights, parameter values) -> predictor, called in the worker thread."""

    def __init__(self, exchange: Exchange | None = None, feed: TransformFeed | None = None,
                 make: Callable[[str, str, Mapping[str, Any]], PredictorLike] | None = None, **node_options: Any) -> None:
        super().__init__('occupancy', **node_options)
        self._exchange, self._make = exchange, make or make_predictor
        self._values = declare(self, PARAMETERS, self._changed)
        self._offsets = {name: declare(self, camera_parameters(name))[f'{name}.offset'] for name in self._values['cameras']}
        assembly_rules(self._values, self._offsets)
        self._own_feed = None
        if feed is None:
            feed = self._own_feed = TransformFeed('occupancy', self.get_namespace(), self.context,
                                                  self.get_parameter('use_sim_time').value)
        self._feed = feed
        self._health = Health(self, self._describe, feed.clock)
        self._serving: Serving | None = None
        self._network = ''
        self._topics: TopicInputs | None = None
        self._before: tuple[float, int] = (time.monotonic(), 0)
        self.create_service(ResetMemory, '~/reset_memory', self._on_reset)
        # Loading a network takes seconds: a node and thread of its own keep the subscriptions going meanwhile.
        switch = side_node('occupancy_switch', self.get_namespace(), self.context)
        switch.create_service(SwitchNetwork, f'{self.get_fully_qualified_name()}/switch_network', self._on_switch)
        self._switch = Spinner(switch)

    def _changed(self, values: dict[str, Any]) -> str:
        rules = assembly_rules(values, self._offsets)
        if self._serving is not None:
            self._serving.change_rules(rules)
            if values['max_rate'] != self._values['max_rate']:
                self._warn_of_pace(self._network, values['max_rate'])
        return ''

    def _warn_of_pace(self, network: str, max_rate_hz: float) -> None:
        warning = pace_warning(entry(network), max_rate_hz)
        if warning:
            self.get_logger().warning(warning)

    def autostart(self) -> bool:
        """Configure and activate, where the parameter says so; returns whether the node is as it should be then."""
        if not self._values['autostart']:
            return True
        return (self.trigger_configure() == TransitionCallbackReturn.SUCCESS
                and self.trigger_activate() == TransitionCallbackReturn.SUCCESS)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and make the publishers."""
        values = self._values
        poses = Poses(self._feed.buffer, values['fixed_frame'], values['base_frame'])
        serving = Serving(assembly_rules(values, self._offsets), poses, self._deliver, self._health, self._feed.clock,
                          values['tf_timeout'], values['backlog'], self._jumped_back)
        began = time.monotonic()
        try:
            row = serving.load(partial(self._make, values['network'], values['weights'], values))
        except Exception as error:
            self.get_logger().error(f'network {values["network"]} could not be loaded: {error}')
            return TransitionCallbackReturn.FAILURE
        self._serving, self._network = serving, row.name
        self._voxels = self.create_lifecycle_publisher(VoxelGrid, 'occ/voxels', qos.OUTPUT)
        self._flow = self.create_lifecycle_publisher(VoxelFlow, 'occ/flow', qos.OUTPUT)
        self._instances = self.create_lifecycle_publisher(InstanceArray, 'occ/instances', qos.OUTPUT)
        self._point_labels = self.create_lifecycle_publisher(PointCloud2, 'occ/point_labels', qos.OUTPUT)
        detections = detection_type()
        self._detections = detections and self.create_lifecycle_publisher(detections, 'occ/detections', qos.OUTPUT)
        if row.instances and row.grid_frame != EGO and detections is None:
            self.get_logger().info('vision_msgs is not installed: boxes are published in occ/instances alone')
        self._label_info = self.create_lifecycle_publisher(LabelInfo, 'occ/label_info', qos.LATCHED)
        self._timings = self.create_lifecycle_publisher(StageTimings, 'occ/timings', qos.OUTPUT)
        self.get_logger().info(f'network {row.name} ready after {time.monotonic() - began:.1f} s')
        self._warn_of_pace(row.name, values['max_rate'])
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take frames and publish."""
        super().on_activate(state)
        serving = self._loaded()
        serving.open()
        if self._exchange is not None:
            self._exchange.camera_takers.append(serving.take_camera)
            self._exchange.sweep_takers.append(serving.take_sweep)
        else:
            self._topics = TopicInputs(self, self._values['cameras'], self._health, serving.take_camera, serving.take_sweep)
        self._label_info.publish(label_info_message(self._feed.clock.now().nanoseconds))
        cameras = len(self._offsets) if entry(self._network).cameras else 0
        self.get_logger().info(f'active: {self._network}, {cameras} cameras around {self._values["reference"]}')
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take no more frames."""
        serving = self._loaded()
        if self._exchange is not None:
            self._exchange.camera_takers.remove(serving.take_camera)
            self._exchange.sweep_takers.remove(serving.take_sweep)
        if self._topics is not None:
            self._topics.close()
            self._topics = None
        serving.close()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the network and the publishers."""
        self._loaded().stop()
        self._serving = None
        for publisher in (self._voxels, self._flow, self._instances, self._point_labels, self._detections, self._label_info,
                          self._timings):
            if publisher is not None:
                self.destroy_publisher(publisher)
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop serving."""
        if self._serving is not None:
            self._serving.close()
        return TransitionCallbackReturn.SUCCESS

    def _loaded(self) -> Serving:
        if self._serving is None:
            raise RuntimeError('not configured: there is no network yet')
        return self._serving

    def _deliver(self, served: Served) -> None:
        """Publish one prediction; called in the delivery thread."""
        began = time.perf_counter()
        prediction, frame = served.prediction, self._values['base_frame']
        row = entry(self._network)
        lidar = LIDAR if row.lidar is not None else ''
        cameras = self._values['cameras'] if row.cameras else ()
        grid = voxel_grid_message(prediction, frame, cameras, self._values['compress'], lidar)
        self._voxels.publish(grid)
        if prediction.flow is not None:
            self._flow.publish(voxel_flow_message(prediction, grid, row.labels.things))
        self._instances.publish(instance_array_message(prediction, frame))
        if prediction.points is not None:
            self._point_labels.publish(point_labels_message(prediction.points, prediction.stamp_ns, frame))
        if prediction.boxes is not None and self._detections is not None:
            self._detections.publish(detection_array_message(prediction, frame))
        stages = {**served.stages_ms, 'publish': 1e3 * (time.perf_counter() - began)}
        self._timings.publish(stage_timings_message(stages, prediction.stamp_ns, frame))
        if prediction.past_stamps_ns:
            past = ', '.join(f'{stamp / 1e9:.3f}' if stamp else 'none' for stamp in prediction.past_stamps_ns)
            self.get_logger().debug(f'grid at {prediction.stamp_ns / 1e9:.3f} s with the frames of {past}')

    def _jumped_back(self) -> None:
        self.get_logger().warning('stamps went back in time: history and queues start anew')
        if not self._feed.clock.ros_time_is_active:  # with simulated time the buffer notices by itself
            self._feed.buffer.clear()

    def _on_reset(self, request: ResetMemory.Request, response: ResetMemory.Response) -> ResetMemory.Response:
        response.success = self._serving is not None
        response.message = 'memory is reset before the next grid' if response.success else 'not configured: there is no memory yet'
        if self._serving is not None:
            self._serving.forget()
        return response

    def _on_switch(self, request: SwitchNetwork.Request, response: SwitchNetwork.Response) -> SwitchNetwork.Response:
        """Load in the worker's thread while the present network serves; this callback waits for it."""
        if self._serving is None:
            response.success, response.message = False, 'not configured: set the parameter network and configure'
        elif request.network not in NETWORKS:
            response.success, response.message = False, f'no network is called {request.network!r}; known: {", ".join(NETWORKS)}'
        else:
            try:
                row = self._serving.load(partial(self._make, request.network, request.weights, self._values))
                self._network = row.name
                response.success, response.message = True, f'serving {row.name}{self._tell_inputs(row)}'
                self._warn_of_pace(row.name, self._values['max_rate'])
            except Exception as error:
                response.success, response.message = False, f'{request.network} could not be loaded: {error}'
        self.get_logger().info(f'switch_network: {response.message}')
        return response

    def _tell_inputs(self, row: NetworkEntry) -> str:
        """Set the parameter network of the nodes that prepare pictures and sweeps; returns what to add to the answer."""
        told = self._tell(self._values['cameras_node'], 'pictures', row.name) if row.cameras else ''
        return told + (self._tell(self._values['lidar_node'], 'sweeps', row.name) if row.lidar is not None else '')

    def _tell(self, name: str, what: str, network: str) -> str:
        if not name:
            return ''
        client = self.create_client(SetParameters, f'{name}/set_parameters')
        try:
            if not client.wait_for_service(SERVICE_WAIT_S):
                return f'; no node {name} was found: have {what} prepared for {network}'
            answered = threading.Event()
            wanted = RosParameter('network', value=network).to_parameter_msg()
            future = client.call_async(SetParameters.Request(parameters=[wanted]))
            future.add_done_callback(lambda _: answered.set())
            if not answered.wait(SERVICE_WAIT_S) or not future.result().results[0].successful:
                return f'; {name} did not take the parameter network: have {what} prepared for {network}'
        finally:
            self.destroy_client(client)
        return ''

    def _describe(self) -> tuple[bytes, str, dict[str, object]]:
        serving = self._serving
        if serving is None:
            return WARN, 'no network loaded', {}
        tally = serving.tally()
        now, (then, published) = time.monotonic(), self._before
        rate = (tally.published - published) / max(now - then, 1e-3)
        self._before = now, tally.published
        values: dict[str, object] = {
            'network': self._network, 'due': tally.due, 'published': tally.published, 'dropped': sum(tally.dropped.values()),
            'rate_hz': f'{rate:.2f}', 'settled_until_ns': tally.settled_until_ns}
        if tally.stood_in:
            values['stood_in'] = tally.stood_in
        if tally.fallback:
            values |= {'fallback': tally.fallback, 'fallback.network': tally.network}
        if tally.news:
            values['engine'] = tally.news
        if tally.past_ages_s:
            ages = tally.past_ages_s
            values |= {'memory': f'{len(ages) - ages.count(None)}/{len(ages)}', 'memory.incomplete': tally.incomplete,
                       'memory.ages_s': ' '.join('-' if age is None else f'{age:.2f}' for age in ages)}
        values |= {f'dropped.{reason}': count for reason, count in tally.dropped.items() if count}
        values |= {f'{stream}.{fate}': count for stream, counts in tally.frames.items() for fate, count in counts.items()}
        if not tally.processing_ms:
            return (ERROR if tally.dropped else OK), 'no grid yet', values
        p50, p95 = np.percentile(tally.processing_ms, (50, 95))
        values |= {'processing_ms.p50': f'{p50:.1f}', 'processing_ms.p95': f'{p95:.1f}'}
        if rate == 0.0:
            return WARN, 'no grid in the last second', values
        if p95 > 1e3 * self._values['max_processing_time']:
            return WARN, f'slow: p95 of processing is {p95:.0f} ms', values
        if tally.fallback:
            return WARN, f'{tally.fallback}: {tally.network} serves in place of {self._network}', values
        return OK, f'{rate:.1f} grids/s, {p50:.0f} ms each', values

    def tally(self) -> Any:
        """Counts so far (serving.Tally), None before a network is loaded."""
        return None if self._serving is None else self._serving.tally()

    def destroy_node(self) -> None:
        """Stop serving and let go of everything."""
        if hasattr(self, '_switch'):  # Kilted destroys nodes whose making failed, too
            self._switch.close()
            if self._serving is not None:
                self._serving.stop()
            if self._own_feed is not None:
                self._own_feed.close()
        super().destroy_node()


def main(args: list[str] | None = None) -> int:
    """Console script `occupancy`."""
    return run_node(OccupancyNode, args, ready=OccupancyNode.autostart)

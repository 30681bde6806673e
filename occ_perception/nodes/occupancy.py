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

import message_filters
import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.parameter import Parameter as RosParameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from occ_msgs.msg import InstanceArray, LabelInfo, StageTimings, SweepInfo, VoxelFlow, VoxelGrid
from occ_msgs.srv import ResetMemory, SwitchNetwork
from occ_perception.catalogue import EGO, NETWORKS, NetworkEntry, entry
from occ_perception.engines.precision import PRECISIONS
from occ_perception.engines.protocol import EXACT, MEMORY_FORMS, SPARSE_FORMS, TABLES
from occ_perception.engines.select import BACKENDS
from occ_perception.nodes import qos
from occ_perception.nodes.conversions import (
    instance_array_message,
    label_info_message,
    point_labels_message,
    stage_timings_message,
    stamp_ns,
    sweeps_of,
    voxel_flow_message,
    voxel_grid_message,
)
from occ_perception.nodes.detections import detection_array_message, detection_type
from occ_perception.nodes.exchange import CameraFrame, Exchange, Lazy, Sweep
from occ_perception.nodes.health import ERROR, OK, WARN, Health
from occ_perception.nodes.pace import pace_warning
from occ_perception.nodes.parameters import Parameter, declare
from occ_perception.nodes.poses import Poses, TransformFeed
from occ_perception.nodes.running import Spinner, run_node, side_node
from occ_perception.nodes.serving import PredictorLike, Served, Serving, blank_frame
from occ_perception.runtime.fallback import MASK, NO_CAMERAS, NO_LIDAR, FallbackPredictor, check_stand_in
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.intake.assembly import LIDAR, AssemblyRules, CameraRule
from occ_perception.runtime.intake.calibration import intrinsics_of
from occ_perception.runtime.intake.decode import decode_raw
from occ_perception.runtime.tracking import Tracker

SECOND = 1_000_000_000
SERVICE_WAIT_S = 2.0

PARAMETERS = (
    Parameter('network', 'scocc_sample', 'catalogue name of the network', choices=tuple(NETWORKS)),
    Parameter('backend', 'auto', 'what runs the network', choices=BACKENDS),
    Parameter('precision', 'auto', 'what it is computed in; auto: the best that changes few labels', choices=PRECISIONS),
    Parameter('weights', '', 'checkpoint or ONNX file; empty for the weights that ship with the network'),
    Parameter('cameras', ['CAM_FRONT'], 'names of the cameras, as the network knows them'),
    Parameter('reference', LIDAR, 'what anchors a set: lidar, or the name of a camera'),
    Parameter('max_rate', 5.0, 'sets per second of sensor time at most; 0 for every reference', low=0.0, high=100.0,
              changeable=True),
    Parameter('tolerance', 0.05, 'largest distance of a picture from reference + offset [s]', low=0.0, high=1.0, changeable=True),
    Parameter('deadline', 0.1, 'a set goes out at the latest so long after its reference came [s]', low=0.0, high=10.0,
              changeable=True),
    Parameter('min_cameras', 1, 'sets with fewer cameras are dropped; 0: a set may be the LiDAR alone', low=0, high=64,
              changeable=True),
    Parameter('stand_ins', [''], 'cameras that anchor sets while the LiDAR is silent, each while those before it are silent too; '
              "[''] for none"),
    Parameter('fallback_without_lidar', '', f'network that serves while there are no LiDAR points; {MASK}: the same, where it was '
              'trained for it; empty: sets without are dropped (networks of cameras and LiDAR)'),
    Parameter('fallback_without_cameras', '', 'the same while there are no pictures; takes min_cameras 0'),
    Parameter('weights_without_lidar', '', 'weights of the network in fallback_without_lidar; empty for those that ship'),
    Parameter('weights_without_cameras', '', 'weights of the network in fallback_without_cameras'),
    Parameter('fallback_hold', 1.0, 'an input that was lost counts as lost until it has been back for so long [s]', low=0.0,
              high=60.0),
    Parameter('fixed_frame', 'odom', 'frame that does not move with the vehicle and never jumps'),
    Parameter('base_frame', 'base_link', 'frame of the vehicle; grids are in it'),
    Parameter('tf_timeout', 0.2, 'longest wait for the transforms of a set [s]', low=0.0, high=10.0),
    Parameter('backlog', 1, 'complete sets that may wait while two are under way; older ones are dropped', low=0, high=7),
    Parameter('memory', EXACT, 'how past frames enter: lifted again, or their maps moved (cheaper)', choices=MEMORY_FORMS),
    Parameter('sparse_convolution', TABLES, 'what finds the neighbours of LiDAR voxels: our tables, or the package spconv '
              'where it is installed (torch backend)', choices=SPARSE_FORMS),
    Parameter('memory_max_gap', 2.0, 'after a longer pause the past is forgotten [s]', low=0.1, high=60.0),
    Parameter('published_centers', False, 'share voxels among instance centres by the class table of the published code'),
    Parameter('published_motion', False, 'tell PanoOcc the ego motion of first frames in absolute coordinates, as its published '
              'test code does'),
    Parameter('compress', True, 'zstd-compress the grid: some 10 kB in place of 640 kB'),
    Parameter('max_processing_time', 0.2, 'processing slower than this is a warning in /diagnostics [s]', low=0.0, high=60.0,
              changeable=True),
    Parameter('cameras_node', 'cameras', 'node whose parameter network follows when the network is switched; empty for none'),
    Parameter('lidar_node', 'lidar', 'the same for networks that look at LiDAR points; empty for none'),
    Parameter('autostart', True, 'configure and activate at start'),
)


def camera_parameters(camera: str) -> tuple[Parameter, ...]:
    """The parameters of one camera."""
    return (Parameter(f'{camera}.offset', 0.0, f'when {camera} fires, relative to the reference [s]', low=-1.0, high=1.0),)


def make_predictor(network: str, weights: str, values: Mapping[str, Any]) -> PredictorLike:
    """The real Predictor with the node's parameter values, and what stands in for it; imported only when a network is loaded."""
    from occ_perception.runtime.predictor import Predictor

    def loaded(name: str, given: str, tracker: Tracker | None = None) -> Predictor:
        predictor = Predictor(name, values['backend'], given or None, memory=values['memory'],
                              max_gap_s=values['memory_max_gap'], published_centers=values['published_centers'],
                              precision=values['precision'], wait=False, tracker=tracker,
                              published_motion=values['published_motion'],
                              sparse=values['sparse_convolution'] if entry(name).sees_by_lidar else TABLES)
        predictor.predict(blank_frame(predictor.entry))  # the first run of an engine takes much longer than the next ones
        predictor.reset()
        get_logger('occupancy').info(f'{predictor.entry.name} runs in {predictor.engine.description}')
        return predictor

    whole = loaded(network, weights)
    if not whole.entry.sees_by_lidar or not whole.entry.cameras:
        return whole
    stand_ins: dict[str, PredictorLike] = {}
    for lacking, what in ((NO_LIDAR, 'lidar'), (NO_CAMERAS, 'cameras')):
        name = values[f'fallback_without_{what}']
        if name:
            check_stand_in(whole.entry, lacking, name)
            stand_ins[lacking] = whole if name == MASK else loaded(name, values[f'weights_without_{what}'], whole.tracker)
    return FallbackPredictor(whole, stand_ins, values['fallback_hold'])


class OccupancyNode(LifecycleNode):
    """See the module's description. make: (network, weights, parameter values) -> predictor, called in the worker thread."""

    def __init__(self, exchange: Exchange | None = None, feed: TransformFeed | None = None,
                 make: Callable[[str, str, Mapping[str, Any]], PredictorLike] | None = None, **node_options: Any) -> None:
        super().__init__('occupancy', **node_options)
        self._exchange, self._make = exchange, make or make_predictor
        self._values = declare(self, PARAMETERS, self._changed)
        self._offsets = {name: declare(self, camera_parameters(name))[f'{name}.offset'] for name in self._values['cameras']}
        self._rules(self._values)
        self._own_feed = None
        if feed is None:
            feed = self._own_feed = TransformFeed('occupancy', self.get_namespace(), self.context,
                                                  self.get_parameter('use_sim_time').value)
        self._feed = feed
        self._health = Health(self, self._describe, feed.clock)
        self._serving: Serving | None = None
        self._network = ''
        self._inputs: list[Any] = []
        self._before: tuple[float, int] = (time.monotonic(), 0)
        self.create_service(ResetMemory, '~/reset_memory', self._on_reset)
        # Loading a network takes seconds: a node and thread of its own keep the subscriptions going meanwhile.
        switch = side_node('occupancy_switch', self.get_namespace(), self.context)
        switch.create_service(SwitchNetwork, f'{self.get_fully_qualified_name()}/switch_network', self._on_switch)
        self._switch = Spinner(switch)

    def _rules(self, values: dict[str, Any]) -> AssemblyRules:
        """Assembly rules of parameter values; raises ValueError when they do not go together."""
        tolerance = round(values['tolerance'] * SECOND)
        names = values['cameras'] if entry(values['network']).cameras else []
        cameras = tuple(CameraRule(name, round(self._offsets[name] * SECOND), tolerance) for name in names)
        if values['reference'] != LIDAR and values['reference'] not in values['cameras']:
            raise ValueError(f'parameter reference is {values["reference"]!r}, must be {LIDAR} or one of '
                             f'{", ".join(values["cameras"])}')
        if values['reference'] != LIDAR and entry(values['network']).sees_by_lidar:
            raise ValueError(f'parameter reference is {values["reference"]!r}, but {values["network"]} looks at LiDAR points: only '
                             f'{LIDAR} gives them')
        stand_ins = tuple(filter(None, values['stand_ins'])) if values['reference'] == LIDAR and names else ()
        return AssemblyRules(cameras, values['reference'], stand_ins, max_rate_hz=values['max_rate'],
                             deadline_ns=round(values['deadline'] * SECOND), min_cameras=values['min_cameras'] if names else 0)

    def _changed(self, values: dict[str, Any]) -> str:
        rules = self._rules(values)
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
        serving = Serving(self._rules(values), poses, self._deliver, self._health, self._feed.clock,
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
            self._subscribe()
        self._label_info.publish(label_info_message(self._feed.clock.now().nanoseconds))
        self.get_logger().info(f'active: {self._network}, {len(self._offsets)} cameras around {self._values["reference"]}')
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take no more frames."""
        serving = self._loaded()
        if self._exchange is not None:
            self._exchange.camera_takers.remove(serving.take_camera)
            self._exchange.sweep_takers.remove(serving.take_sweep)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
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

    def _subscribe(self) -> None:
        """Inputs by topic: a picture and its CameraInfo are paired by their equal stamps."""
        for name in self._values['cameras']:
            image = message_filters.Subscriber(self, Image, f'{name}/occ/image', qos_profile=qos.SENSOR)
            info = message_filters.Subscriber(self, CameraInfo, f'{name}/occ/camera_info', qos_profile=qos.CALIBRATION)
            pair = message_filters.TimeSynchronizer([image, info], 5)
            pair.registerCallback(partial(self._on_picture, name))
            self._inputs += [image.sub, info.sub]
        info = message_filters.Subscriber(self, SweepInfo, 'occ/sweep_info', qos_profile=qos.SENSOR)
        cloud = message_filters.Subscriber(self, PointCloud2, 'occ/sweeps', qos_profile=qos.SENSOR)
        pair = message_filters.TimeSynchronizer([info, cloud], 5)
        pair.registerCallback(self._on_sweep)
        self._inputs += [info.sub, cloud.sub]

    def _on_picture(self, name: str, image: Image, info: CameraInfo) -> None:
        def picture() -> tuple[np.ndarray, np.ndarray]:
            topic = f'{name}/occ/image'
            try:
                pixels = decode_raw(image.data, image.height, image.width, image.step, image.encoding, topic)
                return pixels, intrinsics_of(info.k, info.p, info.width, info.height, True, topic)
            except ValueError as error:
                self._health.problem(name, 'decode_error', str(error))
                raise

        try:
            self._loaded().take_camera(CameraFrame(name, stamp_ns(image.header.stamp), image.header.frame_id, Lazy(picture)))
        except Exception as error:  # the synchronizer holds its lock for good when its callback raises
            self._health.problem(name, 'not_taken', f'{name}: {type(error).__name__}: {error}')

    def _on_sweep(self, info: SweepInfo, cloud: PointCloud2) -> None:
        def sweeps() -> tuple[LidarSweep, ...]:
            try:
                return sweeps_of(cloud, info)
            except ValueError as error:
                self._health.problem('sweeps', 'bad_cloud', str(error))
                raise

        try:
            self._loaded().take_sweep(Sweep(stamp_ns(cloud.header.stamp), Lazy(sweeps)))
        except Exception as error:  # see _on_picture
            self._health.problem('sweeps', 'not_taken', f'occ/sweeps: {type(error).__name__}: {error}')

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

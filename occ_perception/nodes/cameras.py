"""The `cameras` node: every camera's pictures decoded, cropped and resized on arrival exactly as the network wants them.

Subscribes for each camera to a picture topic (compressed or raw) and its CameraInfo; publishes <camera>/occ/image and
<camera>/occ/camera_info at network size, stamp and frame kept. In one process with the `occupancy` node the pictures are
handed over by reference, and only those that may go into a set are decoded.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from occ_perception.catalogue import NETWORKS
from occ_perception.geometry.array_library import Array, on_host
from occ_perception.nodes import qos
from occ_perception.nodes.conversions import camera_info_message, header, image_message, stamp_ns
from occ_perception.nodes.exchange import CameraFrame, Exchange, Lazy
from occ_perception.nodes.health import OK, STEADY, WARN, Health, TimeFlow, published_topics
from occ_perception.nodes.parameters import Parameter, ParameterError, declare
from occ_perception.nodes.running import run_node
from occ_perception.runtime.intake.calibration import CalibrationError, intrinsics_of, rotation_is_sound
from occ_perception.runtime.intake.decode import DecodeError, decode_compressed, decode_raw, decode_reduced
from occ_perception.runtime.intake.device_decode import DeviceDecoder
from occ_perception.runtime.intake.image import fit, resized_rows

SILENCE_S = 5.0
CPU, GPU = 'cpu', 'gpu'

PARAMETERS = (
    Parameter('network', 'scocc_sample', 'catalogue name of the network whose preprocessing applies', choices=tuple(NETWORKS),
              changeable=True),
    Parameter('cameras', ['CAM_FRONT'], 'names of the cameras, as the network knows them'),
    Parameter('decode_threads', 2, 'threads that decode and resize', low=1, high=32),
    Parameter('reduced_decoding', False, 'decode JPEGs at the smallest scale that holds the network size: cheaper, other pixels'),
    Parameter('decoder', CPU, 'what decodes JPEGs: gpu is nvJPEG, for TensorRT in one process with occupancy; other pixels, whole '
              'pictures', choices=(CPU, GPU)),
    Parameter('rectified', True, 'pictures are undistorted and rectified (P of CameraInfo counts); false: K counts'),
)


def camera_parameters(camera: str) -> tuple[Parameter, ...]:
    """The parameters of one camera."""
    return (
        Parameter(f'{camera}.image_topic', f'{camera}/image_rect/compressed', f'picture topic of {camera}'),
        Parameter(f'{camera}.camera_info_topic', f'{camera}/camera_info', f'CameraInfo topic of {camera}'),
        Parameter(f'{camera}.transport', 'compressed', 'compressed: sensor_msgs/CompressedImage; raw: sensor_msgs/Image',
                  choices=('compressed', 'raw')),
    )


@dataclass
class _Camera:
    name: str
    image_topic: str
    info_topic: str
    image: Publisher
    info: Publisher
    info_key: tuple[Any, ...] | None = None
    intrinsics: np.ndarray | None = None
    size: tuple[int, int] = (0, 0)
    refusal: str = ''
    first: CompressedImage | Image | None = None
    heard: bool = False


class CamerasNode(Node):
    """See the module's description."""

    def __init__(self, exchange: Exchange | None = None, clock: Clock | None = None, **node_options: Any) -> None:
        super().__init__('cameras', **node_options)
        self._exchange = exchange
        values = declare(self, PARAMETERS, self._changed)
        self._preprocessing = NETWORKS[values['network']].preprocessing
        self._rectified: bool = values['rectified']
        self._reduced: bool = values['reduced_decoding']
        self._decoder = self._gpu_decoder() if values['decoder'] == GPU else None
        self._pool = ThreadPoolExecutor(values['decode_threads'], thread_name_prefix='decode')
        self._health = Health(self, self._describe, clock)
        self._cameras = [self._subscribe(name) for name in values['cameras']]
        self._flow = TimeFlow(clock or self.get_clock())
        self._silence = self.create_timer(SILENCE_S, self._report_silence, clock=STEADY)
        self.get_logger().info(f'{len(self._cameras)} cameras for {values["network"]}: '
                               + ', '.join(camera.image_topic for camera in self._cameras))

    def _gpu_decoder(self) -> DeviceDecoder:
        asked = f'cameras: parameter decoder is {GPU!r}'
        if self._exchange is None:
            raise ParameterError(f'{asked}, but pictures cannot stay on the GPU from process to process: run cameras and occupancy '
                                 f'in one, or set decoder to {CPU}')
        if self._reduced:
            raise ParameterError(f'{asked}, which decodes whole pictures: set reduced_decoding to false, or decoder to {CPU}')
        try:
            return DeviceDecoder()
        except ValueError as error:
            raise ParameterError(f'{asked}: {error} (decoder: {CPU})') from error

    def _subscribe(self, name: str) -> _Camera:
        values = declare(self, camera_parameters(name))
        camera = _Camera(
            name, self.resolve_topic_name(values[f'{name}.image_topic']),
            self.resolve_topic_name(values[f'{name}.camera_info_topic']),
            self.create_publisher(Image, f'{name}/occ/image', qos.SENSOR),
            self.create_publisher(CameraInfo, f'{name}/occ/camera_info', qos.CALIBRATION))
        kind = CompressedImage if values[f'{name}.transport'] == 'compressed' else Image
        override = QoSOverridingOptions.with_default_policies()
        self.create_subscription(CameraInfo, camera.info_topic, partial(self._on_info, camera), qos.CALIBRATION)
        self.create_subscription(kind, camera.image_topic, partial(self._on_image, camera), qos.own(qos.SENSOR),
                                 qos_overriding_options=override)
        return camera

    def _changed(self, values: dict[str, Any]) -> str:
        self._preprocessing = NETWORKS[values['network']].preprocessing
        return ''

    def _on_info(self, camera: _Camera, info: CameraInfo) -> None:
        key = (info.width, info.height, info.k.tobytes(), info.p.tobytes())
        if key == camera.info_key:
            return
        try:
            intrinsics = intrinsics_of(info.k, info.p, info.width, info.height, self._rectified, camera.info_topic)
        except CalibrationError as error:
            camera.refusal = str(error)
            self._health.problem(camera.name, 'bad_camera_info', str(error))
            camera.intrinsics, camera.info_key = None, None
            return
        if camera.info_key is not None:
            self.get_logger().warning(f'{camera.info_topic}: calibration changed; the new one holds from now on')
        if not rotation_is_sound(info.r):
            self.get_logger().warning(f'{camera.info_topic}: R = {np.asarray(info.r).tolist()} is not a rotation; it is not used')
        if not self._rectified and np.any(info.d):
            self.get_logger().warning(f'{camera.info_topic}: D = {np.asarray(info.d).tolist()} but pictures are used as they come; '
                                      'rectify them first (image_proc) and set rectified to true')
        camera.info_key, camera.intrinsics, camera.refusal = key, intrinsics, ''
        camera.size = (info.height, info.width)
        if camera.first is not None:
            first, camera.first = camera.first, None
            self._on_image(camera, first)

    def _on_image(self, camera: _Camera, message: CompressedImage | Image) -> None:
        camera.heard = True
        if camera.intrinsics is None:
            if camera.refusal:
                self._health.problem(camera.name, 'bad_camera_info', f'{camera.image_topic}: picture not used: {camera.refusal}')
            else:
                if camera.first is not None:
                    self._health.problem(camera.name, 'no_camera_info',
                                         f'{camera.image_topic}: picture not used: no CameraInfo on {camera.info_topic} yet')
                camera.first = message
            return
        make = partial(self._make, camera, message, camera.intrinsics, camera.size, self._preprocessing)
        frame = CameraFrame(camera.name, stamp_ns(message.header.stamp), message.header.frame_id, Lazy(make, self._pool))
        if camera.image.get_subscription_count():
            frame.picture.start().add_done_callback(partial(self._publish, camera, frame))
        if self._exchange is not None:
            self._exchange.give_camera(frame)

    def _make(self, camera: _Camera, message: CompressedImage | Image, intrinsics: np.ndarray, size: tuple[int, int],
              preprocessing: Any) -> tuple[Array, np.ndarray]:
        """Decode and fit one picture, unless it stays on the GPU; raises DecodeError, which is counted here."""
        try:
            if isinstance(message, Image):
                image = decode_raw(message.data, message.height, message.width, message.step, message.encoding, camera.image_topic)
                whole = image.shape[:2]
            elif self._decoder is not None:
                image = self._decoder(message.data, camera.image_topic)
                whole = image.shape[:2]
            elif self._reduced:
                least = resized_rows(*size, preprocessing), preprocessing.input_width
                image, whole = decode_reduced(message.data, camera.image_topic, least)
            else:
                image = decode_compressed(message.data, camera.image_topic)
                whole = image.shape[:2]
            if whole != size:
                raise DecodeError(f'{camera.image_topic}: picture is {whole[1]}x{whole[0]}, '
                                  f'but {camera.info_topic} describes {size[1]}x{size[0]}')
        except DecodeError as error:
            self._health.problem(camera.name, 'decode_error', str(error))
            raise
        self._health.count(camera.name, 'decoded')
        if not isinstance(image, np.ndarray):
            return image, intrinsics
        reduction = np.diag([image.shape[1] / size[1], image.shape[0] / size[0], 1.0])
        return fit(image, reduction @ intrinsics, preprocessing)

    def _publish(self, camera: _Camera, frame: CameraFrame, done: Future) -> None:
        if done.cancelled() or done.exception() is not None or not self.context.ok():
            return
        image, intrinsics = done.result()
        if not isinstance(image, np.ndarray):
            image, intrinsics = fit(on_host(image), intrinsics, self._preprocessing)
        head = header(frame.stamp_ns, frame.frame_id)
        camera.info.publish(camera_info_message(intrinsics, image.shape[0], image.shape[1], head))
        camera.image.publish(image_message(image, head))

    def _report_silence(self) -> None:
        silent = [camera for camera in self._cameras if not camera.heard]
        if self._flow.passed(SILENCE_S / 2) and silent:
            there = published_topics(self, 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
            topics = ', '.join(camera.image_topic for camera in silent)
            self._health.tell('cameras', 'silent', f'nothing on {topics} for {SILENCE_S:g} s; picture topics that somebody '
                              f'publishes: {there}')
        for camera in self._cameras:
            camera.heard = False

    def _describe(self) -> tuple[bytes, str, dict[str, object]]:
        bad = {camera.name: self._health.counts(camera.name) for camera in self._cameras}
        failed = sum(sum(counts.values()) - counts['decoded'] for counts in bad.values())
        lacking = [camera.name for camera in self._cameras if camera.intrinsics is None]
        if lacking:
            return WARN, f'no usable CameraInfo from {", ".join(lacking)}', {'not_used': failed}
        return OK, f'{len(self._cameras)} cameras', {'not_used': failed}

    def destroy_node(self) -> None:
        """Stop decoding and let go of everything."""
        if hasattr(self, '_pool'):  # Kilted destroys nodes whose making failed, too
            self._pool.shutdown(wait=True, cancel_futures=True)
        super().destroy_node()


def main(args: list[str] | None = None) -> int:
    """Console script `cameras`."""
    return run_node(CamerasNode, args)

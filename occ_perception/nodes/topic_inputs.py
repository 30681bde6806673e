"""What the `occupancy` node takes by topic, where the nodes before it run in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import message_filters
import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from occ_msgs.msg import SweepInfo
from occ_perception.nodes import qos
from occ_perception.nodes.conversions import stamp_ns, sweeps_of
from occ_perception.nodes.exchange import CameraFrame, Lazy, Sweep
from occ_perception.nodes.health import Health
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.intake.calibration import intrinsics_of
from occ_perception.runtime.intake.decode import decode_raw


class TopicInputs:
    """Subscriptions to <camera>/occ/image and occ/sweeps with what goes with each, paired by their equal stamps."""

    def __init__(self, node: Node, cameras: Sequence[str], health: Health, take_camera: Callable[[CameraFrame], None],
                 take_sweep: Callable[[Sweep], None]) -> None:
        self._node, self._health = node, health
        self._take_camera, self._take_sweep = take_camera, take_sweep
        self._subscriptions: list[Any] = []
        for name in cameras:
            self._pair((Image, f'{name}/occ/image', qos.SENSOR), (CameraInfo, f'{name}/occ/camera_info', qos.CALIBRATION),
                       partial(self._on_picture, name))
        self._pair((SweepInfo, 'occ/sweep_info', qos.SENSOR), (PointCloud2, 'occ/sweeps', qos.SENSOR), self._on_sweep)

    def close(self) -> None:
        """Subscribe to nothing any more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _pair(self, first: tuple[type, str, Any], second: tuple[type, str, Any], callback: Callable[..., None]) -> None:
        both = [message_filters.Subscriber(self._node, kind, topic, qos_profile=profile)
                for kind, topic, profile in (first, second)]
        message_filters.TimeSynchronizer(both, 5).registerCallback(callback)
        self._subscriptions += [each.sub for each in both]

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
            self._take_camera(CameraFrame(name, stamp_ns(image.header.stamp), image.header.frame_id, Lazy(picture)))
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
            self._take_sweep(Sweep(stamp_ns(cloud.header.stamp), Lazy(sweeps)))
        except Exception as error:  # see _on_picture
            self._health.problem('sweeps', 'not_taken', f'occ/sweeps: {type(error).__name__}: {error}')

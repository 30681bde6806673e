"""Frames of a bag with the poses that the live nodes find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from small_bag import START_NS
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer

from occ_perception.datasets.bag_frames import BagFrames
from occ_perception.datasets.bag_reader import Bag
from occ_perception.nodes.conversions import transform_matrix


class TfFrames(BagFrames):
    """Frames of a bag with poses from a tf buffer: tf interpolates quaternions, which differs in the last bits."""

    def __init__(self, bag: Path) -> None:
        super().__init__(bag)
        self._buffer = Buffer()
        with Bag(bag) as opened:
            for message in opened.messages({'/tf', '/tf_static'}):
                take = self._buffer.set_transform if message.topic == '/tf' else self._buffer.set_transform_static
                for one in deserialize_message(message.data, TFMessage).transforms:
                    take(one, 'bag')
        for name, mount in self._mounts.items():
            exact = self._lookup('base_link', name, START_NS)
            np.testing.assert_allclose(exact, mount, atol=1e-12)
            self._mounts[name] = exact

    def _lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        return transform_matrix(self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns)).transform)

    def pose(self, stamp_ns: int) -> np.ndarray:
        exact = self._lookup('odom', 'base_link', stamp_ns)
        np.testing.assert_allclose(exact, super().pose(stamp_ns), atol=1e-12)
        return exact

"""Sensor frames straight from a bag, without nodes: for pictures, baselines and offline checks."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from occ_perception.catalogue import NUSCENES_CAMERAS, LidarSpec
from occ_perception.datasets.bag_reader import Bag, header_stamp_ns
from occ_perception.datasets.dialects import NUSCENES_OFFSETS_S
from occ_perception.geometry.transforms import interpolate, matrix, rotation_from_quaternion
from occ_perception.runtime.frames import CameraImage, LidarSweep, SensorFrame
from occ_perception.runtime.intake.calibration import intrinsics_of
from occ_perception.runtime.intake.clouds import points_from_cloud
from occ_perception.runtime.intake.decode import decode_compressed
from occ_perception.runtime.intake.sweep_history import sweeps_by_age
from occ_perception.runtime.intake.sweeps import PlacedSweep, gathered, time_span, to_ego

IMAGE = '/{}/image_rect/compressed'
INFO = '/{}/camera_info'
LIDAR = '/LIDAR_TOP/points'


class BagFrames:
    """What our bags hold at any LiDAR stamp: the images that belong to it, the sweep in the ego frame, poses from tf.

    bag: an mcap file or a rosbag2 folder with the topics of the sample world. Read once, messages stay serialised. An image
    belongs to a stamp when it is the nearest to stamp + the camera's offset, as the live nodes have it.
    Raises BagError (a ValueError) when it cannot be read, ValueError when a topic is missing.
    """

    def __init__(self, bag: Path | str) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)
        wanted = {IMAGE.format(name) for name in NUSCENES_CAMERAS} | {INFO.format(name) for name in NUSCENES_CAMERAS}
        wanted |= {'/tf', '/tf_static', LIDAR}
        self._messages: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self._poses: list[tuple[int, np.ndarray]] = []
        self._mounts: dict[str, np.ndarray] = {}
        with Bag(bag) as opened:
            missing = sorted(wanted - set(opened.topics))
            if missing:
                raise ValueError(f'{bag} lacks {", ".join(missing)}; it has {", ".join(sorted(opened.topics))}')
            self._types = opened.topics
            for message in opened.messages(wanted):
                if message.topic in ('/tf', '/tf_static'):
                    self._take_transforms(message.topic, self._read(message.topic, message.data))
                else:
                    self._messages[message.topic].append((header_stamp_ns(message.data), message.data))
        for messages in self._messages.values():
            messages.sort(key=lambda entry: entry[0])
        self._poses.sort(key=lambda entry: entry[0])

    @property
    def lidar_stamps(self) -> list[int]:
        """Stamps of the LiDAR sweeps, nanoseconds."""
        return [stamp for stamp, _ in self._messages[LIDAR]]

    @property
    def ego_from_lidar(self) -> np.ndarray:
        """Mount of the LiDAR, (4, 4)."""
        return self._mounts[self._read(LIDAR, self._messages[LIDAR][0][1]).header.frame_id]

    def frames(self, stamps: Sequence[int]) -> Iterator[SensorFrame]:
        """The frame at each reference stamp (nanoseconds)."""
        for stamp in stamps:
            yield self.frame(stamp)

    def frame(self, stamp_ns: int, lidar: LidarSpec | None = None) -> SensorFrame:
        """Images that belong to stamp_ns and the sweep of that stamp (none where there is none), all poses included.

        lidar: of a network whose earlier sweeps are to go along.
        """
        cameras = {}
        for name in NUSCENES_CAMERAS:
            exposure, message = self._nearest(IMAGE.format(name), stamp_ns + round(1e9 * NUSCENES_OFFSETS_S[name]))
            _, info = self._nearest(INFO.format(name), exposure)
            image = decode_compressed(message.data, IMAGE.format(name))
            intrinsics = intrinsics_of(info.k, info.p, info.width, info.height, True, INFO.format(name))
            cameras[name] = CameraImage(name, exposure, image, intrinsics, self._mounts[message.header.frame_id],
                                        self.pose(exposure))
        return SensorFrame(stamp_ns, self.pose(stamp_ns), cameras, self._sweeps(stamp_ns, lidar or LidarSpec()))

    def _sweeps(self, stamp_ns: int, lidar: LidarSpec) -> tuple[LidarSweep, ...]:
        placed = [PlacedSweep(stamp, points, self.ego_from_lidar, self.pose(stamp))
                  for stamp in (stamp_ns, *sweeps_by_age(self.lidar_stamps, stamp_ns, lidar.ages_s, lidar.tolerance_s))
                  if stamp is not None and (points := self.points(stamp)) is not None]
        return gathered(placed[0], placed[1:]) if placed and placed[0].stamp_ns == stamp_ns else ()

    def pose(self, stamp_ns: int) -> np.ndarray:
        """fixed_from_ego (4, 4) at a stamp, between the two tf messages around it."""
        after = bisect_left(self._poses, stamp_ns, key=lambda entry: entry[0])
        if not 0 < after < len(self._poses):
            return self._poses[min(after, len(self._poses) - 1)][1]
        (t0, first), (t1, second) = self._poses[after - 1], self._poses[after]
        return interpolate(first, second, (stamp_ns - t0) / (t1 - t0))

    def points(self, stamp_ns: int) -> np.ndarray | None:
        """The sweep of a LiDAR stamp in the ego frame, (M, 6) float32 as LidarSweep has them; None where there is none."""
        measured, cloud = self._nearest(LIDAR, stamp_ns)
        if measured != stamp_ns:
            return None
        points, _ = points_from_cloud(cloud, stamp_ns, LIDAR)
        first, last = (self.pose(stamp_ns + round(1e9 * seconds)) for seconds in time_span(points))
        return to_ego(points, self._mounts[cloud.header.frame_id], first, last, self.pose(stamp_ns))

    def _read(self, topic: str, data: bytes) -> Any:
        return self._store.deserialize_cdr(data, self._types[topic])

    def _take_transforms(self, topic: str, message: Any) -> None:
        for entry in message.transforms:
            q, t = entry.transform.rotation, entry.transform.translation
            transform = matrix(rotation_from_quaternion(q.x, q.y, q.z, q.w), (t.x, t.y, t.z))
            if topic == '/tf_static':
                self._mounts[entry.child_frame_id] = transform
            elif entry.child_frame_id == 'base_link':
                stamp = entry.header.stamp
                self._poses.append((stamp.sec * 1_000_000_000 + stamp.nanosec, transform))

    def _nearest(self, topic: str, stamp_ns: int) -> tuple[int, Any]:
        messages = self._messages[topic]
        after = bisect_left(messages, stamp_ns, key=lambda entry: entry[0])
        nearest, data = min(messages[max(after - 1, 0):after + 1], key=lambda entry: abs(entry[0] - stamp_ns))
        return nearest, self._read(topic, data)

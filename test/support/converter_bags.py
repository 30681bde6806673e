"""Small bags as other converters write them, faults included: the drive of small_bag (straight ahead, 5 m/s) in their layouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from rosbags.convert.converter import convert
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from small_bag import CAMERA_YAW, SECOND, SIZE, SPEED_M_S, START_NS, camera_mount, jpeg

from occ_perception.datasets.dialects import NUSCENES_OFFSETS_S

KEY_NS = SECOND // 2
FOCAL = 120.0
LIDAR_MOUNT = ((0.9, 0.0, 1.8), (0.0, 0.0, -np.sqrt(0.5), np.sqrt(0.5)))
BROKEN_R = np.array([1, 0, 0, 1, 0, 0, 1, 0, 0.0])


def readings(seconds: float) -> Iterator[tuple[str, int, int, bool]]:
    """(channel, number, stamp, whether of a key frame) of every reading, as nuScenes times them."""
    for i in range(round(seconds * 20) + 1):
        yield 'LIDAR_TOP', i, START_NS + i * SECOND // 20, i % 10 == 0
    for name in CAMERA_YAW:
        for i in range(round(seconds * 12) + 1):
            yield name, i, START_NS + round(NUSCENES_OFFSETS_S[name] * SECOND) + round(i * SECOND / 12), i % 6 == 0


def place(stamp_ns: int) -> tuple[float, float, float]:
    """Where the vehicle is."""
    return SPEED_M_S * (stamp_ns - START_NS) / SECOND, 0.0, 0.0


class Messages:
    """Messages of a type store; those of ROS 1 have a sequence number in their headers."""

    def __init__(self, store: Any, ros1: bool) -> None:
        self.store, self.ros1, self.types = store, ros1, store.types

    def make(self, kind: str, *values: Any, **named: Any) -> Any:
        package, name = kind.split('/')
        return self.types[f'{package}/msg/{name}'](*values, **named)

    def header(self, stamp_ns: int, frame: str) -> Any:
        stamp = self.make('builtin_interfaces/Time', *divmod(stamp_ns, SECOND))
        return self.make('std_msgs/Header', *([0] if self.ros1 else []), stamp, frame)

    def transform(self, stamp_ns: int, parent: str, child: str, xyz: Any = (0, 0, 0), turned: Any = (0, 0, 0, 1)) -> Any:
        moved = self.make('geometry_msgs/Transform', self.make('geometry_msgs/Vector3', *map(float, xyz)),
                          self.make('geometry_msgs/Quaternion', *map(float, turned)))
        return self.make('geometry_msgs/TransformStamped', self.header(stamp_ns, parent), child, moved)

    def odometry(self, stamp_ns: int, parent: str) -> Any:
        pose = self.make('geometry_msgs/Pose', self.make('geometry_msgs/Point', *place(stamp_ns)),
                         self.make('geometry_msgs/Quaternion', 0.0, 0.0, 0.0, 1.0))
        zero = self.make('geometry_msgs/Vector3', 0.0, 0.0, 0.0)
        return self.make('nav_msgs/Odometry', self.header(stamp_ns, parent), 'base_link',
                         self.make('geometry_msgs/PoseWithCovariance', pose, np.zeros(36)),
                         self.make('geometry_msgs/TwistWithCovariance', self.make('geometry_msgs/Twist', zero, zero), np.zeros(36)))

    def info(self, stamp_ns: int, frame: str, r: np.ndarray) -> Any:
        height, width = SIZE
        k = np.array([FOCAL, 0, width / 2, 0, FOCAL, height / 2, 0, 0, 1.0])
        p = np.array([FOCAL, 0, width / 2, 0, 0, FOCAL, height / 2, 0, 0, 0, 1, 0.0])
        roi = self.make('sensor_msgs/RegionOfInterest', 0, 0, 0, 0, False)
        return self.make('sensor_msgs/CameraInfo', self.header(stamp_ns, frame), height, width, '', np.zeros(0), k, r, p, 0, 0, roi)

    def cloud(self, stamp_ns: int, frame: str, columns: tuple[tuple[str, str], ...], count: int = 320) -> Any:
        """A ring of 10 m around the sensor, its intensity 7; columns: (field, numpy type) one after the other."""
        codes = {'u1': 2, '<u2': 4, '<f4': 7}
        dtype = np.dtype(list(columns))
        records = np.zeros(count, dtype)
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
        records['x'], records['y'], records['intensity'] = 10 * np.cos(angles), 10 * np.sin(angles), 7
        fields = [self.make('sensor_msgs/PointField', name, dtype.fields[name][1], codes[kind], 1) for name, kind in columns]
        return self.make('sensor_msgs/PointCloud2', self.header(stamp_ns, frame), 1, count, fields, False, dtype.itemsize,
                         records.nbytes, records.view(np.uint8).ravel(), True)

    def compressed(self, stamp_ns: int, frame: str, data: np.ndarray) -> Any:
        return self.make('sensor_msgs/CompressedImage', self.header(stamp_ns, frame), 'jpeg', data)

    def raw(self, stamp_ns: int, frame: str, data: np.ndarray) -> Any:
        blue_first = simplejpeg.decode_jpeg(data.tobytes(), colorspace='BGR')
        return self.make('sensor_msgs/Image', self.header(stamp_ns, frame), *SIZE, 'bgr8', 0, 3 * SIZE[1], blue_first.ravel())


XYZI = (('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('intensity', '<f4'))
XYZIR = (*XYZI, ('ring', '<f4'))
PACKED = (*XYZI[:3], ('intensity', 'u1'), ('return_type', 'u1'), ('channel', '<u2'))
"""Fields of nuscenes2bag, of nuscenes_to_ros2bag and foxglove/nuscenes2bag, of a fork of the former."""


def write_nuscenes_to_ros2bag(path: Path, seconds: float, columns: tuple[tuple[str, str], ...] = XYZIR) -> Path:
    """WATonomous/nuscenes_to_ros2bag and its forks: tf at key frames alone, on /tf, the next one's along; R is no rotation; what
    belongs to a key frame is recorded at its LiDAR stamp."""
    make = Messages(get_typestore(Stores.ROS2_JAZZY), False)
    out: list[tuple[int, str, str, Any]] = []

    def at_key(stamp: int) -> list[Any]:
        return [make.transform(stamp, 'map', 'base_link', place(stamp)),
                make.transform(stamp, 'base_link', 'LIDAR_TOP', *LIDAR_MOUNT),
                *(make.transform(stamp, 'base_link', name, *camera_mount(name)) for name in CAMERA_YAW)]

    keys = [START_NS + i * KEY_NS for i in range(int(seconds * 2) + 1)]
    for number, stamp in enumerate(keys):
        transforms = at_key(stamp) + (at_key(keys[number + 1]) if number + 1 < len(keys) else [])
        out.append((stamp, '/tf', 'tf2_msgs/msg/TFMessage', make.make('tf2_msgs/TFMessage', transforms)))
        out.append((stamp, '/odom', 'nav_msgs/msg/Odometry', make.odometry(stamp, 'map')))
    for channel, number, stamp, key in readings(seconds):
        recorded = START_NS + number // (10 if channel == 'LIDAR_TOP' else 6) * KEY_NS if key else stamp
        if channel == 'LIDAR_TOP':
            out.append((recorded, '/LIDAR_TOP', 'sensor_msgs/msg/PointCloud2', make.cloud(stamp, channel, columns)))
        else:
            out.append((recorded, f'/{channel}/image_rect_compressed', 'sensor_msgs/msg/CompressedImage',
                        make.compressed(stamp, channel, jpeg(channel, number))))
            out.append((recorded, f'/{channel}/camera_info', 'sensor_msgs/msg/CameraInfo', make.info(stamp, channel, BROKEN_R)))
    connections: dict[str, Any] = {}
    with Ros2Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for recorded, topic, kind, message in sorted(out, key=lambda entry: entry[0]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=make.store)
            writer.write(connections[topic], recorded, make.store.serialize_cdr(message, kind))
    return path


def write_nuscenes2bag(path: Path, seconds: float, compressed: bool = False, infos: bool = True, r: np.ndarray = BROKEN_R) -> Path:
    """clynamen/nuscenes2bag: a ROS 1 bag <path>.bag, converted to the ROS 2 bag `path`; topics without slash, lower-case frames,
    every transform anew at every ego pose, tf/tfMessage. infos: with the CameraInfo that the original leaves out."""
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg('geometry_msgs/TransformStamped[] transforms\n', 'tf/msg/tfMessage'))
    make = Messages(store, True)
    out: list[tuple[int, str, str, Any]] = []
    for channel, number, stamp, _ in readings(seconds):
        frame = channel.lower()
        transforms = [make.transform(stamp, 'odom', 'base_link', place(stamp)), make.transform(stamp, 'map', 'odom'),
                      make.transform(stamp, 'base_link', 'lidar_top', *LIDAR_MOUNT),
                      *(make.transform(stamp, 'base_link', name.lower(), *camera_mount(name)) for name in CAMERA_YAW)]
        out.append((stamp, '/tf', 'tf/msg/tfMessage', make.make('tf/tfMessage', transforms)))
        out.append((stamp, '/odom', 'nav_msgs/msg/Odometry', make.odometry(stamp, 'odom')))
        if channel == 'LIDAR_TOP':
            out.append((stamp, frame, 'sensor_msgs/msg/PointCloud2', make.cloud(stamp, frame, XYZI)))
            continue
        data = jpeg(channel, number)
        if compressed:
            out.append((stamp, f'{frame}/compressed', 'sensor_msgs/msg/CompressedImage', make.compressed(stamp, frame, data)))
        else:
            out.append((stamp, f'{frame}/raw', 'sensor_msgs/msg/Image', make.raw(stamp, frame, data)))
        if infos:
            out.append((stamp, f'{frame}/camera_info', 'sensor_msgs/msg/CameraInfo', make.info(stamp, frame, r)))
    connections: dict[str, Any] = {}
    ros1 = path.with_suffix('.bag')
    with Ros1Writer(ros1) as writer:
        for stamp, topic, kind, message in sorted(out, key=lambda entry: entry[0]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], stamp, store.serialize_ros1(message, kind))
    convert([ros1], path, 'sqlite3', 9, None, 'none', None, get_typestore(Stores.ROS2_JAZZY), (), (), (), ())
    return path

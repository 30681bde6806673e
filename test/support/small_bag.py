"""Small bags for node tests: six cameras of random pictures, a ring-shaped cloud, a vehicle that drives ahead evenly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import simplejpeg
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from occ_perception.datasets.dialects import DIALECTS, NUSCENES_OFFSETS_S, Dialect

SECOND = 1_000_000_000
START_NS = 1_600_000_000 * SECOND
SIZE = (90, 160)
SPEED_M_S = 5.0
CAMERA_YAW = {'CAM_FRONT': 0, 'CAM_FRONT_LEFT': 55, 'CAM_BACK_LEFT': 110, 'CAM_BACK': 180, 'CAM_BACK_RIGHT': -110,
              'CAM_FRONT_RIGHT': -55}

STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types


def header(stamp_ns: int, frame: str):
    sec, nanosec = divmod(stamp_ns, SECOND)
    return T['std_msgs/msg/Header'](stamp=T['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec), frame_id=frame)


def transform(stamp_ns: int, parent: str, child: str, xyz=(0.0, 0.0, 0.0), quaternion=(0.0, 0.0, 0.0, 1.0)):
    vector = T['geometry_msgs/msg/Vector3'](*map(float, xyz))
    rotation = T['geometry_msgs/msg/Quaternion'](*map(float, quaternion))
    moved = T['geometry_msgs/msg/Transform'](vector, rotation)
    return T['geometry_msgs/msg/TransformStamped'](header(stamp_ns, parent), child, moved)


def turning(topic: str, message, seconds: float):
    """For write_bag's `change`: the vehicle drives a circle of 20 m."""
    if topic != '/tf':
        return message
    yaw = SPEED_M_S / 20 * seconds
    place = 20 * np.sin(yaw), 20 * (1 - np.cos(yaw)), 0.0
    (moved,) = message
    return [transform(START_NS + round(seconds * SECOND), moved.header.frame_id, moved.child_frame_id, place,
                      (0, 0, np.sin(yaw / 2), np.cos(yaw / 2)))]


def camera_mount(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """Place and quaternion (x, y, z, w) of a camera: optical axes, turned to its yaw."""
    half = np.radians(CAMERA_YAW[name]) / 2
    yaw, optical = np.array([0, 0, np.sin(half), np.cos(half)]), np.array([-0.5, 0.5, -0.5, 0.5])
    x1, y1, z1, w1 = yaw
    x2, y2, z2, w2 = optical
    q = (w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2, w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
         w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2, w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2)
    return (1.0, 0.0, 1.5), q


def camera_info(stamp_ns: int, frame: str, focal: float = 120.0):
    height, width = SIZE
    k = np.array([focal, 0, width / 2, 0, focal, height / 2, 0, 0, 1.0])
    p = np.array([focal, 0, width / 2, 0, 0, focal, height / 2, 0, 0, 0, 1, 0.0])
    roi = T['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    r = np.eye(3).ravel()
    return T['sensor_msgs/msg/CameraInfo'](header(stamp_ns, frame), height, width, 'plumb_bob', np.zeros(5), k, r, p, 0, 0, roi)


def cloud(stamp_ns: int, frame: str, count: int = 200):
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    floats = [(name, '<f4') for name in ('x', 'y', 'z', 'intensity')]
    records = np.zeros(count, np.dtype([*floats, ('ring', '<u2'), ('time', '<f4')]))
    records['x'], records['y'], records['time'] = 10 * np.cos(angles), 10 * np.sin(angles), np.linspace(-0.05, 0, count)
    codes = {'<f4': 7, '<u2': 4}
    fields = [T['sensor_msgs/msg/PointField'](name, offset, codes[dtype.str], 1)
              for name, (dtype, offset) in records.dtype.fields.items()]
    return T['sensor_msgs/msg/PointCloud2'](header(stamp_ns, frame), 1, count, fields, False, records.itemsize, records.nbytes,
                                            records.view(np.uint8).ravel(), True)


def jpeg(name: str, index: int) -> np.ndarray:
    rng = np.random.default_rng([sum(map(ord, name)), index])
    coarse = rng.integers(0, 255, (9, 16, 3), np.uint8)
    pixels = np.ascontiguousarray(coarse.repeat(10, 0).repeat(10, 1))
    return np.frombuffer(simplejpeg.encode_jpeg(pixels, colorspace='RGB'), np.uint8)


def write_bag(path: Path, seconds: float = 2.0, dialect: Dialect = DIALECTS[0], cameras: tuple[str, ...] = tuple(CAMERA_YAW),
              storage: str = 'mcap', skip: tuple[str, ...] = (), change=None, tf_gap: tuple[float, float] | None = None) -> Path:
    """Write a bag folder. skip: topics left out. change(topic, message, seconds) -> message or None. tf_gap: no /tf between [s]."""
    lower = 'lower' in dialect.image
    frame_of = {name: name.lower() if lower else name for name in cameras}
    lidar_frame = 'lidar_top' if lower else 'LIDAR_TOP'
    messages: list[tuple[int, str, str, object]] = []
    mounts = [transform(START_NS, dialect.base_frame, frame_of[name], *camera_mount(name)) for name in cameras]
    mounts.append(transform(START_NS, dialect.base_frame, lidar_frame, (0.9, 0, 1.8), (0, 0, -np.sqrt(0.5), np.sqrt(0.5))))
    messages.append((START_NS - SECOND // 5, '/tf_static', 'tf2_msgs/msg/TFMessage', mounts))
    for i in range(-10, int(seconds * 50) + 5):
        stamp = START_NS + i * SECOND // 50
        if tf_gap is None or not tf_gap[0] <= i / 50 < tf_gap[1]:
            at = transform(stamp, dialect.fixed_frame, dialect.base_frame, (SPEED_M_S * i / 50, 0, 0))
            messages.append((stamp, '/tf', 'tf2_msgs/msg/TFMessage', [at]))
    for i in range(int(seconds * 20)):
        stamp = START_NS + i * SECOND // 20
        messages.append((stamp, f'/{dialect.points}', 'sensor_msgs/msg/PointCloud2', cloud(stamp, lidar_frame)))
    for name in cameras:
        for i in range(int(seconds * 12)):
            stamp = START_NS + round(NUSCENES_OFFSETS_S[name] * SECOND) + round(i * SECOND / 12)
            picture = T['sensor_msgs/msg/CompressedImage'](header(stamp, frame_of[name]), 'jpeg', jpeg(name, i))
            if dialect.image.endswith('/raw'):
                pixels = simplejpeg.decode_jpeg(jpeg(name, i).tobytes())
                picture = T['sensor_msgs/msg/Image'](header(stamp, frame_of[name]), *SIZE, 'rgb8', 0, 3 * SIZE[1], pixels.ravel())
            info = camera_info(stamp, frame_of[name])
            messages.append((stamp, f'/{dialect.info_topic(name)}', info.__msgtype__, info))
            messages.append((stamp, f'/{dialect.image_topic(name)}', picture.__msgtype__, picture))
    connections = {}
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3) as writer:
        for stamp, topic, kind, message in sorted(messages, key=lambda m: m[0]):
            if topic in skip:
                continue
            if change is not None:
                message = change(topic, message, (stamp - START_NS) / SECOND)
                if message is None:
                    continue
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            if isinstance(message, list):
                message = T['tf2_msgs/msg/TFMessage'](message)
            writer.write(connections[topic], stamp, STORE.serialize_cdr(message, kind))
    return path


"""Frames from a bag: nearest images, interpolated poses, the sweep moved point by point."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.bag_frames import BagFrames

SECOND = 1_000_000_000
STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types
SPEED = 10.0


def header(stamp: int, frame: str) -> object:
    return T['std_msgs/msg/Header'](T['builtin_interfaces/msg/Time'](*divmod(stamp, SECOND)), frame)


def transform(stamp: int, parent: str, child: str, x: float, quaternion: tuple[float, ...] = (0, 0, 0, 1)) -> object:
    return T['geometry_msgs/msg/TransformStamped'](header(stamp, parent), child, T['geometry_msgs/msg/Transform'](
        T['geometry_msgs/msg/Vector3'](x, 0.0, 0.0), T['geometry_msgs/msg/Quaternion'](*(float(v) for v in quaternion))))


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second at 10 m/s along x: cameras at 10 Hz whose grey tells the exposure, one sweep of two points."""
    path = tmp_path_factory.mktemp('bag') / 'scene'
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}

        def write(topic: str, kind: str, stamp: int, message: object) -> None:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], stamp, STORE.serialize_cdr(message, kind))

        static = [transform(0, 'base_link', name, 1.0) for name in NUSCENES_CAMERAS]
        static.append(transform(0, 'base_link', 'LIDAR_TOP', 0.5))
        write('/tf_static', 'tf2_msgs/msg/TFMessage', 0, T['tf2_msgs/msg/TFMessage'](static))
        for stamp in range(0, SECOND // 2 + 1, SECOND // 50):
            moved = transform(stamp, 'odom', 'base_link', SPEED * stamp / SECOND)
            write('/tf', 'tf2_msgs/msg/TFMessage', stamp, T['tf2_msgs/msg/TFMessage']([moved]))
        k = np.array([20, 0, 16, 0, 20, 8, 0, 0, 1], float)
        p = np.array([20, 0, 16, 0, 0, 20, 8, 0, 0, 0, 1, 0], float)
        for tenth in range(6):
            stamp = tenth * SECOND // 10
            buffer = io.BytesIO()
            Image.new('RGB', (32, 16), (40 * tenth,) * 3).save(buffer, 'JPEG')
            data = np.frombuffer(buffer.getvalue(), np.uint8)
            for name in NUSCENES_CAMERAS:
                write(f'/{name}/image_rect/compressed', 'sensor_msgs/msg/CompressedImage', stamp,
                      T['sensor_msgs/msg/CompressedImage'](header(stamp, name), 'jpeg', data))
                roi = T['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
                write(f'/{name}/camera_info', 'sensor_msgs/msg/CameraInfo', stamp, T['sensor_msgs/msg/CameraInfo'](
                    header(stamp, name), 16, 32, 'plumb_bob', np.zeros(5), k, np.eye(3).ravel(), p, 0, 0, roi))
        points = np.array([(5, 0, 0, 1, 0, -0.05), (5, 0, 0, 1, 0, 0)], 'f4,f4,f4,f4,u2,f4')
        fields = [T['sensor_msgs/msg/PointField'](name, points.dtype.fields[key][1], kind, 1) for name, key, kind in zip(
            ('x', 'y', 'z', 'intensity', 'ring', 'time'), points.dtype.names, (7, 7, 7, 7, 4, 7), strict=True)]
        stamp = SECOND // 5
        write('/LIDAR_TOP/points', 'sensor_msgs/msg/PointCloud2', stamp, T['sensor_msgs/msg/PointCloud2'](
            header(stamp, 'LIDAR_TOP'), 1, 2, fields, False, points.itemsize, 2 * points.itemsize,
            np.frombuffer(points.tobytes(), np.uint8), True))
    return path


def test_frame_has_nearest_images_poses_and_moved_points(bag: Path) -> None:
    frames = BagFrames(bag)
    assert frames.lidar_stamps == [SECOND // 5]
    frame = frames.frame(SECOND // 5)
    assert sorted(frame.cameras) == sorted(NUSCENES_CAMERAS)
    camera = frame.cameras['CAM_FRONT']
    assert camera.stamp_ns == SECOND // 5
    assert abs(int(camera.image[8, 16, 0]) - 80) < 4
    assert camera.intrinsics[0, 0] == 20
    assert camera.ego_from_camera[0, 3] == 1
    assert frame.fixed_from_ego[0, 3] == pytest.approx(2.0)
    # both points at 5 m in front of the sensor, which was half a metre further back when the first was measured
    np.testing.assert_allclose(frame.sweeps[0].points[:, 0], [5.0, 5.5], atol=1e-4)


def test_between_stamps(bag: Path) -> None:
    frames = BagFrames(bag)
    frame = frames.frame(SECOND // 5 + 30_000_000)
    assert frame.sweeps == ()
    assert frame.fixed_from_ego[0, 3] == pytest.approx(2.3)
    assert frames.frame(SECOND // 5 + 70_000_000).cameras['CAM_BACK'].stamp_ns == 3 * SECOND // 10


def test_errors_name_the_bag(bag: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='does not exist'):
        BagFrames(tmp_path / 'absent.mcap')
    with Writer(tmp_path / 'poor', version=9) as writer:
        tf = writer.add_connection('/tf', 'tf2_msgs/msg/TFMessage', typestore=STORE)
        writer.write(tf, 1, STORE.serialize_cdr(T['tf2_msgs/msg/TFMessage']([]), 'tf2_msgs/msg/TFMessage'))
    with pytest.raises(ValueError, match=r'lacks .*CAM_FRONT/camera_info'):
        BagFrames(tmp_path / 'poor')

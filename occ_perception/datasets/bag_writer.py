"""ROS 2 bags of generated scenes, written without ROS through rosbags: mcap, Jazzy message definitions, CDR."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from occ_perception.geometry.transforms import inverse, quaternion_from_rotation

MAP, ODOM, BASE = 'map', 'odom', 'base_link'
_STORE = get_typestore(Stores.ROS2_JAZZY)
_T: dict[str, Any] = dict(_STORE.types)
_UNSET = QosTime(0, 0)
_POINT_FIELDS = (('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 12, 7), ('ring', 16, 4), ('time', 20, 7))
"""Name, offset and PointField datatype (7 = float32, 4 = uint16) of each field of a point."""
POINT_DTYPE = np.dtype({'names': [name for name, _, _ in _POINT_FIELDS], 'offsets': [offset for _, offset, _ in _POINT_FIELDS],
                        'formats': [{7: '<f4', 4: '<u2'}[code] for _, _, code in _POINT_FIELDS], 'itemsize': 24})
"""One LiDAR point in PointCloud2 data; time in seconds relative to the header's stamp, <= 0."""


def _qos(reliability: QosReliability, durability: QosDurability, depth: int) -> Qos:
    return Qos(QosHistory.KEEP_LAST, depth, reliability, durability, _UNSET, _UNSET, QosLiveliness.SYSTEM_DEFAULT, _UNSET, False)


_SENSOR = _qos(QosReliability.BEST_EFFORT, QosDurability.VOLATILE, 5)
_RELIABLE = _qos(QosReliability.RELIABLE, QosDurability.VOLATILE, 100)
_LATCHED = _qos(QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, 1)
_TYPES = {
    'image_rect/compressed': ('sensor_msgs/msg/CompressedImage', _SENSOR),
    'camera_info': ('sensor_msgs/msg/CameraInfo', _SENSOR),
    'points': ('sensor_msgs/msg/PointCloud2', _SENSOR),
    'tf': ('tf2_msgs/msg/TFMessage', _RELIABLE),
    'tf_static': ('tf2_msgs/msg/TFMessage', _LATCHED),
    'odom': ('nav_msgs/msg/Odometry', _RELIABLE),
}


def _header(stamp_ns: int, frame: str) -> Any:
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    return _T['std_msgs/msg/Header'](stamp=_T['builtin_interfaces/msg/Time'](sec=seconds, nanosec=rest), frame_id=frame)


def _transform(stamp_ns: int, parent: str, child: str, parent_from_child: np.ndarray) -> Any:
    x, y, z, w = quaternion_from_rotation(parent_from_child[:3, :3])
    place = [float(v) for v in parent_from_child[:3, 3]]
    return _T['geometry_msgs/msg/TransformStamped'](
        header=_header(stamp_ns, parent), child_frame_id=child,
        transform=_T['geometry_msgs/msg/Transform'](translation=_T['geometry_msgs/msg/Vector3'](*place),
                                                    rotation=_T['geometry_msgs/msg/Quaternion'](x, y, z, w)))


class BagWriter:
    """Writes one bag folder (<path>/<path.name>.mcap and metadata.yaml); give messages in the order of their stamps.

    path must not exist. Used as a context manager.
    """

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()

    def _write(self, topic: str, stamp_ns: int, message: Any) -> None:
        suffix = topic.split('/', 2)[2] if topic.count('/') > 1 else topic[1:]
        kind, qos = _TYPES[suffix]
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=_STORE, offered_qos_profiles=[qos])
        self._writer.write(self._connections[topic], stamp_ns, _STORE.serialize_cdr(message, kind))

    def static_transforms(self, stamp_ns: int, sensors: Iterable[tuple[str, np.ndarray]]) -> None:
        """/tf_static: map -> odom (identity) and base_link -> each sensor (name, (4, 4) ego_from_sensor)."""
        transforms = [_transform(stamp_ns, MAP, ODOM, np.eye(4))]
        transforms += [_transform(stamp_ns, BASE, name, mount) for name, mount in sensors]
        self._write('/tf_static', stamp_ns, _T['tf2_msgs/msg/TFMessage'](transforms))

    def odometry(self, stamp_ns: int, odom_from_ego: np.ndarray, velocity: np.ndarray, yaw_rate: float) -> None:
        """/tf odom -> base_link and /odom; velocity (3,) in odom axes, m/s; yaw_rate rad/s."""
        self._write('/tf', stamp_ns, _T['tf2_msgs/msg/TFMessage']([_transform(stamp_ns, ODOM, BASE, odom_from_ego)]))
        x, y, z, w = quaternion_from_rotation(odom_from_ego[:3, :3])
        forward = inverse(odom_from_ego)[:3, :3] @ velocity
        vector, diagonal = _T['geometry_msgs/msg/Vector3'], np.diag([1e-4] * 6).ravel()
        pose = _T['geometry_msgs/msg/Pose'](position=_T['geometry_msgs/msg/Point'](*[float(v) for v in odom_from_ego[:3, 3]]),
                                            orientation=_T['geometry_msgs/msg/Quaternion'](x, y, z, w))
        twist = _T['geometry_msgs/msg/Twist'](
            linear=vector(*[float(v) for v in forward]), angular=vector(0.0, 0.0, float(yaw_rate))
        )
        self._write('/odom', stamp_ns, _T['nav_msgs/msg/Odometry'](
            header=_header(stamp_ns, ODOM), child_frame_id=BASE,
            pose=_T['geometry_msgs/msg/PoseWithCovariance'](pose=pose, covariance=diagonal),
            twist=_T['geometry_msgs/msg/TwistWithCovariance'](twist=twist, covariance=diagonal)))

    def image(self, stamp_ns: int, camera: str, jpeg: bytes, size: tuple[int, int], intrinsics: np.ndarray) -> None:
        """Rectified JPEG picture of size (width, height) and its CameraInfo with the same stamp."""
        k = np.asarray(intrinsics, np.float64)
        roi = _T['sensor_msgs/msg/RegionOfInterest'](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        self._write(
            f'/{camera}/camera_info',
            stamp_ns,
            _T['sensor_msgs/msg/CameraInfo'](
                header=_header(stamp_ns, camera),
                height=size[1],
                width=size[0],
                distortion_model='plumb_bob',
                d=np.zeros(5),
                k=k.ravel(),
                r=np.eye(3).ravel(),
                p=np.hstack([k, np.zeros((3, 1))]).ravel(),
                binning_x=0,
                binning_y=0,
                roi=roi,
            ),
        )
        self._write(f'/{camera}/image_rect/compressed', stamp_ns, _T['sensor_msgs/msg/CompressedImage'](
            header=_header(stamp_ns, camera), format='jpeg', data=np.frombuffer(jpeg, np.uint8)))

    def points(self, stamp_ns: int, lidar: str, points: np.ndarray) -> None:
        """Sweep as PointCloud2; points: (M,) records of POINT_DTYPE, in the LiDAR's axes at each point's own time."""
        fields = [_T['sensor_msgs/msg/PointField'](name, offset, code, 1) for name, offset, code in _POINT_FIELDS]
        self._write(f'/{lidar}/points', stamp_ns, _T['sensor_msgs/msg/PointCloud2'](
            header=_header(stamp_ns, lidar), height=1, width=len(points), fields=fields, is_bigendian=False,
            point_step=POINT_DTYPE.itemsize, row_step=POINT_DTYPE.itemsize * len(points),
            data=np.ascontiguousarray(points).view(np.uint8).ravel(), is_dense=True))

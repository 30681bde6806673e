"""ROS 2 bags under our own topic names, written without ROS through rosbags: mcap, Jazzy message definitions, CDR."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zstandard
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from occ_perception.datasets.message_types import register_occ_messages
from occ_perception.geometry.transforms import quaternion_from_rotation
from occ_perception.geometry.voxel_grid import VoxelGridSpec

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
    'voxels': ('occ_msgs/msg/VoxelGrid', _RELIABLE),
    'instances': ('occ_msgs/msg/InstanceArray', _RELIABLE),
}
_ZSTD = 1
"""VoxelGrid.ENCODING_ZSTD."""


@dataclass(frozen=True)
class TrueObject:
    """One annotated object: id from 1, Occ3D class; ego_from_box (4, 4) with the box's x along its length; length, width, height
    in metres; velocity (3,) over ground in ego axes, m/s, zero where unknown."""

    id: int
    class_id: int
    ego_from_box: np.ndarray
    size_m: tuple[float, float, float]
    velocity: np.ndarray


def _header(stamp_ns: int, frame: str) -> Any:
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    return _T['std_msgs/msg/Header'](stamp=_T['builtin_interfaces/msg/Time'](sec=seconds, nanosec=rest), frame_id=frame)


def _vector(values: np.ndarray | tuple[float, ...]) -> Any:
    return _T['geometry_msgs/msg/Vector3'](*[float(v) for v in values])


def _transform(stamp_ns: int, parent: str, child: str, parent_from_child: np.ndarray) -> Any:
    rotation = _T['geometry_msgs/msg/Quaternion'](*quaternion_from_rotation(parent_from_child[:3, :3]))
    return _T['geometry_msgs/msg/TransformStamped'](
        header=_header(stamp_ns, parent), child_frame_id=child,
        transform=_T['geometry_msgs/msg/Transform'](translation=_vector(parent_from_child[:3, 3]), rotation=rotation))


def _pose(transform: np.ndarray) -> Any:
    position = _T['geometry_msgs/msg/Point'](*[float(v) for v in transform[:3, 3]])
    return _T['geometry_msgs/msg/Pose'](position, _T['geometry_msgs/msg/Quaternion'](*quaternion_from_rotation(transform[:3, :3])))


def camera_info(stamp_ns: int, frame: str, size: tuple[int, int], intrinsics: np.ndarray) -> Any:
    """CameraInfo of a rectified picture of size (width, height): K and P of intrinsics (3, 3), R the identity, no distortion."""
    k = np.asarray(intrinsics, np.float64)
    roi = _T['sensor_msgs/msg/RegionOfInterest'](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return _T['sensor_msgs/msg/CameraInfo'](
        header=_header(stamp_ns, frame), height=size[1], width=size[0], distortion_model='plumb_bob', d=np.zeros(5), k=k.ravel(),
        r=np.eye(3).ravel(), p=np.hstack([k, np.zeros((3, 1))]).ravel(), binning_x=0, binning_y=0, roi=roi)


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
        if error is None:
            self._writer.close()
        else:
            self._writer.abort()

    def note(self, key: str, value: str) -> None:
        """Put a word of where the bag comes from into metadata.yaml (custom_data)."""
        self._writer.set_custom_data(key, value)

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

    def ego_pose(self, stamp_ns: int, odom_from_ego: np.ndarray) -> None:
        """/tf odom -> base_link."""
        self._write('/tf', stamp_ns, _T['tf2_msgs/msg/TFMessage']([_transform(stamp_ns, ODOM, BASE, odom_from_ego)]))

    def odometry(self, stamp_ns: int, odom_from_ego: np.ndarray, velocity: np.ndarray, turn_rate: np.ndarray) -> None:
        """/odom; velocity [m/s] and turn_rate [rad/s], each (3,), along the ego axes, as Odometry's child frame has them."""
        diagonal = np.diag([1e-4] * 6).ravel()
        twist = _T['geometry_msgs/msg/Twist'](linear=_vector(velocity), angular=_vector(turn_rate))
        self._write('/odom', stamp_ns, _T['nav_msgs/msg/Odometry'](
            header=_header(stamp_ns, ODOM), child_frame_id=BASE,
            pose=_T['geometry_msgs/msg/PoseWithCovariance'](pose=_pose(odom_from_ego), covariance=diagonal),
            twist=_T['geometry_msgs/msg/TwistWithCovariance'](twist=twist, covariance=diagonal)))

    def image(self, stamp_ns: int, camera: str, jpeg: bytes, size: tuple[int, int], intrinsics: np.ndarray) -> None:
        """Rectified JPEG picture of size (width, height) and its CameraInfo with the same stamp."""
        self._write(f'/{camera}/camera_info', stamp_ns, camera_info(stamp_ns, camera, size, intrinsics))
        self._write(f'/{camera}/image_rect/compressed', stamp_ns, _T['sensor_msgs/msg/CompressedImage'](
            header=_header(stamp_ns, camera), format='jpeg', data=np.frombuffer(jpeg, np.uint8)))

    def points(self, stamp_ns: int, lidar: str, points: np.ndarray) -> None:
        """Sweep as PointCloud2; points: (M,) records of POINT_DTYPE, in the LiDAR's axes at each point's own time."""
        fields = [_T['sensor_msgs/msg/PointField'](name, offset, code, 1) for name, offset, code in _POINT_FIELDS]
        self._write(f'/{lidar}/points', stamp_ns, _T['sensor_msgs/msg/PointCloud2'](
            header=_header(stamp_ns, lidar), height=1, width=len(points), fields=fields, is_bigendian=False,
            point_step=POINT_DTYPE.itemsize, row_step=POINT_DTYPE.itemsize * len(points),
            data=np.ascontiguousarray(points).view(np.uint8).ravel(), is_dense=True))

    def true_voxels(self, stamp_ns: int, labels: np.ndarray, confidence: np.ndarray, grid: VoxelGridSpec, source: str) -> None:
        """/truth/voxels: labels and confidence, uint8 of the grid's shape, in base_link; source stands where a network would."""
        register_occ_messages(_STORE)
        origin = np.eye(4)
        origin[:3, 3] = grid.origin_m
        self._write('/truth/voxels', stamp_ns, _STORE.types['occ_msgs/msg/VoxelGrid'](
            header=_header(stamp_ns, BASE), origin=_pose(origin), resolution=float(grid.resolution_m), size_x=grid.shape[0],
            size_y=grid.shape[1], size_z=grid.shape[2], encoding=_ZSTD, labels=_packed(labels), instance_ids=np.zeros(0, np.uint8),
            confidence=_packed(confidence), sensors=[], network=source, intended_network=source, fallback=''))

    def true_objects(self, stamp_ns: int, objects: Iterable[TrueObject], source: str) -> None:
        """/truth/instances, in base_link, in ascending order of id."""
        register_occ_messages(_STORE)
        instances = [_STORE.types['occ_msgs/msg/Instance'](
            id=each.id, class_id=each.class_id, score=1.0, pose=_pose(each.ego_from_box), size=_vector(each.size_m),
            velocity=_vector(each.velocity), voxel_count=0) for each in sorted(objects, key=lambda each: each.id)]
        self._write('/truth/instances', stamp_ns, _STORE.types['occ_msgs/msg/InstanceArray'](
            header=_header(stamp_ns, BASE), network=source, instances=instances))


def _packed(values: np.ndarray) -> np.ndarray:
    return np.frombuffer(zstandard.ZstdCompressor(level=1).compress(np.ascontiguousarray(values).data), np.uint8)

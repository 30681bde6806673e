"""ROS messages to numpy and back; the only place that knows how the fields are laid out."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import zstandard
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, Vector3
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header

from occ_msgs.msg import ClassLabel, InstanceArray, LabelInfo, SensorStatus, StageTimings, SweepInfo, VoxelFlow, VoxelGrid
from occ_msgs.msg import Instance as InstanceMessage
from occ_perception.geometry.transforms import matrix, quaternion_from_rotation, rotation_from_quaternion
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import FREE, OCC3D, UNKNOWN
from occ_perception.runtime.frames import Instance, LidarSweep, OccupancyPrediction, PointLabels

SECOND = 1_000_000_000
LABEL_ZSTD_LEVEL, ID_ZSTD_LEVEL = 3, 1
"""Level 3 packs labels 7 % smaller than 1 for a tenth more time, ids no smaller; from 5 on it takes three times as long."""
LARGEST_GRID = 1 << 28
"""Voxels beyond which a received grid is refused instead of allocated."""


def stamp_ns(stamp: Time) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return stamp.sec * SECOND + stamp.nanosec


def time_message(nanoseconds: int) -> Time:
    """builtin_interfaces/Time of nanoseconds."""
    sec, nanosec = divmod(nanoseconds, SECOND)
    return Time(sec=sec, nanosec=nanosec)


def header(nanoseconds: int, frame_id: str) -> Header:
    """Header with an acquisition stamp and the frame the data are in."""
    return Header(stamp=time_message(nanoseconds), frame_id=frame_id)


def fill(field: array, values: np.ndarray | bytes) -> None:
    """Put an array's memory, or bytes, into a message's empty uint8[] or int8[] field: one copy, where assigning makes three.

    A message's constructor and setter copy what they are given (Jazzy: once each, into memory that the system clears first).
    """
    if len(values):  # the memory of an empty array cannot be cast
        field.frombytes(np.ascontiguousarray(values).data.cast('B') if isinstance(values, np.ndarray) else values)


def transform_matrix(transform: Transform) -> np.ndarray:
    """(4, 4) of a geometry_msgs/Transform."""
    q, t = transform.rotation, transform.translation
    return matrix(rotation_from_quaternion(q.x, q.y, q.z, q.w), (t.x, t.y, t.z))


def pose_matrix(pose: Pose) -> np.ndarray:
    """(4, 4) of a geometry_msgs/Pose."""
    q, p = pose.orientation, pose.position
    return matrix(rotation_from_quaternion(q.x, q.y, q.z, q.w), (p.x, p.y, p.z))


def pose_message(transform: np.ndarray) -> Pose:
    """geometry_msgs/Pose of a (4, 4) transform."""
    x, y, z, w = quaternion_from_rotation(transform[:3, :3])
    return Pose(position=Point(**dict(zip('xyz', map(float, transform[:3, 3]), strict=True))),
                orientation=Quaternion(x=x, y=y, z=z, w=w))


def image_message(image: np.ndarray, head: Header) -> Image:
    """sensor_msgs/Image (rgb8) of an (H, W, 3) uint8 RGB picture."""
    height, width, _ = image.shape
    message = Image(header=head, height=height, width=width, encoding='rgb8', step=3 * width)
    fill(message.data, image)
    return message


def camera_info_message(intrinsics: np.ndarray, height: int, width: int, head: Header) -> CameraInfo:
    """CameraInfo of an undistorted, rectified picture: K, P and an identity R."""
    k = np.asarray(intrinsics, np.float64)
    p = np.zeros((3, 4))
    p[:, :3] = k
    return CameraInfo(header=head, height=height, width=width, distortion_model='plumb_bob', d=[0.0] * 5,
                      k=k.ravel().tolist(), r=np.eye(3).ravel().tolist(), p=p.ravel().tolist())


SWEEP_FIELDS = ('x', 'y', 'z', 'intensity', 'ring', 'time_lag', 'sweep')
"""Fields of occ/sweeps, all float32: metres in the ego frame at the stamp; -1 where the driver tells no ring; seconds before the
stamp; number of the sweep in occ/sweep_info, 0 for the present one."""


def cloud_message(columns: np.ndarray, names: Iterable[str], head: Header) -> PointCloud2:
    """PointCloud2 of (M, C) float32 columns with the given field names."""
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate(names)]
    return records_message(np.ascontiguousarray(columns, np.float32), fields, head)


def records_message(records: np.ndarray, fields: list[PointField], head: Header) -> PointCloud2:
    """PointCloud2 of M points, rows of a contiguous array, that are laid out as the fields say."""
    count, step = len(records), records.itemsize * math.prod(records.shape[1:])
    message = PointCloud2(header=head, height=1, width=count, fields=fields, is_bigendian=False, point_step=step,
                          row_step=step * count, is_dense=True)
    fill(message.data, records)
    return message


def sweep_messages(sweeps: Sequence[LidarSweep], head: Header) -> tuple[SweepInfo, PointCloud2]:
    """occ/sweep_info and occ/sweeps of the sweeps of a frame, whose reference is told by the header."""
    info = SweepInfo(header=head, stamps=[time_message(sweep.stamp_ns) for sweep in sweeps],
                     poses=[pose_message(sweep.ego_from_lidar) for sweep in sweeps], points=[len(sweep.points) for sweep in sweeps])
    points = np.empty((sum(info.points), len(SWEEP_FIELDS)), np.float32)
    end = 0
    for number, sweep in enumerate(sweeps):
        begin, end = end, end + len(sweep.points)
        points[begin:end, :-1], points[begin:end, -1] = sweep.points, number
    return info, cloud_message(points, SWEEP_FIELDS, head)


def sweeps_of(cloud: PointCloud2, info: SweepInfo) -> tuple[LidarSweep, ...]:
    """The sweeps of occ/sweeps and occ/sweep_info messages with equal headers. Raises ValueError when they do not fit together."""
    points = sweep_points(cloud)
    if len(info.stamps) != len(info.poses) or len(info.stamps) != len(info.points) or sum(info.points) != len(points):
        raise ValueError(f'occ/sweep_info tells {len(info.stamps)} stamps, {len(info.poses)} poses and {sum(info.points)} points '
                         f'of {len(info.points)} sweeps, occ/sweeps has {len(points)} points')
    parts = np.split(points[:, :-1], np.cumsum(info.points)[:-1]) if len(info.points) else []
    return tuple(LidarSweep(stamp_ns(stamp), np.ascontiguousarray(part), pose_matrix(pose))
                 for stamp, part, pose in zip(info.stamps, parts, info.poses, strict=True))


def sweep_points(message: PointCloud2) -> np.ndarray:
    """(M, 7) float32 of an occ/sweeps message, columns SWEEP_FIELDS. Raises ValueError for other fields."""
    names, step = tuple(field.name for field in message.fields), 4 * len(SWEEP_FIELDS)
    if names != SWEEP_FIELDS or message.point_step != step:
        raise ValueError(f'cloud has the fields {names}, expected {SWEEP_FIELDS}: is the lidar node publishing it?')
    return np.frombuffer(message.data, np.float32).reshape(-1, len(SWEEP_FIELDS))


def _pack(field: array, values: np.ndarray, level: int | None) -> None:
    fill(field, values if level is None else zstandard.ZstdCompressor(level=level).compress(np.ascontiguousarray(values).data))


def voxel_grid_message(prediction: OccupancyPrediction, frame_id: str, cameras: Iterable[str], compress: bool = True,
                       lidar: str = '') -> VoxelGrid:
    """VoxelGrid of a prediction. frame_id: of the ego frame; the origin says how a grid in the LiDAR's lies in it. cameras: every
    configured camera; those the prediction did not use are told as not valid. lidar: name of the LiDAR, of networks that look at
    its points."""
    origin = pose_message(prediction.ego_from_grid @ matrix(np.eye(3), prediction.grid.origin_m))
    used = prediction.cameras_used
    size_x, size_y, size_z = prediction.labels.shape
    sensors = [SensorStatus(name=name, valid=name in used, age=float(used.get(name, np.nan)), readings=int(name in used))
               for name in cameras]
    if lidar:
        ages = prediction.sweeps_used
        sensors.append(SensorStatus(name=lidar, valid=bool(ages), age=float(ages[0]) if ages else np.nan, readings=len(ages)))
    message = VoxelGrid(
        header=header(prediction.stamp_ns, frame_id), origin=origin, resolution=float(prediction.grid.resolution_m),
        size_x=size_x, size_y=size_y, size_z=size_z, encoding=VoxelGrid.ENCODING_ZSTD if compress else VoxelGrid.ENCODING_DENSE,
        sensors=sensors, network=prediction.network, intended_network=prediction.intended or prediction.network,
        fallback=prediction.fallback)
    _pack(message.labels, prediction.labels, LABEL_ZSTD_LEVEL if compress else None)
    _pack(message.instance_ids, prediction.instance_ids.astype('<u2', copy=False), ID_ZSTD_LEVEL if compress else None)
    return message


FLOW_UNIT_M_S = 0.01
"""Step of the numbers in a VoxelFlow: int16 reaches to 327 m/s."""


def voxel_flow_message(prediction: OccupancyPrediction, grid: VoxelGrid, things: Iterable[int]) -> VoxelFlow:
    """VoxelFlow of a prediction that tells velocities, beside its VoxelGrid. things: labels whose voxels keep theirs."""
    assert prediction.flow is not None
    steps = np.zeros(prediction.flow.shape, '<i2')
    where = np.isin(prediction.labels, list(things))
    limit = np.iinfo(np.int16).max
    steps[where] = np.clip(np.rint(prediction.flow[where] / FLOW_UNIT_M_S), -limit, limit)
    message = VoxelFlow(header=grid.header, origin=grid.origin, resolution=grid.resolution, size_x=grid.size_x, size_y=grid.size_y,
                        size_z=grid.size_z, unit=FLOW_UNIT_M_S, encoding=grid.encoding, network=prediction.network)
    _pack(message.velocities, steps, ID_ZSTD_LEVEL if grid.encoding == VoxelGrid.ENCODING_ZSTD else None)
    return message


def flow_of(message: VoxelFlow) -> np.ndarray:
    """Velocities (nx, ny, nz, 2) float32 along x and y, m/s, of a VoxelFlow. Raises ValueError when it does not fit together."""
    shape = (message.size_x, message.size_y, message.size_z)
    count = shape[0] * shape[1] * shape[2]
    if not 0 < count <= LARGEST_GRID:
        raise ValueError(f'VoxelFlow of {shape[0]}x{shape[1]}x{shape[2]} voxels, expected 1 ... {LARGEST_GRID}')
    steps = np.frombuffer(_unpack(message.velocities, message.encoding, 4 * count, 'velocities'), '<i2').reshape(*shape, 2)
    return steps * np.float32(message.unit)


def _unpack(data: array, encoding: int, expected: int, field: str) -> bytes | memoryview:
    raw: bytes | memoryview = memoryview(data)
    if encoding == VoxelGrid.ENCODING_ZSTD:
        try:
            raw = zstandard.ZstdDecompressor().decompress(raw, max_output_size=expected)
        except zstandard.ZstdError as error:
            raise ValueError(f'VoxelGrid.{field}: broken zstd frame: {error}') from error
    elif encoding != VoxelGrid.ENCODING_DENSE:
        raise ValueError(f'VoxelGrid.encoding is {encoding}, known are {VoxelGrid.ENCODING_DENSE} (dense) '
                         f'and {VoxelGrid.ENCODING_ZSTD} (zstd)')
    if len(raw) != expected:
        raise ValueError(f'VoxelGrid.{field} holds {len(raw)} bytes, its sizes say {expected}')
    return raw


def labels_of(message: VoxelGrid) -> tuple[np.ndarray, np.ndarray]:
    """Labels (nx, ny, nz) uint8 and instance ids (nx, ny, nz) uint16 (0 = none) of a VoxelGrid.

    Raises ValueError when sizes, encoding and payload do not fit together.
    """
    shape = (message.size_x, message.size_y, message.size_z)
    count = shape[0] * shape[1] * shape[2]
    if not 0 < count <= LARGEST_GRID:
        raise ValueError(f'VoxelGrid of {shape[0]}x{shape[1]}x{shape[2]} voxels, expected 1 ... {LARGEST_GRID}')
    labels = np.frombuffer(_unpack(message.labels, message.encoding, count, 'labels'), np.uint8).reshape(shape)
    if not message.instance_ids:
        return labels, np.zeros(shape, np.uint16)
    ids = np.frombuffer(_unpack(message.instance_ids, message.encoding, 2 * count, 'instance_ids'), '<u2').reshape(shape)
    return labels, ids


def grid_turn_of(message: VoxelGrid | VoxelFlow) -> np.ndarray:
    """(3, 3): the message's frame from the axes of the grid."""
    q = message.origin.orientation
    return rotation_from_quaternion(q.x, q.y, q.z, q.w)


def grid_spec_of(message: VoxelGrid | VoxelFlow) -> VoxelGridSpec:
    """Where the voxels of a VoxelGrid or VoxelFlow lie, along the grid's own axes, from the middle of the message's frame."""
    p = message.origin.position
    x, y, z = map(float, grid_turn_of(message).T @ (p.x, p.y, p.z))
    return VoxelGridSpec((x, y, z), float(message.resolution), (message.size_x, message.size_y, message.size_z))


def label_info_message(now_ns: int, label_set: str = 'occ3d_nuscenes') -> LabelInfo:
    """LabelInfo of the Occ3D classes."""
    classes = [ClassLabel(id=c.id, name=c.name, thing=c.thing, drivable=c.drivable,
                          color=ColorRGBA(r=c.color[0] / 255, g=c.color[1] / 255, b=c.color[2] / 255, a=1.0)) for c in OCC3D]
    return LabelInfo(header=header(now_ns, ''), label_set=label_set, free_id=FREE, unknown_id=UNKNOWN, classes=classes)


def instance_array_message(prediction: OccupancyPrediction, frame_id: str) -> InstanceArray:
    """InstanceArray of a prediction, in ascending order of id. frame_id: of the ego frame."""
    def vector(values: Sequence[float] | np.ndarray) -> Vector3:
        return Vector3(x=float(values[0]), y=float(values[1]), z=float(values[2]))

    turned = prediction.ego_from_grid[:3, :3]

    def message(one: Instance) -> InstanceMessage:
        own = matrix(rotation_from_quaternion(0, 0, np.sin(one.yaw_rad / 2), np.cos(one.yaw_rad / 2)), one.center_m)
        return InstanceMessage(id=int(one.id), class_id=int(one.label), score=float(one.score),
                               pose=pose_message(prediction.ego_from_grid @ own), size=vector(one.size_m),
                               velocity=vector(turned @ np.asarray(one.velocity_m_s)), voxel_count=int(one.voxel_count))

    found = sorted(prediction.instances, key=lambda one: one.id)
    return InstanceArray(header=header(prediction.stamp_ns, frame_id), network=prediction.network,
                         instances=[message(one) for one in found])


POINT_LABEL_RECORD = np.dtype([('xyz', '<f4', 3), ('label', 'u1'), ('padding', 'u1'), ('instance', '<u2')])
"""One point of occ/point_labels."""


def point_labels_message(points: PointLabels, nanoseconds: int, frame_id: str) -> PointCloud2:
    """PointCloud2 of labelled LiDAR points: x, y, z [m], label (uint8), instance (uint16, id in the InstanceArray, 0 = none)."""
    records = np.zeros(len(points.points), POINT_LABEL_RECORD)
    records['xyz'], records['label'], records['instance'] = points.points, points.labels, points.instance_ids
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate('xyz')]
    fields += [PointField(name='label', offset=12, datatype=PointField.UINT8, count=1),
               PointField(name='instance', offset=14, datatype=PointField.UINT16, count=1)]
    return records_message(records, fields, header(nanoseconds, frame_id))


def point_labels_of(message: PointCloud2) -> PointLabels:
    """The points of point_labels_message."""
    records = np.frombuffer(message.data, POINT_LABEL_RECORD)
    return PointLabels(records['xyz'].copy(), records['label'].copy(), records['instance'].copy())


def stage_timings_message(stages: Mapping[str, float], nanoseconds: int, frame_id: str) -> StageTimings:
    """StageTimings of stage -> milliseconds, in the mapping's order."""
    return StageTimings(header=header(nanoseconds, frame_id), stages=list(stages),
                        milliseconds=[float(ms) for ms in stages.values()])

"""How known converters lay out nuScenes-style bags: topic names, frames. Plain data and a detector; more in docs/dialects.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from occ_perception.catalogue import NUSCENES_CAMERAS

COMPRESSED = 'sensor_msgs/msg/CompressedImage'
RAW = 'sensor_msgs/msg/Image'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
POINTS = 'sensor_msgs/msg/PointCloud2'

NUSCENES_OFFSETS_S = {'CAM_FRONT_LEFT': -0.042, 'CAM_FRONT': -0.034, 'CAM_FRONT_RIGHT': -0.026, 'CAM_BACK_RIGHT': -0.019,
                      'CAM_BACK': -0.011, 'CAM_BACK_LEFT': -0.004}
"""When each nuScenes camera fires relative to the stamp of the LiDAR sweep (its end): the beam passes them one by one."""


@dataclass(frozen=True)
class Dialect:
    """Topic names (no leading slash; {camera} and {lower} stand for CAM_FRONT and cam_front) and frames of one converter."""

    name: str
    image: str
    camera_info: str
    points: str
    fixed_frame: str
    base_frame: str = 'base_link'

    def image_topic(self, camera: str) -> str:
        """Picture topic of a camera."""
        return self.image.format(camera=camera, lower=camera.lower())

    def info_topic(self, camera: str) -> str:
        """CameraInfo topic of a camera."""
        return self.camera_info.format(camera=camera, lower=camera.lower())


DIALECTS = (
    Dialect('occ_perception', '{camera}/image_rect/compressed', '{camera}/camera_info', 'LIDAR_TOP/points', 'odom'),
    Dialect('nuscenes_to_ros2bag', '{camera}/image_rect_compressed', '{camera}/camera_info', 'LIDAR_TOP', 'map'),
    Dialect('nuscenes2bag', '{lower}/raw', '{lower}/camera_info', 'lidar_top', 'odom'),
    Dialect('nuscenes2bag, compressed', '{lower}/compressed', '{lower}/camera_info', 'lidar_top', 'odom'),
    Dialect('nuscenes_to_ros2bag, C++', 'nuscenes/{lower}/image_raw', 'nuscenes/{lower}/camera_info', 'nuscenes/lidar_top', 'map'),
)
"""Ours first; WATonomous/nuscenes_to_ros2bag, its forks, and rosbag2 conversions of foxglove/nuscenes2bag; rosbag2 conversions of
clynamen/nuscenes2bag, pictures raw or compressed; Chris7462/nuscenes_to_ros2bag."""


REMAKE = ('Take it from the tables of the data set (occ bag calibrate BAG --data ROOT --out DIR), or make the bag anew '
          '(occ bag nuscenes --data ROOT --scene NAME --out DIR)')


@dataclass(frozen=True)
class CameraSource:
    """Where the pictures of one camera come from; transport is 'compressed' or 'raw'."""

    name: str
    image_topic: str
    info_topic: str
    transport: str = 'compressed'
    offset_s: float = 0.0


@dataclass(frozen=True)
class Sources:
    """Where all sensor data come from. missing: topics that the dialect has and the bag lacks."""

    dialect: str
    cameras: tuple[CameraSource, ...]
    points_topic: str | None
    fixed_frame: str
    base_frame: str
    missing: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """What anchors sets: lidar, or where there is none the front camera (else the first)."""
        names = [camera.name for camera in self.cameras]
        return 'lidar' if self.points_topic else 'CAM_FRONT' if 'CAM_FRONT' in names else names[0]


def live_sources(dialect: Dialect = DIALECTS[0], cameras: tuple[str, ...] = NUSCENES_CAMERAS) -> Sources:
    """Sources of a vehicle that publishes under a dialect's topic names."""
    return Sources(dialect.name, tuple(_camera(dialect, name, COMPRESSED) for name in cameras), dialect.points, dialect.fixed_frame,
                   dialect.base_frame)


def detect(topics: Mapping[str, str], where: str) -> Sources:
    """Sources of a bag by its topics (name -> type); the dialect that names most of its cameras wins.

    Raises ValueError that says what is there and what was expected when no dialect has a camera with CameraInfo in it.
    """
    there = _without_slash(topics)

    def cameras_in(dialect: Dialect) -> list[CameraSource]:
        return [_camera(dialect, name, there[dialect.image_topic(name)]) for name in _pictured(dialect, there)
                if there.get(dialect.info_topic(name)) == CAMERA_INFO]

    found = {dialect: cameras_in(dialect) for dialect in DIALECTS}
    best = max(DIALECTS, key=lambda dialect: len(found[dialect]))
    if not found[best]:
        dialect, cameras = uncalibrated(topics)
        if cameras:
            image, info = (topic(min(cameras)) for topic in (dialect.image_topic, dialect.info_topic))
            raise ValueError(f'{where}: pictures as {dialect.name} names them (/{image} ...), but no CameraInfo; it should be on '
                             f'/{info} ... No picture can be placed without. {REMAKE}')
        expected = '; '.join(f'{d.name}: /{d.image_topic("CAM_FRONT")} with /{d.info_topic("CAM_FRONT")}, /{d.points}'
                             for d in DIALECTS)
        present = ', '.join(f'/{name} ({kind})' for name, kind in sorted(there.items())) or 'nothing'
        raise ValueError(f'{where}: no camera with CameraInfo recognised. It holds {present}. Expected as one of: {expected}')
    names = {camera.name for camera in found[best]}
    missing = [f'/{topic}' for name in NUSCENES_CAMERAS if name not in names
               for topic in (best.image_topic(name), best.info_topic(name)) if topic not in there]
    points = best.points if there.get(best.points) == POINTS else None
    if points is None:
        missing.append(f'/{best.points}')
    if 'tf' not in there:
        missing.append('/tf')
        if 'tf_static' not in there:
            missing.append('/tf_static')
    return Sources(best.name, tuple(found[best]), points, best.fixed_frame, best.base_frame, tuple(missing))


def uncalibrated(topics: Mapping[str, str]) -> tuple[Dialect, tuple[str, ...]]:
    """The dialect that names most of a bag's pictures, and those of its cameras that have pictures but no CameraInfo."""
    there = _without_slash(topics)
    dialect = max(DIALECTS, key=lambda each: len(_pictured(each, there)))
    return dialect, tuple(name for name in _pictured(dialect, there) if there.get(dialect.info_topic(name)) != CAMERA_INFO)


def _without_slash(topics: Mapping[str, str]) -> dict[str, str]:
    return {name.lstrip('/'): kind for name, kind in topics.items()}


def _pictured(dialect: Dialect, there: Mapping[str, str]) -> list[str]:
    """Cameras that have pictures under a dialect's names."""
    return [name for name in NUSCENES_CAMERAS if there.get(dialect.image_topic(name)) in (COMPRESSED, RAW)]


def _camera(dialect: Dialect, name: str, kind: str) -> CameraSource:
    return CameraSource(name, dialect.image_topic(name), dialect.info_topic(name), 'raw' if kind == RAW else 'compressed',
                        NUSCENES_OFFSETS_S.get(name, 0.0))

"""The sample world's sensor rig: close to nuScenes, six cameras and one 32-beam LiDAR on an ego vehicle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occ_perception.geometry.transforms import matrix

SOURCE_SIZE = (1600, 900)
"""Width and height of the images that the intrinsics below are for, pixels."""

CAMERA_RATE_HZ = 12.0
LIDAR_RATE_HZ = 20.0
KEYFRAME_RATE_HZ = 2.0
ODOMETRY_RATE_HZ = 50.0


@dataclass(frozen=True)
class CameraMount:
    """One camera: intrinsics at SOURCE_SIZE, mounting angles in degrees, place in metres (ego frame).

    exposure_offset_s: exposure of the key frame's image relative to the key frame's stamp (the end of its LiDAR sweep).
    """

    focal: float
    center: tuple[float, float]
    yaw_pitch_roll: tuple[float, float, float]
    position: tuple[float, float, float]
    exposure_offset_s: float


CAMERAS = {
    'CAM_FRONT_LEFT': CameraMount(1271.0, (818.0, 486.0), (55.0, 0.3, 0.2), (1.52, 0.495, 1.51), -0.042),
    'CAM_FRONT': CameraMount(1266.0, (812.0, 490.0), (0.2, 0.2, 0.1), (1.70, 0.015, 1.51), -0.034),
    'CAM_FRONT_RIGHT': CameraMount(1262.0, (808.0, 494.0), (-56.0, 0.4, -0.1), (1.55, -0.495, 1.50), -0.026),
    'CAM_BACK_LEFT': CameraMount(1258.0, (794.0, 492.0), (109.0, 0.2, 0.2), (1.035, 0.485, 1.59), -0.004),
    'CAM_BACK': CameraMount(809.0, (828.0, 482.0), (179.8, 0.4, 0.3), (0.03, 0.005, 1.58), -0.011),
    'CAM_BACK_RIGHT': CameraMount(1259.0, (806.0, 500.0), (-110.5, 0.3, -0.3), (1.015, -0.48, 1.56), -0.019),
}
"""Camera mounts by name; offsets follow the LiDAR's beam as it turns past each camera's axis."""

_BODY_FROM_CAMERA = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
LIDAR_POSITION = (0.943, 0.0, 1.84)
LIDAR_BEAMS_DEG = np.linspace(-30.67, 10.67, 32)
LIDAR_AZIMUTH_STEPS = 1080
LIDAR_RANGE_M = 70.0


def rotation_z_y_x(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) rotation: roll about x first, then pitch about y (positive looks down), then yaw about z; radians."""
    (cz, cy, cx), (sz, sy, sx) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    return about_z @ about_y @ about_x


def ego_from_camera(name: str) -> np.ndarray:
    """(4, 4) float64, camera axes x right, y down, z forward."""
    mount = CAMERAS[name]
    return matrix(rotation_z_y_x(*np.radians(mount.yaw_pitch_roll)) @ _BODY_FROM_CAMERA, mount.position)


def ego_from_lidar() -> np.ndarray:
    """(4, 4) float64; the LiDAR's x points right and its y forward, as on nuScenes."""
    return matrix(rotation_z_y_x(-np.pi / 2, 0.0, 0.0), LIDAR_POSITION)


def intrinsics(name: str, image_size: tuple[int, int]) -> np.ndarray:
    """(3, 3) float64 pinhole matrix for images of image_size = (width, height); the aspect must be SOURCE_SIZE's.

    Pixel (u, v) has its centre at integer coordinates, as in OpenCV and ROS.
    """
    mount = CAMERAS[name]
    sx, sy = image_size[0] / SOURCE_SIZE[0], image_size[1] / SOURCE_SIZE[1]
    if abs(sx / sy - 1) > 0.02:
        raise ValueError(f'image size {image_size[0]}x{image_size[1]} is not 16:9; use for example 800x450 or 1600x900')
    return np.array([[mount.focal * sx, 0, mount.center[0] * sx], [0, mount.focal * sy, mount.center[1] * sy], [0, 0, 1.0]])


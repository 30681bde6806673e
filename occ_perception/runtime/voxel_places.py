"""What PanoOcc's engines are given beside pictures: where cameras see the voxels, ego motion, how far the past has moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.panoocc_tables import MOTION, POINT_INDEX, POINT_SHARE, WARP
from occ_perception.engines.protocol import PlacedFrame
from occ_perception.geometry.ego_motion import motion_vector
from occ_perception.geometry.transforms import matrix, rotation_from_quaternion
from occ_perception.geometry.volume_lookup import fine_shape, grid_rows, point_sums
from occ_perception.geometry.volume_warp import volume_warp
from occ_perception.geometry.voxel_views import ViewCaps, build_view_tables, query_points
from occ_perception.networks.panoocc.config import PanoOccConfig
from occ_perception.runtime.memory import MAX_SPEED_M_S, CameraSet, Remembered


def place_volumes(row: NetworkEntry, config: PanoOccConfig, cameras: CameraSet, fixed_from_ego: np.ndarray,
                  past: Sequence[Remembered | None], motion: np.ndarray, ego_from_grid: np.ndarray,
                  points: np.ndarray | None = None, caps: ViewCaps | None = None) -> list[PlacedFrame]:
    """The present frame, then the past frames that are known, youngest first.

    Tables of the present frame: those of ViewTables, MOTION (18,), and in the panoptic form AXES and, where there are points
    (M, >=3) [m] in the ego frame, POINT_INDEX and POINT_SHARE. Tables of a past frame: WARP (4, 4). ego_from_grid: (4, 4).
    caps: of the view tables, None for what the rig needs.
    """
    reference_from_grid = fixed_from_ego @ ego_from_grid
    height, width = row.preprocessing.tensor_size
    unit = np.diag([row.preprocessing.scale / width, row.preprocessing.scale / height, 1.0])
    views = unit @ cameras.intrinsics @ (np.linalg.inv(cameras.fixed_from_camera) @ reference_from_grid)[:, :3]
    queries = query_points(config.queries, config.origin_m, config.extent_m)
    tables = build_view_tables(queries, views, cameras.valid, caps).arrays() | {MOTION: motion}
    if config.panoptic:
        tables |= grid_rows(row.grid, config.queries, config.origin_m, config.extent_m)
        if points is not None:
            inside = (points[:, :3] - ego_from_grid[:3, 3].astype(np.float32)) @ ego_from_grid[:3, :3].astype(np.float32)
            shape = fine_shape(config.queries)
            index, share = point_sums(inside, config.origin_m, config.extent_m, shape, config.fine_points)
            tables |= {POINT_INDEX: index, POINT_SHARE: share}
    places = [PlacedFrame(None, tables)]
    for frame in past:
        if frame is not None:
            moved = np.linalg.inv(frame.fixed_from_ego @ ego_from_grid) @ reference_from_grid
            if config.panoptic:
                # the published code takes the recurrent volume to have stayed at its height: networks were trained so
                moved[2, 3] = 0
            places.append(PlacedFrame(frame.memory, {WARP: volume_warp(moved, config.origin_m, config.extent_m)}))
    return places


def lidar_mount(x_m: float, y_m: float, z_m: float, yaw_degrees: float) -> np.ndarray:
    """(4, 4) ego_from_lidar of an upright LiDAR."""
    return matrix(rotation_from_quaternion(0, 0, np.sin(np.radians(yaw_degrees) / 2), np.cos(np.radians(yaw_degrees) / 2)),
                  (x_m, y_m, z_m))


class EgoMotion:
    """The ego-motion vector of frame after frame.

    published: against the frame before, of another scene too, and on the very first call against nothing, which puts absolute
    coordinates where the network expects a short way: so the published test code does. Without, the first frame of a
    sequence has a way of zero, as in training; published scores do not hang on it (one frame of 40 in nuScenes' scenes).
    max_gap_s: frames further apart do not belong together.
    """

    def __init__(self, published: bool = False, max_gap_s: float = 2.0) -> None:
        self._published, self._max_gap_s = published, max_gap_s
        self._before: tuple[int, np.ndarray] | None = None
        self._last = np.eye(4)

    def forget(self) -> None:
        """A new sequence begins."""
        self._before = None

    def next(self, stamp_ns: int, fixed_from_ego: np.ndarray) -> np.ndarray:
        """(18,) of geometry.ego_motion for a frame."""
        pose, seconds = None, 0.0
        if self._before is not None:
            seconds = (stamp_ns - self._before[0]) * 1e-9
            way = np.linalg.norm(fixed_from_ego[:3, 3] - self._before[1][:3, 3])
            if 0 < seconds <= self._max_gap_s and way <= MAX_SPEED_M_S * seconds:
                pose = self._before[1]
        vector = motion_vector(fixed_from_ego, pose, seconds, self._last if self._published else None)
        self._before, self._last = (stamp_ns, fixed_from_ego), fixed_from_ego
        return vector

"""LiDAR sweeps as a network takes them: points chosen, cut into voxels, neighbour tables, depth hints; plain NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from occ_perception.catalogue import AT_START, EACH, LIDAR, LidarSpec, NetworkEntry
from occ_perception.engines.protocol import LidarInput
from occ_perception.geometry.neighbour_tables import fitting_tables
from occ_perception.geometry.transforms import apply, inverse
from occ_perception.geometry.voxelise import voxelise_in_order
from occ_perception.networks.fusionocc.points import in_range, thin
from occ_perception.networks.lidar_branch import LidarBranch
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.intake.depth_hint import depth_hints
from occ_perception.runtime.intake.sweep_history import sweeps_by_age
from occ_perception.runtime.memory import CameraSet

_COLUMNS = {'intensity': 3, 'ring': 4, 'tanh_intensity': 3, 'tanh_elongation': 4}


def chosen_sweeps(sweeps: Sequence[LidarSweep], spec: LidarSpec) -> list[tuple[LidarSweep, int]]:
    """The sweeps that a network looks at, the present one first, each with the number of the place it fills.

    The present sweep stands in for missing ones as the spec says. Empty without sweeps.
    """
    if not sweeps:
        return []
    present, by_stamp = sweeps[0], {sweep.stamp_ns: sweep for sweep in sweeps[1:]}
    found = [None if stamp is None else by_stamp[stamp]
             for stamp in sweeps_by_age(list(by_stamp), present.stamp_ns, spec.ages_s, spec.tolerance_s)]
    fill = spec.stand_in == EACH or (spec.stand_in == AT_START and not any(found))
    earlier = [(sweep or present, place) for place, sweep in enumerate(found, 1) if sweep is not None or fill]
    return [(present, 0), *earlier]


def points_of(sweeps: Sequence[LidarSweep], spec: LidarSpec) -> np.ndarray:
    """Points of all sweeps that a network looks at, one below the other, the present ones first: (M, 3 + columns) float32 in the
    network's frame. A time lag is that of its whole sweep, as in training."""
    parts = []
    for sweep, place in chosen_sweeps(sweeps, spec):
        points = sweep.points
        if place and spec.close_m:
            own = np.abs(apply(inverse(sweep.ego_from_lidar), points[:, :3]))
            points = points[~((own[:, 0] < spec.close_m) & (own[:, 1] < spec.close_m))]
        rows = np.empty((len(points), 3 + len(spec.columns)), np.float32)
        rows[:, :3] = points[:, :3]
        for column, name in enumerate(spec.columns, 3):
            if name == 'time_lag_s':
                rows[:, column] = (sweeps[0].stamp_ns - sweep.stamp_ns) * 1e-9
            else:
                rows[:, column] = points[:, _COLUMNS[name]]
                if name.startswith('tanh_'):
                    np.tanh(rows[:, column], out=rows[:, column])
        parts.append(thin(rows, sweep.stamp_ns, place) if spec.thinned else rows)
    if not parts:
        return np.zeros((0, 3 + len(spec.columns)), np.float32)
    points = np.concatenate(parts)
    if spec.frame == LIDAR:
        points[:, :3] = apply(inverse(sweeps[0].ego_from_lidar), points[:, :3])
    return points


def lidar_input(row: NetworkEntry, branch: LidarBranch, sweeps: Sequence[LidarSweep], cameras: CameraSet,
                fixed_from_grid: np.ndarray, caps: tuple[int, ...] | None = None,
                with_tables: bool = True) -> tuple[LidarInput, int]:
    """What an engine is given of the points, and how many voxels were left out for want of room.

    cameras: in the network's order; fixed_from_grid: (4, 4) pose of the network's frame at the present stamp. caps: rows per level
    that the engine has room for, None for one that takes any number. with_tables: of neighbours, else the voxels' cells.
    """
    spec = row.lidar
    assert spec is not None
    points = points_of(sweeps, spec)
    if spec.thinned:
        points = in_range(points, branch.voxels)
    voxels = voxelise_in_order(points, branch.voxels, len(points) if branch.most is None else branch.most)
    if with_tables:
        tables, kept = fitting_tables(voxels.coords, branch.sparse, caps)
        given = LidarInput(tables.padded_features(voxels.features[:kept]), tables.arrays())
    else:
        given, kept = LidarInput(voxels.features, {}, coords=voxels.coords), len(voxels.coords)
    left_out = voxels.left_out + len(voxels.coords) - kept
    hints = None
    if spec.hint_stride is not None and row.cameras:
        seen = points if spec.hint_sweeps else _present(sweeps, spec)
        if spec.hint_motion:
            camera_from_grid = np.linalg.inv(cameras.fixed_from_camera) @ fixed_from_grid
        else:
            camera_from_grid = np.linalg.inv(cameras.ego_from_camera)
        lift, size = row.frustum, (row.preprocessing.input_height, row.preprocessing.input_width)
        hints = depth_hints(seen, cameras.intrinsics, camera_from_grid, size, (lift.depth_start, lift.depth_stop),
                            spec.hint_stride, cameras.valid)
    return replace(given, hints=hints), left_out


def _present(sweeps: Sequence[LidarSweep], spec: LidarSpec) -> np.ndarray:
    """Places of the present sweep's points in the network's frame, none thinned out."""
    if not sweeps:
        return np.zeros((0, 3), np.float32)
    points = sweeps[0].points[:, :3]
    return apply(inverse(sweeps[0].ego_from_lidar), points) if spec.frame == LIDAR else points

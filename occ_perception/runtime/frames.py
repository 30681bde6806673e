"""What goes into a Predictor (SensorFrame) and what comes out (OccupancyPrediction)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from occ_perception.catalogue import EGO
from occ_perception.geometry.array_library import Array
from occ_perception.geometry.voxel_grid import VoxelGridSpec


@dataclass(frozen=True)
class CameraImage:
    """One camera's picture with all that is needed to place its pixels.

    image: (H, W, 3) uint8 RGB, undistorted; NumPy's, or a torch tensor on the engine's device, which then need not be copied there.
    intrinsics: (3, 3) float64, pixels of this very image.
    ego_from_camera: (4, 4), camera axes x right, y down, z forward. fixed_from_ego: (4, 4) ego pose at stamp_ns
    (exposure time) in a frame that does not move with the vehicle.
    """

    name: str
    stamp_ns: int
    image: Array
    intrinsics: np.ndarray
    ego_from_camera: np.ndarray
    fixed_from_ego: np.ndarray


@dataclass(frozen=True)
class LidarSweep:
    """One turn of a LiDAR, its points moved to one frame.

    points: (M, 6) float32: x, y, z [m] in the ego frame at the reference stamp of the SensorFrame, intensity as the driver gives
    it, ring (-1 where the driver gives none; the pulse's elongation in Waymo's data), time lag [s]: the reference stamp minus the
    point's own time. ego_from_lidar: (4, 4) where the LiDAR stood at stamp_ns, in that same ego frame: its mount in a sweep of the
    reference stamp, ego motion and mount in an earlier one.
    """

    stamp_ns: int
    points: np.ndarray
    ego_from_lidar: np.ndarray


@dataclass(frozen=True)
class SensorFrame:
    """A set of sensor readings around one reference stamp.

    cameras: by name, only those that are there and valid. sweeps: the present LiDAR sweep first, then earlier ones, the youngest
    first; empty without a LiDAR. fixed_from_ego: (4, 4) ego pose at stamp_ns.
    """

    stamp_ns: int
    fixed_from_ego: np.ndarray
    cameras: dict[str, CameraImage]
    sweeps: tuple[LidarSweep, ...] = ()


@dataclass(frozen=True)
class Instance:
    """One object, in the ego frame at the reference stamp, metres.

    size_m is along the object's own axes (length, width, height), yaw_rad its heading about z.
    """

    id: int
    label: int
    score: float
    center_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    yaw_rad: float
    voxel_count: int
    velocity_m_s: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class PointLabels:
    """What a network says of the points of the present LiDAR sweep.

    points (M, 3) float32 [m], ego frame at the reference stamp, in the order of the sweep; labels (M,) uint8 of the network's label
    set, 0 also for noise; instance_ids (M,) uint16 of the objects of the same prediction, 0 = none. A point's panoptic class
    is that of its object.
    """

    points: np.ndarray
    labels: np.ndarray
    instance_ids: np.ndarray


@dataclass(frozen=True)
class Box:
    """A box that a network draws around an object, in the grid's frame at the reference stamp; otherwise as Instance."""

    label: int
    score: float
    center_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    yaw_rad: float
    velocity_m_s: tuple[float, float, float]


@dataclass(frozen=True)
class OccupancyPrediction:
    """Semantic occupancy around the ego vehicle at stamp_ns.

    labels: (nx, ny, nz) uint8, ids of the network's label set, UNKNOWN (255) where no valid sensor could see. instance_ids:
    (nx, ny, nz) uint16, 0 = none. frame: the grid's and the instances', EGO or LIDAR (the present sweep's LiDAR). ego_from_grid:
    (4, 4) of that frame at stamp_ns. flow: (nx, ny, nz, 2) float32 velocities along x and y of that frame, m/s, None where the
    network tells none. voxels_left_out: LiDAR voxels that the network had no room for. boxes: of networks that find boxes, the
    most certain first, also those that hold no voxel; None for others. points: of networks that label LiDAR points, None for others
    and without a sweep. cameras_used: name -> age in seconds (reference stamp minus exposure). past_stamps_ns: of the past frame at
    each age that the network looks at, 0 where none was known. forgotten: why the past was forgotten before this frame, '' if it
    was not. sweeps_used: ages in seconds of the LiDAR sweeps used. intended: network that was asked for where another, or the same
    with an input masked, stands in; fallback: why (see runtime.fallback), '' where none does. timings_ms: by stage.
    """

    stamp_ns: int
    network: str
    grid: VoxelGridSpec
    labels: np.ndarray
    instance_ids: np.ndarray
    instances: tuple[Instance, ...]
    cameras_used: dict[str, float]
    frame: str = EGO
    ego_from_grid: np.ndarray = field(default_factory=lambda: np.eye(4))
    flow: np.ndarray | None = None
    voxels_left_out: int = 0
    boxes: tuple[Box, ...] | None = None
    points: PointLabels | None = None
    past_stamps_ns: tuple[int, ...] = ()
    forgotten: str = ''
    sweeps_used: tuple[float, ...] = ()
    intended: str = ''
    fallback: str = ''
    timings_ms: dict[str, float] = field(default_factory=dict)


class PendingPrediction(NamedTuple):
    """A frame under way. result: waits for it; call it once, after those of the frames before, in whichever thread."""

    result: Callable[[], OccupancyPrediction]

"""Frames of the sample world: six pictures, a sweep and the truth of one moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.sample_world.camera import CameraView, render_camera
from occ_perception.datasets.sample_world.layout import make_street
from occ_perception.datasets.sample_world.lidar import LidarSweep, points_at, render_sweep
from occ_perception.datasets.sample_world.rig import CAMERAS
from occ_perception.datasets.sample_world.scene import StreetScene
from occ_perception.datasets.sample_world.street import Street
from occ_perception.datasets.sample_world.truth import WorldTruth, occupancy_truth
from occ_perception.runtime.frames import CameraImage, SensorFrame

DEFAULT_IMAGE_SIZE = (800, 450)


@dataclass(frozen=True)
class WorldFrame:
    """One moment. time_s: the reference, the end of the LiDAR sweep; each camera has its own exposure time in its view.

    cameras: name -> view. sweep, truth: None when not asked for. fixed_from_ego: (4, 4) at time_s. points: (M, 6) float32 of the
    sweep and of each earlier one that was asked for, in that order, as runtime.frames.LidarSweep has them.
    """

    time_s: float
    fixed_from_ego: np.ndarray
    cameras: dict[str, CameraView]
    sweep: LidarSweep | None
    truth: WorldTruth | None
    points: tuple[np.ndarray, ...] = ()


def scene_of(street: Street) -> StreetScene:
    """The ray-casting scene of a street; the last one used is kept."""
    cached = _LAST.get('scene')
    if cached is None or cached.street is not street:
        _LAST['scene'] = cached = StreetScene(street)
    return cached


_LAST: dict[str, StreetScene] = {}


def render_frame(street: Street, time_s: float, image_size: tuple[int, int] = DEFAULT_IMAGE_SIZE,
                 cameras: Sequence[str] = NUSCENES_CAMERAS, sweep: bool = True, truth: bool = True,
                 sweep_ages_s: Sequence[float] = ()) -> WorldFrame:
    """The frame whose LiDAR sweep ends at time_s (seconds since the drive's start, 0 .. street.duration_s).

    image_size: (width, height), 16:9. Cameras expose at time_s plus their offsets. Truth masks come from what is rendered.
    sweep_ages_s: of earlier sweeps whose points go along.
    """
    scene = scene_of(street)
    views = {name: render_camera(scene, name, time_s + CAMERAS[name].exposure_offset_s, image_size) for name in cameras}
    turn = render_sweep(scene, time_s) if sweep else None
    known = occupancy_truth(scene, time_s, list(views.values()), turn) if truth else None
    turns = [] if turn is None else [turn, *(render_sweep(scene, time_s - age) for age in sweep_ages_s)]
    return WorldFrame(time_s, street.ego_pose(time_s), views, turn, known, tuple(points_at(street, each, time_s) for each in turns))


def sensor_frame(frame: WorldFrame) -> SensorFrame:
    """A rendered frame as a Predictor takes it, without the sweep; stamps count from the start of the drive."""
    cameras = {name: CameraImage(name, round(1e9 * view.time_s), view.image, view.intrinsics, view.ego_from_camera,
                                 view.fixed_from_ego) for name, view in frame.cameras.items()}
    return SensorFrame(round(1e9 * frame.time_s), frame.fixed_from_ego, cameras)


def training_frames(seed: int, n_frames: int, spacing_s: float = 1.5, image_size: tuple[int, int] = DEFAULT_IMAGE_SIZE,
                    sweep: bool = False, past_s: Sequence[float] = (),
                    sweep_ages_s: Sequence[float] = ()) -> Iterator[tuple[WorldFrame, list[WorldFrame]]]:
    """Frames with truth for training, spacing_s apart, from one street; mask_lidar is empty without sweeps.

    Each comes with the pictures (no sweep, no truth) of past_s seconds before it, in that order. sweep_ages_s: see render_frame,
    less than half of spacing_s.
    """
    lead_s = max(past_s, default=0.0)
    street = make_street(seed, lead_s + max(n_frames, 1) * spacing_s)
    for i in range(n_frames):
        time_s = lead_s + (i + 0.5) * spacing_s
        past = [render_frame(street, time_s - age, image_size, sweep=False, truth=False) for age in past_s]
        yield render_frame(street, time_s, image_size, sweep=sweep, sweep_ages_s=sweep_ages_s), past

"""The whole of a prediction, from sensor readings and remembered frames to labelled voxels and followed objects."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occ_perception import catalogue
from occ_perception.engines.building import BuildingEngine
from occ_perception.engines.protocol import (
    EXACT,
    MEMORY_FORMS,
    TABLES,
    Inference,
    PlacedFrame,
    TablesOf,
    finds_neighbours,
    submit,
    voxel_caps,
)
from occ_perception.engines.select import open_engine
from occ_perception.manifest import entry_of_weights
from occ_perception.networks.configs import config_of, takes_camera_vectors
from occ_perception.networks.flashocc.config import FlashOccConfig
from occ_perception.networks.panoocc.config import PanoOccConfig
from occ_perception.runtime.camera_input import camera_input
from occ_perception.runtime.coverage import Coverage
from occ_perception.runtime.frames import LidarSweep, OccupancyPrediction, PendingPrediction, PointLabels, SensorFrame
from occ_perception.runtime.lidar_input import lidar_input
from occ_perception.runtime.memory import CameraSet, Remembered, TemporalMemory
from occ_perception.runtime.objects import find_objects
from occ_perception.runtime.panoptic import CORRECTED_CLASSES, PUBLISHED_CLASSES
from occ_perception.runtime.sequence import place_frames
from occ_perception.runtime.tracking import Tracker
from occ_perception.runtime.voxel_places import EgoMotion, lidar_mount, place_volumes


class Predictor:
    """A network of the catalogue as a function SensorFrame -> OccupancyPrediction, with the history of one stream.

    backend: 'auto', 'openvino', 'tensorrt' or 'torch'. weights: a file, None for the shipped ones, or 'random'. threads: of
    the CPU backends, None for all cores. precision: one of engines.precision.PRECISIONS, 'auto' for what the backend chooses.
    memory: how past frames enter (engines.protocol.MEMORY_FORMS): 'exact' lifts their features again, 'warped' moves their maps,
    which is cheaper. max_gap_s: after a longer pause the past is forgotten. published_centers: group voxels by the published code's
    class table in place of the corrected one. everywhere: label also what no camera could see, as published evaluations do, in
    place of UNKNOWN. wait: for an engine that has to be built; else another backend answers meanwhile. tracker: of the stream's
    objects, where several networks serve it in turn. published_motion: ego motion of first frames as the published PanoOcc test
    code has it, see voxel_places.EgoMotion. sparse: see open_engine. Make a Predictor and give it frames in one thread, in the
    order of their stamps; what `submit` gives may be waited for in another.
    """

    def __init__(self, network: str, backend: str = 'auto', weights: str | Path | None = None, threads: int | None = None,
                 memory: str = EXACT, max_gap_s: float = 2.0, published_centers: bool = False,
                 everywhere: bool = False, precision: str = 'auto', wait: bool = True,
                 tracker: Tracker | None = None, published_motion: bool = False, sparse: str = TABLES) -> None:
        self.entry = entry_of_weights(catalogue.entry(network), weights)
        if memory not in MEMORY_FORMS:
            raise ValueError(f'memory {memory!r} is unknown: choose one of {", ".join(MEMORY_FORMS)}')
        self._config = config = config_of(network)
        self._camera_aware = takes_camera_vectors(config)
        self._lidar = None if isinstance(config, FlashOccConfig | PanoOccConfig) else config.lidar
        self._form = memory
        self._everywhere = everywhere
        self.engine = open_engine(self.entry, backend, weights, threads, memory, precision, wait, sparse)
        self._memory = TemporalMemory(self.entry.history, memory, max_gap_s)
        self._classes = PUBLISHED_CLASSES if published_centers else CORRECTED_CLASSES
        self.tracker = tracker or Tracker(grid=self.entry.grid)
        self._motion = EgoMotion(published_motion, max_gap_s)
        self._mount = lidar_mount(*catalogue.NUSCENES_LIDAR_XYZ_YAW)
        self._coverage = Coverage(self.entry)

    @property
    def news(self) -> str:
        """How far the build of the engine is, and what answers meanwhile; '' when there is nothing to tell."""
        return self.engine.news if isinstance(self.engine, BuildingEngine) else ''

    def reset(self) -> None:
        """Forget past frames and objects, before the next frame; what is under way keeps them."""
        self._memory.clear()
        self._motion.forget()
        self.tracker.reset()

    def predict(self, frame: SensorFrame) -> OccupancyPrediction:
        """Occupancy around the ego vehicle at the frame's stamp; see submit."""
        return self.submit(frame).result()

    def submit(self, frame: SensorFrame) -> PendingPrediction:
        """Begin with a frame: the engine computes or has computed it, and it is remembered. At most two may be under way.

        Cameras that are not in the frame are left out: their image is black, they lift nothing, and voxels that only they
        could see become UNKNOWN. Past frames are forgotten when time goes back or stands still, after a long pause, when the
        vehicle has moved impossibly far and when the cameras were calibrated anew; the prediction tells which.
        Networks that take LiDAR points do without cameras, and without points, while the other is there; with points nothing is
        UNKNOWN. Raises ValueError when a camera is unknown to the network, or when there is nothing to see with.
        """
        laps, entry = _Laps(), self.entry
        sweeps = self._sweeps(frame)
        tables_of: TablesOf | None = getattr(self.engine, 'tables_of', None)
        images, cameras = camera_input(frame.cameras, entry, tables_of is not None)
        laps.end('preprocess')
        forgotten = self._memory.why_forget(frame.stamp_ns, frame.fixed_from_ego, cameras)
        if forgotten:
            self.reset()
        past = self._memory.recall(frame.stamp_ns)
        ego_from_grid = self._mount if entry.grid_frame == catalogue.LIDAR else np.eye(4)
        places = self._places(frame, cameras, past, ego_from_grid, tables_of)
        lidar, left_out = None, 0
        if self._lidar is not None:
            caps = voxel_caps(self.engine)
            lidar, left_out = lidar_input(entry, self._lidar, sweeps, cameras, frame.fixed_from_ego @ ego_from_grid, caps,
                                          not finds_neighbours(self.engine))
        sees_all = self._everywhere or (sweeps and entry.sees_by_lidar)
        observed = None if sees_all else self._coverage.observed(cameras, ego_from_grid)
        laps.end('geometry')
        pending = submit(self.engine, images, places, lidar, observed)
        if pending.memory is not None:
            matched = bool(past) and past[0] is not None
            self._memory.add(Remembered(frame.stamp_ns, frame.fixed_from_ego, cameras, pending.memory, matched))
        laps.end('network')
        past_stamps_ns = tuple(0 if known is None else known.stamp_ns for known in past)
        begun = _Begun(frame, ego_from_grid, past_stamps_ns, forgotten, left_out, self.tracker.resets, laps)
        return PendingPrediction(lambda: self._finished(begun, pending.result))

    def _finished(self, begun: _Begun, result: Callable[[], Inference]) -> OccupancyPrediction:
        """Waits for the engine, and makes of its answer what is told."""
        laps, entry, frame = begun.laps, self.entry, begun.frame
        laps.begin()
        inference = result()
        laps.end('network')
        found = find_objects(inference, entry, self._classes, frame, begun.ego_from_grid)
        fixed_from_grid = frame.fixed_from_ego @ begun.ego_from_grid
        tracked = self.tracker.update(frame.stamp_ns, fixed_from_grid, found.instances, begun.resets)
        points = None
        if inference.point_labels is not None:
            points = PointLabels(frame.sweeps[0].points[:, :3], inference.point_labels, tracked.relabelled(found.point_ids))
        instance_ids = tracked.relabelled(found.instance_ids)
        laps.end('postprocess')
        return OccupancyPrediction(
            stamp_ns=frame.stamp_ns, network=entry.name, grid=entry.grid, labels=inference.labels, instance_ids=instance_ids,
            instances=tracked.instances, frame=entry.grid_frame, ego_from_grid=begun.ego_from_grid, flow=inference.flow,
            voxels_left_out=begun.left_out, boxes=None if found.boxes is None else found.boxes.listed(), points=points,
            cameras_used={name: (frame.stamp_ns - camera.stamp_ns) * 1e-9 for name, camera in frame.cameras.items()},
            past_stamps_ns=begun.past_stamps_ns, forgotten=begun.forgotten,
            sweeps_used=tuple((frame.stamp_ns - sweep.stamp_ns) * 1e-9 for sweep in (frame.sweeps if entry.lidar else ())),
            timings_ms=laps.ms)

    def _sweeps(self, frame: SensorFrame) -> tuple[LidarSweep, ...]:
        """The sweeps that the network looks at; where the LiDAR is mounted is kept from them. Raises ValueError, see submit."""
        entry = self.entry
        unknown = sorted(set(frame.cameras) - set(entry.cameras))
        sweeps = () if entry.lidar is None else frame.sweeps
        if not entry.cameras and not sweeps:
            raise ValueError(f'{entry.name} sees by LiDAR alone, and the frame has no sweep: give it the points')
        if unknown or not (frame.cameras or sweeps):
            raise ValueError(f'cameras of the frame are {sorted(frame.cameras)}; {entry.name} takes some or all of '
                             f'{", ".join(entry.cameras)}: map your camera names to these')
        if sweeps:
            self._mount = sweeps[0].ego_from_lidar
        return sweeps

    def _places(self, frame: SensorFrame, cameras: CameraSet, past: list[Remembered | None], ego_from_grid: np.ndarray,
                tables_of: TablesOf | None) -> list[PlacedFrame]:
        config = self._config
        if isinstance(config, PanoOccConfig):
            motion = self._motion.next(frame.stamp_ns, frame.fixed_from_ego)
            points = frame.sweeps[0].points if config.panoptic and frame.sweeps else None
            return place_volumes(self.entry, config, cameras, frame.fixed_from_ego, past, motion, ego_from_grid, points)
        fixed_from_grid = frame.fixed_from_ego @ ego_from_grid
        return place_frames(self.entry, self._camera_aware, cameras, fixed_from_grid, past, self._form, tables_of)


@dataclass(frozen=True)
class _Begun:
    """What the second half of a prediction needs to know of the first. resets: of the tracker."""

    frame: SensorFrame
    ego_from_grid: np.ndarray
    past_stamps_ns: tuple[int, ...]
    forgotten: str
    left_out: int
    resets: int
    laps: _Laps


class _Laps:
    """Milliseconds by stage; what passes between an end and the next begin is in none."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self.begin()

    def begin(self) -> None:
        """A stage begins; it also does where another ends."""
        self._began = time.perf_counter()

    def end(self, stage: str) -> None:
        """A stage ends, for now."""
        now = time.perf_counter()
        self.ms[stage] = self.ms.get(stage, 0.0) + 1e3 * (now - self._began)
        self._began = now

"""The whole of a prediction, from sensor readings and remembered frames to labelled voxels and followed objects."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from occ_perception import catalogue
from occ_perception.engines.building import BuildingEngine
from occ_perception.engines.protocol import EXACT, MEMORY_FORMS, Inference, PlacedFrame, TablesOf
from occ_perception.engines.select import open_engine
from occ_perception.geometry.transforms import apply, inverse
from occ_perception.geometry.visibility import camera_coverage
from occ_perception.labels import UNKNOWN
from occ_perception.manifest import entry_of_weights
from occ_perception.networks.configs import config_of, takes_camera_vectors
from occ_perception.networks.flashocc.config import FlashOccConfig
from occ_perception.networks.panoocc.config import PanoOccConfig
from occ_perception.runtime.boxes import Boxes, decode_boxes, objects_from_boxes
from occ_perception.runtime.frames import CameraImage, Instance, OccupancyPrediction, PointLabels, SensorFrame
from occ_perception.runtime.instances import instances_from_labels
from occ_perception.runtime.intake.image import fit, fitted_intrinsics
from occ_perception.runtime.lidar_input import lidar_input, voxel_caps
from occ_perception.runtime.memory import CameraSet, Remembered, TemporalMemory
from occ_perception.runtime.panoptic import CORRECTED_CLASSES, PUBLISHED_CLASSES, decode_centers, instances_from_centers
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
    code has it, see voxel_places.EgoMotion. Make and use a Predictor in one thread, with frames in the order of their stamps.
    """

    def __init__(self, network: str, backend: str = 'auto', weights: str | Path | None = None, threads: int | None = None,
                 memory: str = EXACT, max_gap_s: float = 2.0, published_centers: bool = False,
                 everywhere: bool = False, precision: str = 'auto', wait: bool = True,
                 tracker: Tracker | None = None, published_motion: bool = False) -> None:
        self.entry = entry_of_weights(catalogue.entry(network), weights)
        if memory not in MEMORY_FORMS:
            raise ValueError(f'memory {memory!r} is unknown: choose one of {", ".join(MEMORY_FORMS)}')
        self._config = config = config_of(network)
        self._camera_aware = takes_camera_vectors(config)
        self._lidar = None if isinstance(config, FlashOccConfig | PanoOccConfig) else config.lidar
        self._form = memory
        self._everywhere = everywhere
        self.engine = open_engine(self.entry, backend, weights, threads, memory, precision, wait)
        self._memory = TemporalMemory(self.entry.history, memory, max_gap_s)
        self._classes = PUBLISHED_CLASSES if published_centers else CORRECTED_CLASSES
        self.tracker = tracker or Tracker(grid=self.entry.grid)
        self._motion = EgoMotion(published_motion, max_gap_s)
        self._mount = lidar_mount(*catalogue.NUSCENES_LIDAR_XYZ_YAW)
        self._coverage: dict[bytes, np.ndarray] = {}

    @property
    def news(self) -> str:
        """How far the build of the engine is, and what answers meanwhile; '' when there is nothing to tell."""
        return self.engine.news if isinstance(self.engine, BuildingEngine) else ''

    def reset(self) -> None:
        """Forget past frames and objects."""
        self._memory.clear()
        self._motion.forget()
        self.tracker.reset()
        self._coverage.clear()

    def predict(self, frame: SensorFrame) -> OccupancyPrediction:
        """Occupancy around the ego vehicle at the frame's stamp.

        Cameras that are not in the frame are left out: their image is black, they lift nothing, and voxels that only they
        could see become UNKNOWN. Past frames are forgotten when time goes back or stands still, after a long pause, when the
        vehicle has moved impossibly far and when the cameras were calibrated anew; the prediction tells which.
        Networks that take LiDAR points do without cameras, and without points, while the other is there; with points nothing is
        UNKNOWN. Raises ValueError when a camera is unknown to the network, or when there is nothing to see with.
        """
        entry = self.entry
        unknown = sorted(set(frame.cameras) - set(entry.cameras))
        sweeps = () if entry.lidar is None else frame.sweeps
        if not entry.cameras and not sweeps:
            raise ValueError(f'{entry.name} sees by LiDAR alone, and the frame has no sweep: give it the points')
        if unknown or not (frame.cameras or sweeps):
            raise ValueError(f'cameras of the frame are {sorted(frame.cameras)}; {entry.name} takes some or all of '
                             f'{", ".join(entry.cameras)}: map your camera names to these')
        marks = [time.perf_counter()]
        tables_of: TablesOf | None = getattr(self.engine, 'tables_of', None)
        sizes = {camera.image.shape for camera in frame.cameras.values()}
        fits = tables_of is not None and len(sizes) == 1  # the engine brings pictures to network size itself
        fitted = [_fitted(frame.cameras[name], entry.preprocessing, not fits) if name in frame.cameras else None
                  for name in entry.cameras]
        size = sizes.pop() if fits else (entry.preprocessing.input_height, entry.preprocessing.input_width, 3)
        images = np.zeros((len(fitted), *size), np.uint8)
        for image, camera in zip(images, fitted, strict=True):
            if camera is not None:
                image[:] = camera.image
        marks.append(time.perf_counter())
        cameras = _camera_set(fitted)
        forgotten = self._memory.why_forget(frame.stamp_ns, frame.fixed_from_ego, cameras)
        if forgotten:
            self._memory.clear()
            self._motion.forget()
            self.tracker.reset()
        past = self._memory.recall(frame.stamp_ns)
        if sweeps:
            self._mount = sweeps[0].ego_from_lidar
        ego_from_grid = self._mount if entry.grid_frame == catalogue.LIDAR else np.eye(4)
        fixed_from_grid = frame.fixed_from_ego @ ego_from_grid
        places = self._places(frame, cameras, past, ego_from_grid, tables_of)
        lidar, left_out = None, 0
        if self._lidar is not None:
            lidar, left_out = lidar_input(entry, self._lidar, sweeps, cameras, fixed_from_grid, voxel_caps(self.engine))
        marks.append(time.perf_counter())
        inference = self.engine.infer(images, places, lidar)
        if inference.memory is not None:
            matched = bool(past) and past[0] is not None
            self._memory.add(Remembered(frame.stamp_ns, frame.fixed_from_ego, cameras, inference.memory, matched))
        marks.append(time.perf_counter())
        labels = inference.labels
        if not self._everywhere and not (sweeps and entry.sees_by_lidar):
            labels[~self._observed(fitted, ego_from_grid)] = UNKNOWN
        found = self._objects(labels, inference, frame, ego_from_grid)
        tracked = self.tracker.update(frame.stamp_ns, fixed_from_grid, found.instances)
        points = None
        if inference.point_labels is not None:
            points = PointLabels(sweeps[0].points[:, :3], inference.point_labels, tracked.relabelled(found.point_ids))
        marks.append(time.perf_counter())
        stages = ('preprocess', 'geometry', 'network', 'postprocess')
        return OccupancyPrediction(
            stamp_ns=frame.stamp_ns, network=entry.name, grid=entry.grid, labels=labels,
            instance_ids=tracked.relabelled(found.instance_ids), instances=tracked.instances, frame=entry.grid_frame,
            ego_from_grid=ego_from_grid, flow=inference.flow, voxels_left_out=left_out,
            boxes=None if found.boxes is None else found.boxes.listed(), points=points,
            cameras_used={name: (frame.stamp_ns - camera.stamp_ns) * 1e-9 for name, camera in frame.cameras.items()},
            past_stamps_ns=tuple(0 if known is None else known.stamp_ns for known in past), forgotten=forgotten,
            sweeps_used=tuple((frame.stamp_ns - sweep.stamp_ns) * 1e-9 for sweep in (frame.sweeps if entry.lidar else ())),
            timings_ms={stage: 1e3 * (b - a) for stage, a, b in zip(stages, marks[:-1], marks[1:], strict=True)})

    def _places(self, frame: SensorFrame, cameras: CameraSet, past: list[Remembered | None], ego_from_grid: np.ndarray,
                tables_of: TablesOf | None) -> list[PlacedFrame]:
        config = self._config
        if isinstance(config, PanoOccConfig):
            motion = self._motion.next(frame.stamp_ns, frame.fixed_from_ego)
            points = frame.sweeps[0].points if config.panoptic and frame.sweeps else None
            return place_volumes(self.entry, config, cameras, frame.fixed_from_ego, past, motion, ego_from_grid, points)
        fixed_from_grid = frame.fixed_from_ego @ ego_from_grid
        return place_frames(self.entry, self._camera_aware, cameras, fixed_from_grid, past, self._form, tables_of)

    def _objects(self, labels: np.ndarray, inference: Inference, frame: SensorFrame, ego_from_grid: np.ndarray) -> FoundObjects:
        """The objects of one frame; labels are refined where the network finds boxes."""
        entry = self.entry
        if inference.boxes is not None:
            boxes = decode_boxes(inference.boxes.scores, inference.boxes.codes)
            points, point_labels = np.zeros((0, 3), np.float32), np.zeros(0, np.uint8)
            if inference.point_labels is not None:
                points, point_labels = apply(inverse(ego_from_grid), frame.sweeps[0].points[:, :3]), inference.point_labels
            certain = boxes.take(np.flatnonzero(boxes.score >= entry.center_threshold))
            made = objects_from_boxes(labels, certain, entry.grid, points, point_labels)
            return FoundObjects(made.instance_ids, made.instances, made.point_ids, boxes)
        if inference.centers is None:
            return FoundObjects(*instances_from_labels(labels, entry.grid))
        centers = inference.centers
        found = decode_centers(centers.heatmap, centers.reg, centers.height, entry.center_threshold, entry.grid)
        return FoundObjects(*instances_from_centers(labels, found, entry.grid, self._classes))

    def _observed(self, cameras: list[CameraImage | None], ego_from_grid: np.ndarray) -> np.ndarray:
        """Voxels that one of the valid cameras covers, (nx, ny, nz) bool."""
        entry = self.entry
        size = entry.preprocessing.input_height, entry.preprocessing.input_width
        reach_m = np.inf if entry.lift is None else entry.lift.depth_stop
        observed = np.zeros(entry.grid.shape, bool)
        for camera in cameras:
            if camera is None:
                continue
            grid_from_camera = inverse(ego_from_grid) @ camera.ego_from_camera
            key = camera.intrinsics.tobytes() + grid_from_camera.tobytes()
            if key not in self._coverage:
                if len(self._coverage) > 4 * len(cameras):
                    self._coverage.clear()
                self._coverage[key] = camera_coverage(entry.grid, camera.intrinsics, grid_from_camera, size, reach_m)
            observed |= self._coverage[key]
        return observed


@dataclass(frozen=True)
class FoundObjects:
    """Objects of one frame with its own ids: see OccupancyPrediction. point_ids: of labelled LiDAR points, 0 = none."""

    instance_ids: np.ndarray
    instances: tuple[Instance, ...]
    point_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint16))
    boxes: Boxes | None = None


def _fitted(camera: CameraImage, preprocessing: catalogue.ImagePreprocessing, pixels: bool) -> CameraImage:
    """A picture at network size; pixels: else its intrinsics alone."""
    if pixels:
        image, intrinsics = fit(camera.image, camera.intrinsics, preprocessing)
    else:
        image, (height, width) = camera.image, camera.image.shape[:2]
        intrinsics = fitted_intrinsics(height, width, camera.intrinsics, preprocessing)
    return CameraImage(camera.name, camera.stamp_ns, image, intrinsics, camera.ego_from_camera, camera.fixed_from_ego)


def _camera_set(cameras: list[CameraImage | None]) -> CameraSet:
    """Geometry of the cameras in the network's order; identities for those that are not there."""
    if not cameras:
        return CameraSet(np.zeros((0, 3, 3)), np.zeros((0, 4, 4)), np.zeros((0, 4, 4)), np.zeros(0, bool))
    return CameraSet(np.stack([camera.intrinsics if camera else np.eye(3) for camera in cameras]),
                     np.stack([camera.ego_from_camera if camera else np.eye(4) for camera in cameras]),
                     np.stack([camera.fixed_from_ego @ camera.ego_from_camera if camera else np.eye(4) for camera in cameras]),
                     np.array([camera is not None for camera in cameras]))

"""The whole of a prediction, from sensor readings to labelled voxels and objects."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from occ_perception import catalogue
from occ_perception.engines.select import open_engine
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.geometry.transforms import inverse
from occ_perception.geometry.visibility import camera_coverage
from occ_perception.labels import UNKNOWN
from occ_perception.runtime.frames import CameraImage, OccupancyPrediction, SensorFrame
from occ_perception.runtime.instances import instances_from_labels
from occ_perception.runtime.intake.image import fit


class Predictor:
    """A network of the catalogue as a function SensorFrame -> OccupancyPrediction.

    backend: 'auto', 'openvino', 'tensorrt' or 'torch'. weights: a file, None for the shipped ones, or 'random'. threads: of
    the CPU backends, None for all cores. Make and use it in one thread. A stereo or temporal network would keep its history
    here; the present ones have none.
    """

    def __init__(self, network: str, backend: str = 'auto', weights: str | Path | None = None, threads: int | None = None) -> None:
        self.entry = catalogue.entry(network)
        if self.entry.lift is None:
            raise ValueError(f'{network} is no lift-splat network; the Predictor runs only those')
        self._lift = self.entry.lift
        self.engine = open_engine(self.entry, backend, weights, threads)
        self._coverage: dict[bytes, np.ndarray] = {}

    def reset(self) -> None:
        """Forget all that was learned from past frames: here, where the cameras look."""
        self._coverage.clear()

    def predict(self, frame: SensorFrame) -> OccupancyPrediction:
        """Occupancy around the ego vehicle at the frame's stamp.

        Cameras that are not in the frame are left out: their image is black, they lift nothing, and voxels that only they
        could see become UNKNOWN. Raises ValueError when a camera is unknown to the network, or when there is none.
        """
        entry = self.entry
        unknown = sorted(set(frame.cameras) - set(entry.cameras))
        if unknown or not frame.cameras:
            raise ValueError(f'cameras of the frame are {sorted(frame.cameras)}; {entry.name} takes some or all of '
                             f'{", ".join(entry.cameras)}: map your camera names to these')
        marks = [time.perf_counter()]
        cameras = [_fitted(frame.cameras[name], entry.preprocessing) if name in frame.cameras else None for name in entry.cameras]
        size = entry.preprocessing.input_height, entry.preprocessing.input_width
        images = np.stack([camera.image if camera else np.zeros((*size, 3), np.uint8) for camera in cameras])
        marks.append(time.perf_counter())
        tables = self._lift_tables(frame, cameras)
        marks.append(time.perf_counter())
        labels = self.engine.infer(images, tables)
        marks.append(time.perf_counter())
        labels[~self._observed(cameras)] = UNKNOWN
        instance_ids, instances = instances_from_labels(labels, entry.grid)
        marks.append(time.perf_counter())
        stages = ('preprocess', 'geometry', 'network', 'postprocess')
        return OccupancyPrediction(
            stamp_ns=frame.stamp_ns, network=entry.name, grid=entry.grid, labels=labels, instance_ids=instance_ids,
            instances=instances,
            cameras_used={name: (frame.stamp_ns - camera.stamp_ns) * 1e-9 for name, camera in frame.cameras.items()},
            timings_ms={stage: 1e3 * (b - a) for stage, a, b in zip(stages, marks[:-1], marks[1:], strict=True)})

    def _lift_tables(self, frame: SensorFrame, cameras: list[CameraImage | None]) -> dict[str, np.ndarray]:
        """Index tables of the view transform, with the ego motion between each exposure and the reference in them."""
        ego_from_fixed = inverse(frame.fixed_from_ego)
        intrinsics = np.stack([camera.intrinsics if camera else np.eye(3) for camera in cameras])
        reference_from_camera = np.stack([
            ego_from_fixed @ camera.fixed_from_ego @ camera.ego_from_camera if camera else np.eye(4) for camera in cameras])
        valid = np.array([camera is not None for camera in cameras])
        caps = self._lift.default_caps(len(cameras))
        return build_lift_tables(self._lift, intrinsics, reference_from_camera, caps, valid).arrays()

    def _observed(self, cameras: list[CameraImage | None]) -> np.ndarray:
        """Voxels that one of the valid cameras covers, (nx, ny, nz) bool."""
        entry = self.entry
        size = entry.preprocessing.input_height, entry.preprocessing.input_width
        observed = np.zeros(entry.grid.shape, bool)
        for camera in cameras:
            if camera is None:
                continue
            key = camera.intrinsics.tobytes() + camera.ego_from_camera.tobytes()
            if key not in self._coverage:
                if len(self._coverage) > 4 * len(cameras):
                    self._coverage.clear()
                self._coverage[key] = camera_coverage(entry.grid, camera.intrinsics, camera.ego_from_camera, size,
                                                      self._lift.depth_stop)
            observed |= self._coverage[key]
        return observed


def _fitted(camera: CameraImage, preprocessing: catalogue.ImagePreprocessing) -> CameraImage:
    image, intrinsics = fit(camera.image, camera.intrinsics, preprocessing)
    return CameraImage(camera.name, camera.stamp_ns, image, intrinsics, camera.ego_from_camera, camera.fixed_from_ego)

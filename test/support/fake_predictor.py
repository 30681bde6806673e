"""A predictor whose labels tell what it was given: cheap, deterministic, sensitive to every input."""

from __future__ import annotations

import time
import zlib

import numpy as np

from occ_perception import catalogue
from occ_perception.labels import FREE
from occ_perception.runtime.frames import Instance, OccupancyPrediction, PendingPrediction, SensorFrame
from occ_perception.runtime.intake.image import fit


class FakePredictor:
    """Labels are drawn from a checksum over all pictures, intrinsics and poses; one instance."""

    def __init__(self, network: str = 'scocc_sample', delay_s: float = 0.0) -> None:
        self.entry = catalogue.entry(network)
        self.delay_s = delay_s
        self.resets = 0
        self.news = ''
        self.frames: list[SensorFrame] = []

    def reset(self) -> None:
        self.resets += 1

    def submit(self, frame: SensorFrame) -> PendingPrediction:
        prediction = self.predict(frame)
        return PendingPrediction(lambda: prediction)

    def predict(self, frame: SensorFrame) -> OccupancyPrediction:
        self.frames.append(frame)
        time.sleep(self.delay_s)
        check = 0
        for name in sorted(frame.cameras):
            camera = frame.cameras[name]
            image, intrinsics = fit(camera.image, camera.intrinsics, self.entry.preprocessing)
            for array in (image, np.round(intrinsics, 6), np.round(camera.ego_from_camera, 6), np.round(camera.fixed_from_ego, 6)):
                check = zlib.crc32(np.ascontiguousarray(array), check)
        for sweep in frame.sweeps:
            check = zlib.crc32(np.ascontiguousarray(np.round(sweep.points, 3)), check)
        rng = np.random.default_rng(check)
        labels = np.full(self.entry.grid.shape, FREE, np.uint8)
        labels[:, :, :2] = 11
        cells = rng.integers(0, 200, (300, 2))
        labels[cells[:, 0], cells[:, 1], 3:8] = rng.integers(0, 17, 300, np.uint8)[:, None]
        labels[:20] = 255
        ids = np.zeros(labels.shape, np.uint16)
        ids[100:104, 100:104, 3:6] = 1
        one = Instance(1, 4, 0.9, (0.8, 0.8, 1.0), (1.6, 1.6, 1.2), 0.3, 48)
        flow = np.zeros((*labels.shape, 2), np.float32)
        flow[100:104, 100:104, 3:6] = 3.0, -4.0
        labels[100:104, 100:104, 3:6] = 4
        return OccupancyPrediction(frame.stamp_ns, self.entry.name, self.entry.grid, labels, ids, (one,),
                                   {name: (frame.stamp_ns - camera.stamp_ns) * 1e-9 for name, camera in frame.cameras.items()},
                                   flow=flow, timings_ms={'network': 1e3 * self.delay_s}, sweeps_used=tuple(
                                       (frame.stamp_ns - sweep.stamp_ns) * 1e-9 for sweep in frame.sweeps))


def make(network: str, *_: object) -> FakePredictor:
    """Stands in for occ_perception.nodes.predictors.make_predictor."""
    return FakePredictor(network)

"""Something to evaluate that is no network: answers every frame with given labels and notes what it was asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.runtime.frames import OccupancyPrediction, SensorFrame


class Answers:
    """answer: number of the frame since the reset -> labels (200, 200, 16)."""

    def __init__(self, answer: Callable[[int], np.ndarray]) -> None:
        self._answer = answer
        self.asked: list[int | str] = []
        self._count = 0

    def reset(self) -> None:
        self.asked.append('reset')
        self._count = 0

    def predict(self, frame: SensorFrame) -> OccupancyPrediction:
        labels = self._answer(self._count).astype(np.uint8)
        self._count += 1
        self.asked.append(frame.stamp_ns)
        return OccupancyPrediction(frame.stamp_ns, 'answers', OCC3D_GRID, labels, np.zeros(labels.shape, np.uint16), (), {})

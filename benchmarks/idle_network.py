"""A network that answers at once, for measuring what is around networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.catalogue import entry
from occ_perception.runtime.frames import OccupancyPrediction, PendingPrediction, SensorFrame


def keep(prediction: OccupancyPrediction, path: Path) -> None:
    """Write the labels that IdlePredictor answers with."""
    np.savez(path, labels=prediction.labels, instance_ids=prediction.instance_ids)


class IdlePredictor:
    """In place of a Predictor: every frame gets the labels that were kept."""

    news = ''

    def __init__(self, network: str, path: Path) -> None:
        self.entry = entry(network)
        with np.load(path) as kept:
            self._answer = OccupancyPrediction(0, network, self.entry.grid, kept['labels'], kept['instance_ids'], (), {})

    def submit(self, frame: SensorFrame) -> PendingPrediction:
        """The answer, at the frame's stamp."""
        used = {name: (frame.stamp_ns - camera.stamp_ns) * 1e-9 for name, camera in frame.cameras.items()}
        return PendingPrediction(lambda: replace(self._answer, stamp_ns=frame.stamp_ns, cameras_used=used))

    def reset(self) -> None:
        """There is nothing to forget."""


def take_over(path: str) -> None:
    """Let occupancy nodes that are made in this process serve an IdlePredictor."""
    from occ_perception.nodes import occupancy

    def make(network: str, weights: str, values: Any) -> IdlePredictor:
        return IdlePredictor(network, Path(path))

    occupancy.make_predictor = make

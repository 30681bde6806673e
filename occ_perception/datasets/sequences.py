"""Drives of any data set as sequences of labelled frames: what a Predictor is given, and what should come out of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.labels import OCC3D_NUSCENES, LabelSet
from occ_perception.metrics.ray_set import ray_origins
from occ_perception.runtime.frames import SensorFrame


@dataclass(frozen=True)
class Moment:
    """One frame of a sequence before anything of it is read.

    token: names it within its data set. stamp_ns: of the reference (the end of the LiDAR sweep). labelled: whether truth belongs to
    it. fixed_from_ego (4, 4): ego pose at stamp_ns. ego_from_lidar (4, 4).
    """

    token: str
    stamp_ns: int
    labelled: bool
    fixed_from_ego: np.ndarray
    ego_from_lidar: np.ndarray


@dataclass(frozen=True)
class LabelledFrame:
    """One frame. truth: None for frames between the labelled ones."""

    moment: Moment
    sensors: SensorFrame
    truth: OccupancyTruth | None


class DrivingSequence(ABC):
    """One drive (scene) in time order. Moments come from tables; pictures, points and labels are read when asked for.

    Reading raises FileNotFoundError, which names the command or page that provides the file, and CorruptFileError.
    """

    name: str
    label_set: LabelSet = OCC3D_NUSCENES

    @property
    @abstractmethod
    def moments(self) -> Sequence[Moment]:
        """The frames, in time order."""

    @abstractmethod
    def sensors(self, index: int) -> SensorFrame:
        """Pictures, points and poses of a frame."""

    @abstractmethod
    def truth(self, index: int) -> OccupancyTruth:
        """Labels of a frame; only where its moment is labelled."""

    def point_truth(self, index: int) -> np.ndarray | None:
        """(M,) uint8 classes 0 (noise) ... 16 of the points of a labelled frame's own sweep; None where the data set has none."""
        return None

    def frame(self, index: int) -> LabelledFrame:
        """All of a frame."""
        moment = self.moments[index]
        return LabelledFrame(moment, self.sensors(index), self.truth(index) if moment.labelled else None)

    def __len__(self) -> int:
        return len(self.moments)

    def __iter__(self) -> Iterator[LabelledFrame]:
        return (self.frame(index) for index in range(len(self)))

    def ray_origins(self, index: int) -> np.ndarray:
        """(n, 3) float64 metres in the ego frame: where the rays of the ray metrics start at a labelled frame."""
        labelled = [k for k, moment in enumerate(self.moments) if moment.labelled]
        poses = [self.moments[k].fixed_from_ego for k in labelled]
        mounts = [self.moments[k].ego_from_lidar for k in labelled]
        return ray_origins(poses, mounts, labelled.index(index))

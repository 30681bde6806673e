"""A bag of a generated street as a sequence of labelled frames: the readings as the nodes get them, truth by stamp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from occ_perception.catalogue import LidarSpec
from occ_perception.datasets.bag_frames import BagFrames
from occ_perception.datasets.occ3d import OccupancyTruth, read_truth
from occ_perception.datasets.sequences import DrivingSequence, Moment
from occ_perception.runtime.frames import SensorFrame
from occ_perception.runtime.intake.rate_thinner import RateThinner


class BagSequence(DrivingSequence):
    """The LiDAR stamps of a bag that have truth, at most rate_hz per second (0: all), as the nodes would choose them.

    truth_files: by stamp in nanoseconds. lidar: of a network whose earlier sweeps are to go along. Raises what BagFrames raises,
    once a frame is asked for.
    """

    def __init__(self, bag: Path, truth_files: Mapping[int, Path], rate_hz: float = 0.0, lidar: LidarSpec | None = None) -> None:
        self.name, self._bag, self._truth_files, self._rate_hz, self._lidar = bag.stem, bag, truth_files, rate_hz, lidar

    @property
    def moments(self) -> Sequence[Moment]:
        return self._moments

    def sensors(self, index: int) -> SensorFrame:
        return self.bag.frame(self._moments[index].stamp_ns, self._lidar)

    def truth(self, index: int) -> OccupancyTruth:
        return read_truth(self._truth_files[self._moments[index].stamp_ns])

    @cached_property
    def bag(self) -> BagFrames:
        """What is read of the bag."""
        return BagFrames(self._bag)

    @cached_property
    def _moments(self) -> list[Moment]:
        thinner = RateThinner(self._rate_hz)
        stamps = [stamp for stamp in self.bag.lidar_stamps if stamp in self._truth_files and thinner.due(stamp)]
        return [Moment(str(stamp), stamp, True, self.bag.pose(stamp), self.bag.ego_from_lidar) for stamp in stamps]

"""One sequence through a Predictor from beginning to end, its temporal memory as it would be live, and what was counted of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from occ_perception.catalogue import LIDAR
from occ_perception.datasets.files import CorruptFileError
from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.datasets.sequences import DrivingSequence
from occ_perception.evaluation.counts import Answer, Counts, flow_of
from occ_perception.runtime.frames import OccupancyPrediction, SensorFrame
from occ_perception.runtime.regrid import on_grid

KEPT_WORST = 8
"""Frames of a sequence whose grids are kept for pictures: those with the lowest mIoU."""


class Answering(Protocol):
    """What is scored: a Predictor, or whatever else answers frames in the order of their stamps."""

    def reset(self) -> None:
        """Forget the sequence before."""

    def predict(self, frame: SensorFrame) -> OccupancyPrediction:
        """Answer one frame."""


@dataclass(frozen=True)
class WorstFrame:
    """A frame that went badly. index: in its sequence; labels, instance_ids: what was answered; miou: 0..1, this frame alone."""

    index: int
    stamp_ns: int
    miou: float
    labels: np.ndarray
    instance_ids: np.ndarray


@dataclass
class SequenceResult:
    """Outcome of one sequence. stamps_ns: of the counted frames. worst: the worst first. corrupt: what was left out, and why."""

    name: str
    counts: Counts = field(default_factory=Counts)
    stamps_ns: list[int] = field(default_factory=list)
    worst: list[WorstFrame] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)

    def add(self, sequence: DrivingSequence, index: int, answer: Answer, truth: OccupancyTruth, rays: bool) -> None:
        """Count the answer to a labelled frame of the sequence."""
        self.counts.add(answer, truth, sequence.ray_origins(index) if rays else None)
        stamp_ns, miou = sequence.moments[index].stamp_ns, self.counts.frame_miou(-1)
        self.stamps_ns.append(stamp_ns)
        ids = np.zeros(answer.labels.shape, np.uint16) if answer.instance_ids is None else answer.instance_ids
        if not np.isnan(miou):
            self.worst.append(WorstFrame(index, stamp_ns, miou, answer.labels.copy(), ids.copy()))
            self.worst = sorted(self.worst, key=lambda frame: (frame.miou, frame.index))[:KEPT_WORST]


@dataclass(frozen=True)
class _Loaded:
    index: int
    sensors: SensorFrame | None
    truth: OccupancyTruth | None
    points: np.ndarray | None
    problems: tuple[str, ...]


def run_sequence(predictor: Answering, sequence: DrivingSequence, rays: bool = True, skip_corrupt: bool = False,
                 on_frame: Callable[[], None] = lambda: None) -> SequenceResult:
    """Predict every frame in order, count those with truth.

    rays: whether the ray metrics are counted, about a second per frame. skip_corrupt: leave frames out whose pictures or points
    cannot be read, and predict but do not count those whose labels cannot; without it CorruptFileError is raised. A file that is
    absent always raises FileNotFoundError. on_frame: called after each frame.
    """
    predictor.reset()
    result = SequenceResult(sequence.name)
    for loaded in _ahead(sequence):
        if loaded.problems and not skip_corrupt:
            raise CorruptFileError(f'{sequence.name}: {loaded.problems[0]} (--skip-corrupt goes on without such frames)')
        result.corrupt += loaded.problems
        if loaded.sensors is not None:
            prediction = predictor.predict(loaded.sensors)
            if loaded.truth is not None:
                labels, ids = on_grid(prediction) if prediction.frame == LIDAR else (prediction.labels, prediction.instance_ids)
                flow = None if loaded.truth.flow is None else flow_of(ids, prediction.instances)
                points = None if prediction.points is None else prediction.points.labels
                answer = Answer(labels, ids, flow, points)
                result.add(sequence, loaded.index, answer, loaded.truth, rays)
                if loaded.points is not None and points is not None:
                    result.counts.add_points(answer, loaded.points)
        on_frame()
    return result


def _ahead(sequence: DrivingSequence) -> Iterator[_Loaded]:
    """The frames in order; while one is worked on, the next is read."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(_load, sequence, 0) if len(sequence) else None
        for index in range(len(sequence)):
            assert future is not None
            loaded = future.result()
            future = pool.submit(_load, sequence, index + 1) if index + 1 < len(sequence) else None
            yield loaded


def _load(sequence: DrivingSequence, index: int) -> _Loaded:
    sensors, truth, points, problems = None, None, None, []
    try:
        sensors = sequence.sensors(index)
    except CorruptFileError as error:
        problems.append(str(error))
    try:
        if sequence.moments[index].labelled:
            truth, points = sequence.truth(index), sequence.point_truth(index)
    except CorruptFileError as error:
        problems.append(str(error))
    return _Loaded(index, sensors, truth, points, tuple(problems))

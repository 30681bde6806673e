"""Grids that live nodes published for a bag, scored like the answers of a Predictor; frames without a grid cost score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from occ_perception.datasets.sequences import DrivingSequence
from occ_perception.evaluation.counts import Answer
from occ_perception.evaluation.sequence_run import SequenceResult
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import UNKNOWN
from occ_perception.runtime.intake.rate_thinner import RateThinner
from occ_perception.runtime.live_score import ReceivedGrid

RATES_HZ = (2.0, 2.5, 4.0, 5.0, 10.0, 0.0)
"""Rates at which nodes are asked for grids, the first that has every labelled frame; 0 asks for every reference."""


def due_stamps(references_ns: Sequence[int], rate_hz: float) -> list[int]:
    """The reference stamps that the nodes take at a rate (0: all)."""
    thinner = RateThinner(rate_hz)
    return [stamp for stamp in references_ns if thinner.due(stamp)]


def least_rate(references_ns: Sequence[int], wanted_ns: Iterable[int]) -> float:
    """The lowest of RATES_HZ at which all wanted reference stamps are due."""
    wanted = set(wanted_ns) & set(references_ns)
    return next(rate for rate in RATES_HZ if wanted <= set(due_stamps(references_ns, rate)))


def score_received(sequence: DrivingSequence, grids: Iterable[ReceivedGrid], due_ns: Iterable[int], rays: bool = True,
                   on_frame: Callable[[], None] = lambda: None) -> tuple[SequenceResult, int]:
    """Count the labelled frames of a sequence that were due: (result, how many of them got no grid).

    grids: as received; the first of a stamp counts. A frame that got none is counted as one answered UNKNOWN throughout, which is a
    miss of all that stands there.
    """
    first: dict[int, ReceivedGrid] = {}
    for grid in grids:
        first.setdefault(grid.stamp_ns, grid)
    result, due, dropped = SequenceResult(sequence.name), set(due_ns), 0
    for index, moment in enumerate(sequence.moments):
        if not moment.labelled or moment.stamp_ns not in due:
            continue
        received = first.get(moment.stamp_ns)
        dropped += received is None
        answer = Answer(np.full(OCC3D_GRID.shape, UNKNOWN, np.uint8)) if received is None else Answer(
            received.labels, received.instance_ids)
        result.add(sequence, index, answer, sequence.truth(index), rays)
        on_frame()
    return result, dropped

"""Grids from live nodes: matched by stamp, frames without one cost score, the rate has all key frames."""

from __future__ import annotations

import numpy as np
import pytest
from answers import Answers
from small_tree import truth, write_tree

from occ_perception.datasets.opening import DataSource, open_sequences
from occ_perception.datasets.sequences import DrivingSequence
from occ_perception.evaluation.received import due_stamps, least_rate, score_received
from occ_perception.evaluation.sequence_run import run_sequence
from occ_perception.evaluation.summary import summary
from occ_perception.labels import FREE
from occ_perception.runtime.live_score import ReceivedGrid

MS = 1_000_000


@pytest.fixture(scope='module')
def sequence(tmp_path_factory: pytest.TempPathFactory) -> DrivingSequence:
    tree = write_tree(tmp_path_factory.mktemp('tree'), key_frames=4)
    return open_sequences(DataSource(tree, 'val'))[0]


def grid(stamp_ns: int, labels: np.ndarray) -> ReceivedGrid:
    return ReceivedGrid(stamp_ns, stamp_ns, 10.0, 'net', labels, np.zeros(labels.shape, np.uint16))


def test_all_received_scores_as_offline(sequence: DrivingSequence) -> None:
    stamps = [moment.stamp_ns for moment in sequence.moments]
    labels = truth().labels.copy()
    labels[125:127] = FREE
    offline = run_sequence(Answers(lambda number: labels), sequence)
    wrong = np.full(labels.shape, 3, np.uint8)
    grids = [grid(stamp, labels) for stamp in stamps] + [grid(stamps[0], wrong), grid(stamps[1] + 1, wrong)]
    result, dropped = score_received(sequence, grids, stamps)
    assert dropped == 0 and summary(result.counts) == summary(offline.counts)


def test_frames_without_a_grid_cost_score(sequence: DrivingSequence) -> None:
    stamps = [moment.stamp_ns for moment in sequence.moments]
    result, dropped = score_received(sequence, [grid(stamp, truth().labels) for stamp in stamps[1:]], stamps)
    scores = summary(result.counts)
    assert dropped == 1 and scores['frames'] == 4
    assert scores['miou_camera_mask'] == pytest.approx(75) and 0 < scores['ray_iou'] < 80
    not_due, dropped = score_received(sequence, [], stamps[:2])
    assert dropped == 2 and not_due.stamps_ns == stamps[:2]


def test_the_lowest_rate_that_has_all_key_frames() -> None:
    references = [50 * MS * k for k in range(61)]
    assert due_stamps(references, 2.0) == references[::10] and due_stamps(references, 0.0) == references
    assert least_rate(references, references[::10]) == 2.0
    assert least_rate(references, [*references[::10], references[4]]) == 10.0
    assert least_rate(references, [0, *references[::4]]) == 5.0
    late = [stamp for stamp in references if stamp != references[10]]
    assert least_rate(late, [references[0], references[9], references[20]]) == 0.0
    assert least_rate(references, [references[0], 7]) == 2.0

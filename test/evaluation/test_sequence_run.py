"""One sequence through a predictor: order, memory, what is counted, which frames are kept for pictures, broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from answers import Answers
from small_tree import truth, write_tree

from occ_perception.datasets.files import CorruptFileError
from occ_perception.datasets.nuscenes_sequence import FrameOptions
from occ_perception.datasets.opening import DataSource, open_sequences
from occ_perception.evaluation.result_files import ResultFolder
from occ_perception.evaluation.sequence_run import run_sequence
from occ_perception.evaluation.summary import summary
from occ_perception.labels import FREE


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / 'tree', key_frames=4)


def opened(root: Path, **options):
    (sequence,) = open_sequences(DataSource(root, 'val', options=FrameOptions(**options)))
    return sequence


def half_right(number: int) -> np.ndarray:
    """The truth with ever more of it missing."""
    labels = truth().labels.copy()
    labels[125:125 + number] = FREE
    return labels


def test_frames_go_through_in_order_and_key_frames_are_counted(tree: Path) -> None:
    sequence, answers = opened(tree, rate_hz=10.0), Answers(lambda number: truth().labels)
    ticks = []
    result = run_sequence(answers, sequence, on_frame=lambda: ticks.append(1))
    assert answers.asked == ['reset', *(moment.stamp_ns for moment in sequence.moments)]
    assert len(ticks) == len(sequence) == 16
    assert result.stamps_ns == [moment.stamp_ns for moment in sequence.moments if moment.labelled] and len(result.stamps_ns) == 4
    scores = summary(result.counts)
    assert (scores['frames'], scores['miou_camera_mask'], scores['ray_iou']) == (4, 100, 100)
    assert 'ray_iou' not in summary(run_sequence(answers, sequence, rays=False).counts)


def test_worst_frames_are_kept_worst_first(tree: Path, tmp_path: Path) -> None:
    result = run_sequence(Answers(half_right), opened(tree), rays=False)
    assert [frame.index for frame in result.worst] == [3, 2, 1, 0]
    assert [frame.miou for frame in result.worst] == pytest.approx([0.4, 0.6, 0.8, 1.0])
    np.testing.assert_array_equal(result.worst[0].labels, half_right(3))
    files = ResultFolder(tmp_path / 'out', 'key')
    files.save(result)
    back = files.load(result.name)
    assert summary(back.counts) == summary(result.counts) and back.stamps_ns == result.stamps_ns
    assert [(frame.index, frame.miou) for frame in back.worst] == [(frame.index, frame.miou) for frame in result.worst]
    np.testing.assert_array_equal(back.worst[1].labels, half_right(2))
    assert not list(files.path.glob('.*'))


def test_broken_frames_stop_the_run_or_are_left_out_and_counted(tree: Path) -> None:
    sorted((tree / 'samples' / 'CAM_BACK').iterdir())[1].write_bytes(b'')
    (tree / 'gts' / 'scene-0103' / 'scene-0103-2' / 'labels.npz').write_bytes(b'PK')
    answers = Answers(lambda number: truth().labels)
    with pytest.raises(CorruptFileError, match=r'CAM_BACK.*--skip-corrupt'):
        run_sequence(answers, opened(tree), rays=False)
    answers.asked.clear()
    result = run_sequence(answers, opened(tree), rays=False, skip_corrupt=True)
    assert result.counts.frames == 2 and len(result.corrupt) == 2
    assert 'CAM_BACK' in result.corrupt[0] and 'labels.npz' in result.corrupt[1]
    assert len(answers.asked) == 1 + 3, 'a frame without labels still goes into the memory'
    (tree / 'gts' / 'scene-0103' / 'scene-0103-3' / 'labels.npz').unlink()
    with pytest.raises(FileNotFoundError, match='Occ3D'):
        run_sequence(answers, opened(tree), rays=False, skip_corrupt=True)


def test_a_damaged_result_is_named(tree: Path, tmp_path: Path) -> None:
    files = ResultFolder(tmp_path, 'key')
    files.save(run_sequence(Answers(half_right), opened(tree), rays=False))
    files.file('scene-0103').write_bytes(files.file('scene-0103').read_bytes()[:2000])
    with pytest.raises(ValueError, match=r'scene-0103\.npz is damaged.*delete it'):
        files.load('scene-0103')

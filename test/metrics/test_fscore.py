"""F-score against the official numbers and against every pair of voxels."""

from __future__ import annotations

import numpy as np
import pytest

from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.metrics.fscore import FScore


def test_equals_the_official_code(cases) -> None:
    golden = cases.expected('occ3d_fscore_voxelpq')
    score = FScore(0.4)
    for frame in cases.samples(golden):
        score.add(frame['pred_sem'], frame['gt_sem'], frame['mask_camera'])
    numbers = golden['fscore_0.4_camera']
    assert score.scores() == pytest.approx({'accuracy': numbers['acc'], 'completeness': numbers['completeness'],
                                            'f_score': numbers['f']}, rel=1e-12)


@pytest.mark.parametrize('threshold', [0.4, 0.6, 1.0])
def test_equals_every_pair(threshold: float) -> None:
    """At 0.4 the rounding of the centres decides about neighbours, and must be the official code's."""
    rng = np.random.default_rng(3)
    grid = VoxelGridSpec((-40.0, -40.0, -1.0), 0.4, (30, 20, 8))
    prediction, truth = (np.where(rng.random(grid.shape) < 0.05, 4, FREE) for _ in range(2))
    score = FScore(threshold, grid)
    score.add(prediction, truth)
    centers = [np.stack([i * 0.4 + 0.2 + low for i, low in zip(np.nonzero(labels != FREE), grid.origin_m, strict=True)], axis=1)
               for labels in (prediction, truth)]
    distance = np.sqrt(((centers[0][:, None] - centers[1][None]) ** 2).sum(axis=2))
    accuracy, completeness = ((distance.min(axis=axis) < threshold).mean() for axis in (1, 0))
    found = score.scores()
    assert (found['accuracy'], found['completeness']) == (accuracy, completeness)
    assert found['f_score'] == pytest.approx(2 * accuracy * completeness / (accuracy + completeness), rel=1e-6)


def test_masked_unknown_and_free_voxels_are_void_and_inputs_stay_as_they_are() -> None:
    grid = VoxelGridSpec((0.0, 0.0, 0.0), 0.4, (4, 1, 1))
    truth = np.array([4, 4, FREE, 4]).reshape(grid.shape)
    prediction = np.array([11, UNKNOWN, FREE, FREE]).reshape(grid.shape)
    mask = np.array([1, 1, 1, 0], np.uint8).reshape(grid.shape)
    before = prediction.copy(), truth.copy()
    score = FScore(0.3, grid)
    score.add(prediction, truth, mask)
    assert score.frames[0][:2] == (1, 0.5)
    np.testing.assert_array_equal((prediction, truth), before)


def test_empty_frames_score_nothing_and_frames_add_up() -> None:
    grid = VoxelGridSpec((0.0, 0.0, 0.0), 0.4, (2, 1, 1))
    full, empty = np.full(grid.shape, 4), np.full(grid.shape, FREE)
    one, two = FScore(0.4, grid), FScore(0.4, grid)
    one.add(full, full)
    two.add(empty, full)
    two.add(full, empty)
    assert two.scores() == {'accuracy': 0, 'completeness': 0, 'f_score': 0}
    assert (one + two).scores() == pytest.approx({'accuracy': 1 / 3, 'completeness': 1 / 3, 'f_score': 1 / 3})
    assert np.isnan(FScore().scores()['f_score'])


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r'prediction \(2,\), truth \(3,\)'):
        FScore().add(np.zeros(2, int), np.zeros(3, int))

"""Voxel PQ and nuScenes panoptic quality against the official numbers, and what must hold for any input."""

from __future__ import annotations

import numpy as np
import pytest

from occ_perception.labels import THINGS
from occ_perception.metrics.nuscenes_panoptic import NuScenesPanoptic
from occ_perception.metrics.panoptic import match_segments
from occ_perception.metrics.voxel_pq import VoxelPQ


def check_voxels(pq: VoxelPQ, golden: dict) -> None:
    for name in ('tp', 'fp', 'fn'):
        assert getattr(pq, name).tolist() == golden[name]
    np.testing.assert_allclose(pq.iou_sum, golden['iou_sum'], rtol=1e-12)
    assert [round(100 * pq.scores()[name], 2) for name in ('PQ', 'SQ', 'RQ')] == golden['pq_sq_rq_percent']


def check_points(score: NuScenesPanoptic, golden: dict) -> None:
    for name in ('tp', 'fp', 'fn'):
        assert getattr(score, name).tolist() == golden[name]
    np.testing.assert_allclose(score.iou_sum, golden['iou_sum'], rtol=1e-12)
    for name in ('pq', 'sq', 'rq', 'iou'):
        np.testing.assert_allclose(getattr(score, name)(), golden[name], rtol=1e-12)
    names = {name: name for name in ('PQ', 'SQ', 'RQ', 'PQ_things', 'PQ_stuff', 'PQ_dagger')} | {'mIoU': 'miou'}
    assert score.scores() == pytest.approx({ours: golden[theirs] for ours, theirs in names.items()}, rel=1e-12)


def test_voxel_pq_equals_the_official_code(cases) -> None:
    golden = cases.expected('occ3d_fscore_voxelpq')
    pq = VoxelPQ()
    for frame in cases.samples(golden):
        pq.add(frame['pred_sem'], frame['gt_sem'], frame['pred_inst'], frame['gt_inst'], frame['mask_camera'])
    check_voxels(pq, golden['voxel_pq_camera'])


def test_voxel_pq_equals_the_official_code_on_compact_rows(rows: dict, expected: dict) -> None:
    parts = []
    for index in range(2):
        prediction, truth, ids, true_ids, mask, _ = rows[f'voxels_{index}'].T
        parts.append(VoxelPQ())
        parts[-1].add(prediction, truth, ids, true_ids, mask)
    check_voxels(parts[0] + parts[1], expected['occ3d_fscore_voxelpq']['voxel_pq_camera'])


def test_points_equal_the_devkit(cases) -> None:
    golden = cases.expected('lidarseg_panoptic')
    score = NuScenesPanoptic()
    for name in golden['names']:
        points = cases.generator.points(name)
        score.add(1000 * points['pred_sem'] + points['pred_inst'], 1000 * points['gt_sem'] + points['gt_inst'])
    check_points(score, golden['nuscenes_panoptic'])


def test_points_equal_the_devkit_on_compact_rows(rows: dict, expected: dict) -> None:
    total = NuScenesPanoptic()
    for index in range(3):
        prediction, truth, ids, true_ids = rows[f'points_{index}'].T
        part = NuScenesPanoptic()
        part.add(1000 * prediction + ids, 1000 * truth + true_ids)
        total = part + total
    check_points(total, expected['lidarseg_panoptic']['nuscenes_panoptic'])


def random_points(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    classes = np.repeat(rng.integers(1, 17, 60), 50)
    return 1000 * classes + np.where(classes <= 10, np.repeat(np.arange(1, 61), 50), 0)


def test_a_perfect_prediction_scores_one() -> None:
    labels = np.concatenate([random_points(0), 1000 * np.repeat(np.arange(1, 17), 20)])
    score = NuScenesPanoptic()
    score.add(labels, labels)
    assert score.scores() == dict.fromkeys(score.scores(), 1.0)
    pq = VoxelPQ()
    ids = np.where(np.isin(labels // 1000, THINGS), labels % 1000, 0)
    pq.add(labels // 1000, labels // 1000, ids, ids)
    assert pq.scores() == {'PQ': 1, 'SQ': 1, 'RQ': 1}


def test_new_instance_numbers_change_nothing() -> None:
    truth, prediction = random_points(0), np.roll(random_points(0), 17)
    shuffled = np.concatenate([[0], np.random.default_rng(1).permutation(np.arange(1, 999))])
    one, two = NuScenesPanoptic(), NuScenesPanoptic()
    one.add(prediction, truth)
    two.add(prediction // 1000 * 1000 + shuffled[prediction % 1000], truth // 1000 * 1000 + shuffled[truth % 1000])
    assert one.scores() == two.scores() and one.scores()['PQ'] < 1


def test_noise_is_left_out_of_the_truth_but_not_of_the_prediction() -> None:
    score = NuScenesPanoptic()
    score.add(np.repeat([4001, 4001, 0], [40, 30, 10]), np.repeat([4001, 0, 4001], [40, 30, 10]))
    assert score.tp[4] == 1 and score.iou_sum[4] == 0.8 and score.iou()[4] == 0.8


def test_adding_up_equals_one_accumulator_in_any_order() -> None:
    frames = [(np.roll(random_points(seed), 13), random_points(seed)) for seed in range(4)]
    whole, backwards = NuScenesPanoptic(), NuScenesPanoptic()
    for prediction, truth in frames:
        whole.add(prediction, truth)
    for prediction, truth in reversed(frames):
        part = NuScenesPanoptic()
        part.add(prediction, truth)
        backwards = backwards + part
    assert whole.scores() == backwards.scores()  # to the last bit


def test_matches_need_more_than_half_and_small_segments_are_forgiven() -> None:
    true = np.repeat([1, 2, 3], [10, 10, 4])
    predicted = np.repeat([5, 6, 7, -1], [10, 5, 5, 4])
    assert match_segments(predicted, true, 5) == [(1, 2, 1, 1.0)]
    assert match_segments(predicted, true, 6) == [(1, 0, 1, 1.0)]
    nowhere = np.zeros(24, bool)
    assert match_segments(predicted, true, 5, [nowhere]) == [(0, 3, 2, 0.0)]


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match='give one grid'):
        VoxelPQ().add(np.zeros(3, int), np.zeros(3, int), np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ValueError, match=r'\[17\] are no classes here: use 0\.\.16'):
        NuScenesPanoptic().add(np.array([17_000]), np.array([1_000]))

"""Counts of an evaluation: right answers score 100, unknown is free, parts add up to the whole, files give back what was put in."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_tree import truth

from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.evaluation.counts import Answer, Counts, flow_of
from occ_perception.evaluation.summary import summary, table, total
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.runtime.frames import Instance

ORIGINS = np.array([[0.9, 0.0, 1.8], [5.9, 0.0, 1.8]])


def street(shift: int = 0, seed: int = 0) -> OccupancyTruth:
    """A floor, two cars of which one drives, a random mask."""
    random = np.random.default_rng(seed)
    labels = np.full((200, 200, 16), FREE, np.uint8)
    labels[:, :, 0] = 11
    ids, flow = np.zeros(labels.shape, np.uint16), np.zeros((*labels.shape, 2), np.float16)
    for number, x in ((1, 120 + shift), (2, 140 + shift)):
        labels[x:x + 10, 95:102, 1:5], ids[x:x + 10, 95:102, 1:5] = 4, number
    flow[ids == 2] = (3, 0)
    seen = random.random(labels.shape) < 0.5
    return OccupancyTruth(labels, seen, seen, ids, flow)


def filled(shifts: tuple[int, ...]) -> Counts:
    counts = Counts()
    for shift in shifts:
        true = street(seed=shift)
        counts.add(Answer(street(shift).labels, street(shift).instances, street(shift).flow.astype(np.float32)), true, ORIGINS)
    return counts


def test_the_truth_scores_100() -> None:
    scores = summary(filled((0,)))
    full = ('miou_camera_mask', 'miou', 'geometric_iou_camera_mask', 'geometric_iou', 'ray_iou', 'ray_iou@1', 'ray_pq', 'ray_pq@4')
    assert {name: scores[name] for name in full} == dict.fromkeys(full, 100) and scores['mave'] == 0
    assert scores['frames'] == 1
    assert scores['classes']['car'] == {'iou_camera_mask': 100, 'iou': 100, 'ray_iou': 100, 'ray_iou@1': 100, 'ray_iou@2': 100,
                                        'ray_iou@4': 100, 'ray_pq': 100, 'ave': 0}
    assert scores['classes']['bus'] == dict.fromkeys(scores['classes']['car'])


def test_masked_and_unmasked_voxels_are_told_apart() -> None:
    """By hand: 8 voxels of a car, half of them seen; of the seen ones three are found, of the others none."""
    true, answer = truth(FREE), np.full((200, 200, 16), FREE, np.uint8)
    labels, seen = true.labels.copy(), np.ones(true.labels.shape, bool)
    labels[100, 100:108, 5] = 4
    seen[100, 104:108, 5] = False
    answer[100, 100:103, 5] = 4
    answer[50, 50, 5] = 4
    counts = Counts()
    counts.add(Answer(answer), dataclasses.replace(true, labels=labels, mask_camera=seen))
    scores = summary(counts)
    assert (scores['miou_camera_mask'], scores['miou']) == (pytest.approx(100 * 3 / 5), pytest.approx(100 * 3 / 9, abs=1e-6))
    assert 'ray_iou' not in scores


def test_unknown_counts_as_free_in_every_metric() -> None:
    unknown, free = Counts(), Counts()
    for value, counts in ((UNKNOWN, unknown), (FREE, free)):
        labels = street().labels.copy()
        labels[:125] = value
        counts.add(Answer(labels, street().instances), street(), ORIGINS)
    assert summary(unknown) == summary(free)
    assert summary(free)['miou'] < 80


def test_parts_add_up_to_the_whole_in_any_order() -> None:
    whole, parts = filled((0, 2, 3)), [filled((3,)), filled((0, 2))]
    assert summary(total(parts)) == summary(whole) == summary(total(parts[::-1]))
    assert 10 < summary(whole)['ray_pq'] < 100


def test_arrays_give_back_what_was_put_in() -> None:
    before = filled((1, 4))
    after = Counts.from_arrays(before.arrays())
    assert summary(after) == summary(before)
    assert summary(total([after, filled((0,))])) == summary(total([before, filled((0,))]))
    assert summary(Counts.from_arrays(Counts().arrays())) == summary(Counts())


def test_table_has_a_column_for_what_was_counted() -> None:
    text = table(summary(filled((1,))))
    assert [title in text for title in ('mask IoU', 'RayIoU', 'RayPQ', 'AVE m/s')] == [True] * 4
    counts = Counts()
    counts.add(Answer(street().labels), street())
    text = table(summary(counts))
    assert 'RayIoU' not in text and 'AVE' not in text
    assert next(line for line in text.splitlines() if line.startswith('bus')).split() == ['bus', '-', '-']
    assert next(line for line in text.splitlines() if line.startswith('mean')).split() == ['mean', '100.00', '100.00']


def test_voxels_move_as_the_object_they_belong_to() -> None:
    ids = np.zeros((2, 2, 1), np.uint16)
    ids[0, 0], ids[1, 1] = 7, 3
    objects = tuple(Instance(number, 4, 1.0, (0, 0, 0), (4, 2, 1), 0.0, 1, velocity) for number, velocity in
                    ((7, (1.0, 2.0, 3.0)), (9, (5.0, 5.0, 5.0))))
    flow = flow_of(ids, objects)
    assert flow.shape == (2, 2, 1, 2)
    assert flow[0, 0, 0].tolist() == [1, 2] and flow[1, 1, 0].tolist() == [0, 0] and not flow[0, 1].any()


def test_labelled_points_are_counted_and_kept():
    counts = Counts()
    truth = np.array([0, 4, 4, 11, 11], np.uint8)
    counts.add_points(Answer(np.zeros((1, 1, 1), np.uint8), points=np.array([4, 4, 11, 11, 11], np.uint8)), truth)
    again = Counts.from_arrays(counts.arrays())
    again += counts
    scores = summary(again)
    assert scores['lidarseg_miou'] == pytest.approx(100 * (1 / 2 + 2 / 3) / 2, abs=1e-5)
    assert scores['lidarseg_miou_with_noise'] is None  # classes that never occur make it NaN
    assert scores['classes']['car']['lidarseg_iou'] == 50.0 and scores['classes']['bus']['lidarseg_iou'] is None
    with pytest.raises(ValueError, match='3 labelled points, but truth has 5'):
        counts.add_points(Answer(np.zeros((1, 1, 1), np.uint8), points=np.zeros(3, np.uint8)), truth)

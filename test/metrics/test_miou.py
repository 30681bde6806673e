"""Occ3D mIoU against the official numbers, geometric IoU and UNKNOWN against hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest

from occ_perception.labels import FREE, UNKNOWN
from occ_perception.metrics.miou import ConfusionMatrix

MASKS = ('mask_camera', 'mask_lidar', 'mask_none')


def check(confusion: ConfusionMatrix, golden: dict) -> None:
    """Counts exactly, ratios to rounding."""
    assert confusion.counts.tolist() == golden['hist_gt_rows']
    np.testing.assert_allclose(confusion.iou(), np.array(golden['iou'], float), rtol=1e-12)
    assert confusion.miou() == pytest.approx(golden['miou'], rel=1e-12)
    assert round(100 * confusion.miou(), 2) == golden['miou_percent_2']


@pytest.mark.parametrize('mask', MASKS)
def test_equals_the_official_code(cases, mask: str) -> None:
    golden = cases.expected('occ3d_miou')
    confusion = ConfusionMatrix()
    for frame in cases.samples(golden):
        confusion.add(frame['pred_sem'], frame['gt_sem'], frame.get(mask))
    check(confusion, golden[mask])


@pytest.mark.parametrize('mask', MASKS)
def test_equals_the_official_code_on_compact_rows(rows: dict, expected: dict, mask: str) -> None:
    parts = []
    for index in range(2):
        prediction, truth, _, _, *masks = rows[f'voxels_{index}'].T
        parts.append(ConfusionMatrix())
        parts[-1].add(prediction, truth, dict(zip(MASKS, masks, strict=False)).get(mask))
    check(parts[0] + parts[1], expected['occ3d_miou'][mask])


def test_absent_classes_are_left_out_and_false_alarms_count() -> None:
    confusion = ConfusionMatrix()
    confusion.add(np.array([4, 4, FREE, 11]), np.array([4, FREE, 4, 11]))
    np.testing.assert_allclose(confusion.iou()[[4, 11]], [1 / 3, 1])
    assert confusion.miou() == pytest.approx((1 / 3 + 1) / 2)
    assert np.isnan(confusion.iou()[0])


def test_unannotated_and_masked_voxels_do_not_count() -> None:
    confusion = ConfusionMatrix()
    confusion.add(np.array([4, 4, 4]), np.array([255, 4, FREE]), np.array([1, 1, 0], np.uint8))
    assert confusion.counts.sum() == confusion.counts[4, 4] == 1


def test_unknown_is_no_better_than_free() -> None:
    truth = np.array([4, FREE, 11, 11])
    abstaining, claiming = ConfusionMatrix(), ConfusionMatrix()
    abstaining.add(np.array([UNKNOWN, UNKNOWN, 11, UNKNOWN], np.uint8), truth)
    claiming.add(np.array([FREE, FREE, 11, FREE], np.uint8), truth)
    np.testing.assert_array_equal(abstaining.counts, claiming.counts)


def test_geometric_iou_ignores_which_class() -> None:
    confusion = ConfusionMatrix()
    confusion.add(np.array([4, 11, FREE, FREE, 3]), np.array([11, 11, 4, FREE, FREE]))
    assert confusion.geometric_iou() == pytest.approx(2 / 4)
    assert np.isnan(ConfusionMatrix().geometric_iou())


def test_adding_up_leaves_the_parts_alone() -> None:
    one, two = ConfusionMatrix(), ConfusionMatrix()
    one.add(np.array([4]), np.array([4]))
    two.add(np.array([4]), np.array([11]))
    total = one + two
    assert total.counts.sum() == 2 and one.counts.sum() == two.counts.sum() == 1
    one += two
    np.testing.assert_array_equal(one.counts, total.counts)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r'prediction \(2,\), truth \(3,\)'):
        ConfusionMatrix().add(np.zeros(2, int), np.zeros(3, int))
    with pytest.raises(ValueError, match=r'\[18, 200\] are no Occ3D classes'):
        ConfusionMatrix().add(np.array([200, 18]), np.array([1, 1]))
    with pytest.raises(ValueError, match=r'counts of shape \(17, 17\)'):
        ConfusionMatrix(np.zeros((17, 17), int))

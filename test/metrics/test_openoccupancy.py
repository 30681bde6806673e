"""OpenOccupancy's SC and SSC against the official numbers, the resizing of logits against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

from occ_perception.metrics.openoccupancy import OpenOccupancyIoU, effocc_total, fine_labels, resized_labels


def check(coarse: OpenOccupancyIoU, fine: OpenOccupancyIoU, visible: OpenOccupancyIoU, golden: dict) -> None:
    for name, score in (('SSC', coarse), ('SSC_fine', fine), ('SSC_visible', visible)):
        assert score.counts.tolist() == golden['confusion_gt_rows'][name]
        np.testing.assert_allclose(score.iou(), golden[f'{name}_iou'], rtol=1e-12)
        assert score.scores()['SSC'] == pytest.approx(golden[name], rel=1e-12)
    for name, score in (('SC', coarse), ('SC_fine', fine)):
        assert score.sc_counts().tolist() == golden['confusion_gt_rows'][name]
        assert score.scores()['SC'] == pytest.approx(golden[name], rel=1e-12)


def test_equals_the_official_code(cases) -> None:
    golden = cases.expected('openoccupancy')
    coarse, fine, visible = (OpenOccupancyIoU() for _ in range(3))
    for name in golden['names']:
        case = cases.generator.openocc_logits(name)
        labels = resized_labels(case['coarse'], case['label'].shape)
        coarse.add(labels, case['label'])
        visible.add(labels, case['label'], case['visible'])
        fine.add(fine_labels(case['fine'], case['fine_coords'], case['label'].shape), case['label'])
    check(coarse, fine, visible, golden)


def test_scores_of_the_official_counts(expected: dict) -> None:
    golden = expected['openoccupancy']
    scores = [OpenOccupancyIoU(np.array(golden['confusion_gt_rows'][name])) for name in ('SSC', 'SSC_fine', 'SSC_visible')]
    check(*scores, golden)


@pytest.mark.parametrize('shapes', [((8, 8, 5), (32, 32, 20)), ((6, 5, 4), (13, 9, 4)), ((9, 8, 7), (4, 5, 7)),
                                    ((4, 4, 3), (4, 4, 3))])
def test_resizing_equals_torch(shapes: tuple[tuple[int, int, int], tuple[int, int, int]]) -> None:
    torch = pytest.importorskip('torch')
    logits = np.random.default_rng(7).normal(size=(17, *shapes[0])).astype(np.float32)
    resized = torch.nn.functional.interpolate(torch.from_numpy(logits)[None], shapes[1], mode='trilinear', align_corners=False)
    np.testing.assert_array_equal(resized_labels(logits, shapes[1]), resized[0].argmax(dim=0).numpy())


def test_noise_does_not_count_and_a_missing_class_makes_the_mean_nan() -> None:
    score = OpenOccupancyIoU()
    score.add(np.array([0, 4, 4, 7]), np.array([0, 4, 0, 255]))
    assert score.counts.sum() == 3 and score.sc() == 0.5
    assert np.isnan(score.ssc()) and score.iou()[4] == 0.5


def test_effocc_counts_its_first_sample_twice() -> None:
    one, two = OpenOccupancyIoU(), OpenOccupancyIoU()
    one.add(np.array([1, 1]), np.array([1, 2]))
    two.add(np.array([3]), np.array([3]))
    total = effocc_total([one, two])
    assert total.counts.sum() == 5 and one.counts.sum() == 2
    np.testing.assert_array_equal(total.counts, 2 * one.counts + two.counts)


def test_voxels_without_fine_logits_are_empty() -> None:
    labels = fine_labels(np.eye(17)[[5, 0]], np.array([[0, 1], [1, 1], [0, 0]]), (2, 2, 1))
    assert labels.tolist() == [[[0], [5]], [[0], [0]]]


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r'logits of shape \(17, 2\)'):
        resized_labels(np.zeros((17, 2)), (2, 2, 2))

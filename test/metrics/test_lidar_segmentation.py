"""LiDAR segmentation mIoU against the official numbers, PanoOcc's and the devkit's."""

from __future__ import annotations

import numpy as np
import pytest

from occ_perception.metrics.lidar_segmentation import LidarSegmentationIoU


def check(score: LidarSegmentationIoU, golden: dict) -> None:
    np.testing.assert_allclose(score.iou(), golden['panoocc_lidarseg']['iou'], rtol=1e-12)
    assert score.panoocc_miou() == pytest.approx(golden['panoocc_lidarseg']['miou16'], rel=1e-12)
    np.testing.assert_allclose(score.devkit_iou(), np.array(golden['noise_removed_first']['iou'], float), rtol=1e-12)
    assert score.devkit_miou() == pytest.approx(golden['noise_removed_first']['miou16'], rel=1e-12)


def test_equals_the_official_code(cases) -> None:
    golden = cases.expected('lidarseg_panoptic')
    score = LidarSegmentationIoU()
    for name in golden['names']:
        points = cases.generator.points(name)
        score.add(points['pred_sem'], points['gt_sem'])
    check(score, golden)


def test_equals_the_official_code_on_compact_rows(rows: dict, expected: dict) -> None:
    total = LidarSegmentationIoU()
    for index in range(3):
        part = LidarSegmentationIoU()
        part.add(*rows[f'points_{index}'][:, :2].T)
        total += part
    check(total, expected['lidarseg_panoptic'])


def test_noise_counts_for_panoocc_and_not_for_the_devkit() -> None:
    score = LidarSegmentationIoU()
    score.add(np.array([4, 4, 5]), np.array([4, 0, 5]))
    assert score.iou()[4] == 0.5 and score.devkit_iou()[4] == 1
    assert np.isnan(score.panoocc_miou()) and score.devkit_miou() == 1


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r'\[17, 40\] are no classes here: use 0\.\.16'):
        LidarSegmentationIoU().add(np.array([40, 17]), np.array([1, 2]))

"""Occ3D mIoU against the official numbers, geometric IoU and UNKNOWN against hand-made cases."""

from __future__ import annotations

import importlib.util
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from occ_perception.labels import FREE, UNKNOWN
from occ_perception.metrics.miou import ConfusionMatrix


@pytest.fixture(scope='module')
def official(shared: Path) -> tuple[dict, list[dict]]:
    """The golden scores and the seeded frames they were computed on."""
    folder = shared / 'conformance' / 'metrics_cases'
    spec = importlib.util.spec_from_file_location('gen_metric_cases', folder / 'gen_metric_cases.py')
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    golden = json.loads((folder / 'occ3d_miou.json').read_text())
    frames = [generator.sample(name, golden['layout']) for name in golden['samples']]
    for frame, sums in zip(frames, golden['crc32'], strict=True):
        for key in ('gt_sem', 'pred_sem', 'mask_camera', 'mask_lidar'):
            assert zlib.crc32(np.ascontiguousarray(frame[key]).tobytes()) == sums[key]
    return golden, frames


@pytest.mark.parametrize('mask', ['mask_camera', 'mask_lidar', 'mask_none'])
def test_equals_the_official_code(official: tuple[dict, list[dict]], mask: str) -> None:
    golden, frames = official
    confusion = ConfusionMatrix()
    for frame in frames:
        confusion.add(frame['pred_sem'], frame['gt_sem'], frame.get(mask))
    assert confusion.counts.tolist() == golden[mask]['hist_gt_rows']
    expected = np.array([np.nan if value is None else value for value in golden[mask]['iou']])
    np.testing.assert_allclose(confusion.iou(), expected, rtol=1e-12)
    assert confusion.miou() == pytest.approx(golden[mask]['miou'], rel=1e-12)
    assert round(100 * confusion.miou(), 2) == golden[mask]['miou_percent_2']


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


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r'prediction \(2,\), truth \(3,\)'):
        ConfusionMatrix().add(np.zeros(2, int), np.zeros(3, int))
    with pytest.raises(ValueError, match=r'\[18, 200\] are no Occ3D classes'):
        ConfusionMatrix().add(np.array([200, 18]), np.array([1, 1]))

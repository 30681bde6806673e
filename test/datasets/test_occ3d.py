"""Occ3D label files: round trip, lookup by stamp, clear errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from occ_perception.datasets.occ3d import OccupancyTruth, read_truth, truth_by_stamp, write_truth

SHAPE = (200, 200, 16)


def test_round_trip_keeps_every_array(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = OccupancyTruth(rng.integers(0, 18, SHAPE).astype(np.uint8), rng.random(SHAPE) < 0.5, rng.random(SHAPE) < 0.5,
                           rng.integers(0, 60000, SHAPE).astype(np.uint16), rng.normal(size=(*SHAPE, 2)).astype(np.float16))
    write_truth(tmp_path / 'scene' / '17.npz', truth)
    back = read_truth(tmp_path / 'scene' / '17.npz')
    for name in ('labels', 'mask_camera', 'mask_lidar', 'instances', 'flow'):
        np.testing.assert_array_equal(getattr(back, name), getattr(truth, name))
        assert getattr(back, name).dtype == getattr(truth, name).dtype
    with np.load(tmp_path / 'scene' / '17.npz') as stored:
        assert stored['mask_camera'].dtype == np.uint8


def test_optional_arrays_may_be_absent(tmp_path: Path) -> None:
    zeros = np.zeros(SHAPE, np.uint8)
    np.savez(tmp_path / 'labels.npz', semantics=zeros, mask_camera=zeros, mask_lidar=zeros)
    truth = read_truth(tmp_path / 'labels.npz')
    assert truth.instances is None
    assert truth.flow is None


def test_files_are_found_by_stamp_in_time_order(tmp_path: Path) -> None:
    for name in ('scene-2/300.npz', 'scene-1/1000.npz', 'scene-1/20.npz', 'scene-1/labels.npz'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(truth_by_stamp(tmp_path)) == [20, 300, 1000]


def test_errors_name_the_file_and_the_mend(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='occ world'):
        read_truth(tmp_path / 'absent.npz')
    (tmp_path / 'torn.npz').write_bytes(b'PK\x03\x04 torn')
    with pytest.raises(ValueError, match=r'torn\.npz is not a readable npz'):
        read_truth(tmp_path / 'torn.npz')
    np.savez(tmp_path / 'other.npz', semantics=np.zeros(SHAPE, np.uint8))
    with pytest.raises(ValueError, match='lacks mask_camera, mask_lidar'):
        read_truth(tmp_path / 'other.npz')
    small = np.zeros((4, 4, 4), np.uint8)
    np.savez(tmp_path / 'small.npz', semantics=small, mask_camera=small, mask_lidar=small)
    with pytest.raises(ValueError, match=r'shape \(4, 4, 4\)'):
        read_truth(tmp_path / 'small.npz')
    with pytest.raises(FileNotFoundError, match='no truth files'):
        truth_by_stamp(tmp_path / 'nowhere')

"""The baselines: counting, choice of the best constant, LiDAR hits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import FREE
from occ_perception.metrics.miou import ConfusionMatrix
from occ_perception.training.baselines import Prior, fit_prior, make_prior

GRID = VoxelGridSpec((-2.0, -2.0, -1.0), 0.4, (10, 10, 4))


def streets(count: int = 30, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames with a road (always), a wall (often) and a rare car that the majority never shows."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        labels = np.full(GRID.shape, FREE, np.uint8)
        labels[:, :, 0] = 11
        if rng.random() < 0.8:
            labels[:, 8, 1:3] = 15
        if rng.random() < 0.35:
            labels[3:5, 4, 1] = 4
        frames.append((labels, rng.random(GRID.shape) < 0.7))
    return frames


def score(labels: np.ndarray, frames: list[tuple[np.ndarray, np.ndarray]]) -> ConfusionMatrix:
    confusion = ConfusionMatrix()
    for truth, mask in frames:
        confusion.add(labels, truth, mask)
    return confusion


def test_counts_are_per_voxel_and_masked() -> None:
    frames = streets(5)
    counts = fit_prior(frames, GRID.shape)
    assert counts.shape == (18, *GRID.shape)
    np.testing.assert_array_equal(counts.sum(axis=0), sum(mask.astype(int) for _, mask in frames))
    np.testing.assert_array_equal(counts[15], sum(((labels == 15) & mask).astype(int) for labels, mask in frames))


def test_constant_beats_the_plain_majority_and_its_score_is_true() -> None:
    frames = streets()
    counts = fit_prior(frames, GRID.shape)
    prior = make_prior(counts)
    assert score(prior.constant, frames).miou() == pytest.approx(prior.miou)
    assert prior.miou > score(counts.argmax(axis=0), frames).miou() + 0.05, 'the rare car lifts the best constant'
    assert (prior.constant == 4).any()


def test_geometry_is_the_best_threshold() -> None:
    frames = streets()
    counts = fit_prior(frames, GRID.shape)
    prior = make_prior(counts)
    assert score(prior.geometry, frames).geometric_iou() == pytest.approx(prior.geometric_iou)
    share = counts[:FREE].sum(axis=0) / counts.sum(axis=0)
    for threshold in np.linspace(0, 1, 21):
        assert score(np.where(share > threshold, 11, FREE), frames).geometric_iou() <= prior.geometric_iou + 1e-12


def test_lidar_hits_take_the_class_of_their_place() -> None:
    prior = make_prior(fit_prior(streets(), GRID.shape))
    points = np.array([[-1.9, -1.9, -0.9, 7, 0], [0.1, 1.3, -0.5, 7, 0], [50, 0, 0, 7, 0]], np.float32)
    labels = prior.label_points(points, GRID)
    assert labels[0, 0, 0] == 11
    assert labels[5, 8, 1] == 15
    assert (labels != FREE).sum() == 2


def test_saved_prior_is_small_and_equal(tmp_path: Path) -> None:
    prior = make_prior(fit_prior(streets(), GRID.shape))
    prior.save(tmp_path / 'prior.npz')
    back = Prior.load(tmp_path / 'prior.npz')
    for name in ('constant', 'geometry', 'likeliest'):
        np.testing.assert_array_equal(getattr(back, name), getattr(prior, name))
    assert (back.rule, back.miou) == (prior.rule, prior.miou)
    assert (prior.likeliest != FREE).all()
    with pytest.raises(FileNotFoundError, match='no prior'):
        Prior.load(tmp_path / 'absent.npz')


def test_nothing_counted_is_an_error() -> None:
    with pytest.raises(ValueError, match='camera mask'):
        make_prior(fit_prior([], GRID.shape))

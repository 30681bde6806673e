"""Looked-up sums against the resampled volumes that the published code reads."""

from __future__ import annotations

import numpy as np
import pytest

from occ_perception.geometry.volume_lookup import axis_matrix, point_sums

torch = pytest.importorskip('torch')
ORIGIN, EXTENT, SHAPE = (-51.2, -51.2, -5.0), (102.4, 102.4, 8.0), (32, 200, 200)


@pytest.mark.parametrize('fine', [False, True])
def test_points_are_read_as_in_the_published_code(fine: bool) -> None:
    torch.manual_seed(0)
    scores = torch.randn(2, *SHAPE)
    points = np.random.default_rng(0).uniform((-60, -60, -6), (60, 60, 4), (2000, 3)).astype(np.float32)
    volume = torch.nn.functional.interpolate(scores[None], scale_factor=2, mode='trilinear', align_corners=False)
    cells, edge = (64, 400, 400), np.array([0.256, 0.256, 0.125], np.float32)
    if fine:
        cells, edge = (160, 512, 512), np.array([0.2, 0.2, 0.05], np.float32)
        axes = [torch.linspace(-1, 1, size) for size in cells]
        z, y, x = torch.meshgrid(*axes, indexing='ij')
        volume = torch.nn.functional.grid_sample(volume, torch.stack([x, y, z], -1)[None], align_corners=False)
    cell = np.floor((points - np.array(ORIGIN, np.float32)) / edge).astype(int).clip(0, np.array(cells)[::-1] - 1)
    expected = volume[0][:, cell[:, 2], cell[:, 1], cell[:, 0]].numpy()
    index, share = point_sums(points, ORIGIN, EXTENT, SHAPE, fine)
    assert index.shape == share.shape == (2000, 64 if fine else 8)
    found = (scores.flatten(1).numpy()[:, index] * share).sum(-1)
    # which of two voxels a point on their border is in hangs on the last bit
    assert (np.abs(found - expected).max(0) < 1e-4).mean() > 0.995


def test_axes_are_read_as_points_are() -> None:
    places = np.linspace(-51.0, 51.0, 37)
    points = np.stack([places, np.full(37, 3.1), np.full(37, 0.2)], 1).astype(np.float32)
    scores = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    index, share = point_sums(points, ORIGIN, EXTENT, SHAPE)
    rows = axis_matrix(places, ORIGIN[0], EXTENT[0], SHAPE[2])
    line = axis_matrix(np.array([0.2]), ORIGIN[2], EXTENT[2], SHAPE[0])[0] @ (
        axis_matrix(np.array([3.1]), ORIGIN[1], EXTENT[1], SHAPE[1])[0] @ scores)
    np.testing.assert_allclose(rows @ line, (scores.reshape(-1)[index] * share).sum(-1), rtol=1e-3, atol=1e-5)

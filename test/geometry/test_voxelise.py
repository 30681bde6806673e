"""Points to voxels: order, caps and means as the published code has them, the same in NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occ_perception.geometry.voxelise import VoxelSpec, voxelise_in_order, voxelise_sorted

SPEC = VoxelSpec((-4, -4, -1), (4, 4, 1.4), (0.5, 1.0, 0.8), 3)


def cloud(count: int = 2000, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).uniform(-4.5, 4.5, (count, 5)).astype(np.float32)
    points[:, 2] /= 3
    return points


def by_hand(points: np.ndarray, spec: VoxelSpec, most: int | None) -> tuple[dict, int]:
    """Voxels in order of first appearance: coordinates (z, y, x) -> points taken; and how many voxels did not fit."""
    found: dict[tuple, list] = {}
    refused = set()
    for point in points:
        xyz = np.floor((point[:3] - np.float32(spec.lower_m)) / np.float32(spec.size_m)).astype(int)
        if (xyz < 0).any() or (xyz >= (spec.shape if spec.axes == 'xyz' else spec.shape[::-1])).any():
            continue
        key = tuple(xyz[::-1].tolist())
        if key not in found:
            if most is not None and len(found) == most:
                refused.add(key)
                continue
            found[key] = []
        if spec.points_per_voxel is None or len(found[key]) < spec.points_per_voxel:
            found[key].append(point)
    return found, len(refused)


@pytest.mark.parametrize('most', [10_000, 60])
def test_voxels_come_in_order_of_appearance_up_to_the_cap(most):
    points = cloud()
    voxels = voxelise_in_order(points, SPEC, most)
    expected, refused = by_hand(points, SPEC, most)
    assert voxels.coords.tolist() == [list(key) for key in expected]
    assert voxels.points.tolist() == [len(taken) for taken in expected.values()]
    assert max(voxels.points) == 3
    assert voxels.left_out == refused
    np.testing.assert_allclose(voxels.features, [np.mean(taken, 0) for taken in expected.values()], rtol=1e-5, atol=1e-6)


def test_sorted_voxels_take_every_point():
    points = cloud()
    spec = VoxelSpec(SPEC.lower_m, SPEC.upper_m, SPEC.size_m, axes='xyz')
    voxels = voxelise_sorted(points, spec)
    expected, _ = by_hand(points, spec, None)
    expected = {key[::-1]: taken for key, taken in expected.items()}
    assert voxels.coords.tolist() == [list(key) for key in sorted(expected)]
    assert voxels.points.sum() == sum(map(len, expected.values()))
    np.testing.assert_allclose(voxels.features, [np.mean(expected[key], 0) for key in sorted(expected)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
@pytest.mark.parametrize('count', [0, 1, 5000])
def test_torch_gives_what_numpy_gives_to_the_bit(count, device):
    if device == 'cuda' and not torch.cuda.is_available():
        pytest.skip('no NVIDIA GPU')
    points = cloud(count)
    points[:count // 2, :3] = np.round(points[:count // 2, :3], 1)  # points on borders of voxels
    there = torch.from_numpy(points).to(device)
    for voxelise in (lambda p: voxelise_in_order(p, SPEC, 90), lambda p: voxelise_sorted(p, SPEC)):
        found, expected = voxelise(there), voxelise(points)
        assert found.left_out == expected.left_out
        for a, b in zip(found[:3], expected[:3], strict=True):
            assert np.array_equal(a.cpu().numpy(), b)
            assert str(a.dtype) == f'torch.{b.dtype}'


def test_points_that_are_not_finite_are_left_out():
    points = cloud(50)
    points[3, 4] = np.nan
    points[4, 0] = np.inf
    good = np.delete(points, [3, 4], 0)
    for a, b in zip(voxelise_in_order(points, SPEC, 90), voxelise_in_order(good, SPEC, 90), strict=True):
        assert np.array_equal(a, b)


def test_bad_points_are_refused():
    with pytest.raises(ValueError, match='shape'):
        voxelise_sorted(np.zeros((3, 2), np.float32), SPEC)
    with pytest.raises(ValueError, match='float32'):
        voxelise_sorted(np.zeros((3, 5)), SPEC)
    with pytest.raises(ValueError, match='axes'):
        VoxelSpec((0, 0, 0), (1, 1, 1), (1, 1, 1), axes='yxz')

"""Sparse convolution by tables gives what a dense convolution gives at the voxels, whatever kernel, stride and padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from occ_perception.geometry.sparse_neighbours import cell_table, strided_table, submanifold_table
from occ_perception.networks.parts.sparse_conv import SparseConv3d, dense

SHAPE = (11, 14, 17)
STRIDED = [((3, 3, 3), (2, 2, 2), (1, 1, 1)), ((3, 3, 3), (2, 2, 2), (0, 1, 1)), ((3, 1, 1), (2, 1, 1), (0, 0, 0)),
           ((2, 2, 2), (2, 2, 2), (0, 0, 0)), ((3, 3, 3), (1, 1, 1), (1, 1, 1)), ((5, 3, 1), (3, 2, 1), (2, 0, 0)),
           ((1, 1, 1), (2, 2, 2), (0, 0, 0))]


def cloud(voxels: int, shape=SHAPE, seed: int = 0, order: bool = False) -> torch.Tensor:
    """Distinct voxels (V, 3) int32, in random order or sorted."""
    chosen = np.random.default_rng(seed).choice(np.prod(shape), voxels, replace=False)
    chosen = np.sort(chosen) if order else chosen
    return torch.from_numpy(np.stack(np.unravel_index(chosen, shape), -1).astype(np.int32))


def filled_grid(features: torch.Tensor, coords: torch.Tensor, shape) -> torch.Tensor:
    grid = torch.zeros(features.shape[1], *shape, dtype=features.dtype)
    grid[:, coords[:, 0], coords[:, 1], coords[:, 2]] = features.T
    return grid


def convolved(layer: SparseConv3d, grid: torch.Tensor, stride, padding) -> torch.Tensor:
    return F.conv3d(grid[None], layer.weight.permute(0, 4, 1, 2, 3), layer.bias, stride, padding)[0]


@pytest.mark.parametrize('kernel', [(3, 3, 3), (1, 3, 5), (3, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize('order', [False, True])
def test_submanifold_convolution_is_the_dense_one_at_its_voxels(kernel, order):
    torch.manual_seed(0)
    coords = cloud(600, order=order)
    layer = SparseConv3d(5, 7, kernel, bias=True).double()
    features = torch.randn(600, 5, dtype=torch.float64)
    found = layer(features, submanifold_table(coords, SHAPE, kernel))
    expected = convolved(layer, filled_grid(features, coords, SHAPE), 1, [k // 2 for k in kernel])
    torch.testing.assert_close(found, expected[:, coords[:, 0], coords[:, 1], coords[:, 2]].T)


@pytest.mark.parametrize(('kernel', 'stride', 'padding'), STRIDED)
@pytest.mark.parametrize('voxels', [1, 90, 2618])
def test_strided_convolution_is_the_dense_one_everywhere(kernel, stride, padding, voxels):
    """Cells that are no output of the sparse convolution see nothing: the dense one is zero there."""
    torch.manual_seed(0)
    coords = cloud(voxels)
    layer = SparseConv3d(4, 6, kernel).double()
    features = torch.randn(voxels, 4, dtype=torch.float64)
    places, table, shape = strided_table(coords, SHAPE, kernel, stride, padding)
    expected = convolved(layer, filled_grid(features, coords, SHAPE), stride, padding)
    assert shape == tuple(expected.shape[1:])
    torch.testing.assert_close(dense(layer(features, table), cell_table(places, shape), shape), expected)
    assert bool((table < voxels).any(1).all())


def test_padding_changes_nothing():
    torch.manual_seed(0)
    coords = cloud(300)
    table = submanifold_table(coords, SHAPE, (3, 3, 3))
    layer = SparseConv3d(5, 7)
    features = torch.randn(300, 5)
    padded = torch.full((400, 27), 350, dtype=torch.int32)
    padded[:300] = torch.where(table == 300, 350, table)
    found = layer(torch.cat([features, torch.randn(50, 5)]), padded)
    torch.testing.assert_close(found[:300], layer(features, table))
    assert not found[300:].any()


def test_gradients_are_those_of_the_dense_convolution():
    torch.manual_seed(0)
    coords = cloud(300)
    layer = SparseConv3d(5, 7).double().train()
    features = torch.randn(300, 5, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(300, 7, dtype=torch.float64)
    (layer(features, submanifold_table(coords, SHAPE, (3, 3, 3))) * wanted).sum().backward()
    found = features.grad.clone(), layer.weight.grad.clone()
    features.grad = layer.weight.grad = None
    output = convolved(layer, filled_grid(features, coords, SHAPE), 1, 1)
    (output[:, coords[:, 0], coords[:, 1], coords[:, 2]].T * wanted).sum().backward()
    torch.testing.assert_close(found, (features.grad, layer.weight.grad))


def test_work_in_parts_gives_the_same(monkeypatch):
    torch.manual_seed(0)
    table = submanifold_table(cloud(300), SHAPE, (3, 3, 3))
    layer, features = SparseConv3d(5, 7).eval(), torch.randn(300, 5)
    whole = layer(features, table)
    monkeypatch.setattr('occ_perception.networks.parts.sparse_conv._GATHERED', {'cpu': 1, 'cuda': 1, 'exported': 1})
    torch.testing.assert_close(layer(features, table), whole)

"""Neighbour tables: the same in NumPy and PyTorch, in a fixed order, honest about bad voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occ_perception.geometry.sparse_neighbours import cell_table, sorted_order, strided_shape, strided_table, submanifold_table

SHAPE = (9, 12, 15)


def voxels(count: int, seed: int = 0) -> np.ndarray:
    chosen = np.random.default_rng(seed).choice(np.prod(SHAPE), count, replace=False)
    return np.stack(np.unravel_index(chosen, SHAPE), -1).astype(np.int32)


def by_hand(coords: np.ndarray, outputs: np.ndarray, kernel, stride, padding) -> np.ndarray:
    rows = {tuple(c): row for row, c in enumerate(coords.tolist())}
    offsets = list(np.ndindex(*kernel))
    return np.array([[rows.get(tuple(out * stride - padding + offset), len(coords)) for offset in offsets] for out in outputs])


@pytest.mark.parametrize('count', [1, 40, 900])
def test_tables_name_the_neighbours(count):
    coords = voxels(count)
    found = submanifold_table(coords, SHAPE, (3, 3, 3))
    assert found.dtype == np.int32
    assert (found == by_hand(coords, coords, (3, 3, 3), np.array([1, 1, 1]), np.array([1, 1, 1]))).all()
    places, table, shape = strided_table(coords, SHAPE, (3, 3, 1), (2, 2, 1), (0, 1, 0))
    assert shape == (4, 6, 15)
    assert (table == by_hand(coords, places, (3, 3, 1), np.array([2, 2, 1]), np.array([0, 1, 0]))).all()
    assert (places[np.lexsort(places.T[::-1])] == places).all()


@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
@pytest.mark.parametrize('count', [0, 1, 700])
def test_torch_gives_what_numpy_gives(count, device):
    if device == 'cuda' and not torch.cuda.is_available():
        pytest.skip('no NVIDIA GPU')
    coords = voxels(count)
    there = torch.from_numpy(coords).to(device)
    assert np.array_equal(submanifold_table(there, SHAPE, (3, 3, 3)).cpu().numpy(), submanifold_table(coords, SHAPE, (3, 3, 3)))
    arguments = (SHAPE, (3, 3, 3), (2, 2, 2), (0, 1, 1))
    (places, table, shape), (other, expected, same) = strided_table(there, *arguments), strided_table(coords, *arguments)
    assert np.array_equal(places.cpu().numpy(), other)
    assert np.array_equal(table.cpu().numpy(), expected)
    assert table.dtype == torch.int32 and expected.dtype == np.int32
    assert shape == same
    assert np.array_equal(cell_table(places, shape).cpu().numpy(), cell_table(other, shape))


def test_the_order_of_the_voxels_only_renames_them():
    coords = voxels(500)
    order = sorted_order(coords, SHAPE)
    places, table, _ = strided_table(coords, SHAPE, (3, 3, 3), (2, 2, 2), (1, 1, 1))
    again, renamed, _ = strided_table(coords[order], SHAPE, (3, 3, 3), (2, 2, 2), (1, 1, 1))
    assert np.array_equal(places, again)
    assert np.array_equal(table, np.append(order, 500)[renamed])


def test_grids_beyond_32_bits():
    """41 x 8192 x 8192 cells: keys are 64 bit there."""
    coords = np.array([[40, 8191, 8191], [40, 8191, 8190], [0, 0, 0]], np.int32)
    table = submanifold_table(coords, (41, 8192, 8192), (3, 3, 3))
    assert table[0].tolist() == [3] * 12 + [1, 0] + [3] * 13
    assert np.array_equal(submanifold_table(torch.from_numpy(coords), (41, 8192, 8192), (3, 3, 3)).numpy(), table)


@pytest.mark.parametrize(('coords', 'message'), [
    ([[0, 0, 0], [0, 0, 0]], 'two voxels'), ([[0, 0, 15]], 'outside the grid'), ([[-1, 0, 0]], 'outside the grid'),
    ([[0, 0]], 'shape')])
def test_bad_voxels_are_refused(coords, message):
    with pytest.raises(ValueError, match=message):
        submanifold_table(np.array(coords, np.int32), SHAPE, (3, 3, 3))


def test_bad_kernels_are_refused():
    with pytest.raises(ValueError, match='centred'):
        submanifold_table(voxels(3), SHAPE, (3, 2, 3))
    with pytest.raises(ValueError, match='does not fit'):
        strided_shape(SHAPE, (10, 1, 1), (1, 1, 1), (0, 0, 0))
    with pytest.raises(ValueError, match='does not fit'):
        strided_shape(SHAPE, (3, 3, 3), (2, 2, 2), (3, 1, 1))

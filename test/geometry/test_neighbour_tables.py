from __future__ import annotations

import numpy as np
import pytest
import torch

from occ_perception.geometry.neighbour_tables import (
    Halving,
    SparseCapacityError,
    SparseSpec,
    build_neighbour_tables,
    fitting_tables,
)
from occ_perception.geometry.voxelise import VoxelSpec
from occ_perception.networks.lidar_branch import LidarBranch
from occ_perception.networks.parts.sparse_encoder import SparseEncoder, SparseTensors, SparseVolumeEncoder

BOX = VoxelSpec((0, 0, 0), (2.4, 2.4, 1.6), (0.1, 0.1, 0.2))
FLAT = LidarBranch(BOX, 300, 5, (4, 6), (1, 1), (Halving(), Halving((3, 1, 1), (2, 1, 1), (0, 0, 0))), 8, (300, 600, 400),
                   extra_layers=1)
VOLUME = LidarBranch(VoxelSpec((0, 0, 0), (2.4, 2.4, 1.6), (0.1, 0.1, 0.2), axes='xyz'), None, 5, (4, 6), (2, 1), (Halving(),), 8,
                     (300, 600))


def voxels(spec: SparseSpec, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distinct cells in no order, and their features."""
    random = np.random.default_rng(seed)
    cells = random.permutation(int(np.prod(spec.shape)))[:count]
    return np.stack(np.unravel_index(cells, spec.shape), 1).astype(np.int32), random.normal(size=(count, 5)).astype(np.float32)


@pytest.mark.parametrize(('branch', 'kind'), [(FLAT, SparseEncoder), (VOLUME, SparseVolumeEncoder)])
def test_padding_changes_nothing(branch: LidarBranch, kind: type[torch.nn.Module]) -> None:
    torch.manual_seed(0)
    encoder = kind(branch).eval()
    coords, features = voxels(branch.sparse, 150)
    maps = []
    for caps in (None, branch.caps):
        tables, kept = fitting_tables(coords, branch.sparse, caps)
        assert kept == 150
        if caps:
            assert tables.rows == caps and [len(table) for table in tables.near] == list(caps[:len(tables.near)])
        with torch.inference_mode():
            maps.append(encoder(torch.from_numpy(tables.padded_features(features)),
                                SparseTensors.from_arrays(tables.arrays(), branch.sparse)))
    assert maps[0].abs().max() > 0
    torch.testing.assert_close(maps[1], maps[0])


def test_the_order_in_which_voxels_are_given_does_not_matter() -> None:
    coords, features = voxels(FLAT.sparse, 100)
    order = np.random.default_rng(1).permutation(100)
    first, second = build_neighbour_tables(coords, FLAT.sparse), build_neighbour_tables(coords[order], FLAT.sparse)
    for name, table in first.arrays().items():
        np.testing.assert_array_equal(table, second.arrays()[name])
    np.testing.assert_array_equal(first.padded_features(features), second.padded_features(features[order]))


def test_a_cloud_too_large_loses_its_last_voxels() -> None:
    coords, _ = voxels(FLAT.sparse, 250)
    tables, kept = fitting_tables(coords, FLAT.sparse, (200, 150, 80))
    assert 0 < kept < 200 and tables.rows == (200, 150, 80)
    used = build_neighbour_tables(coords[:kept], FLAT.sparse).rows
    assert all(rows <= cap for rows, cap in zip(used, (200, 150, 80), strict=True))
    with pytest.raises(SparseCapacityError, match='voxels at the levels'):
        build_neighbour_tables(coords, FLAT.sparse).padded((200, 150, 80))


def test_no_voxel_at_all() -> None:
    coords, features = voxels(FLAT.sparse, 0)
    tables, _ = fitting_tables(coords, FLAT.sparse)
    with torch.inference_mode():
        found = SparseEncoder(FLAT).eval()(torch.from_numpy(tables.padded_features(features)),
                                           SparseTensors.from_arrays(tables.arrays(), FLAT.sparse))
    assert not found.any()

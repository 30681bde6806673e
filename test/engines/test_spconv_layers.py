"""Sparse convolution by the spconv package against the tables' form, where it is installed (its build for the CPU will do)."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from occ_perception.catalogue import entry
from occ_perception.engines.protocol import SPCONV, EngineUnavailable
from occ_perception.engines.select import open_engine, shipped_file
from occ_perception.engines.spconv_layers import SpconvPlaces, run_by_spconv
from occ_perception.geometry.neighbour_tables import Halving, fitting_tables
from occ_perception.geometry.voxelise import VoxelSpec
from occ_perception.networks.lidar_branch import LidarBranch
from occ_perception.networks.parts.sparse_encoder import SparseEncoder, SparseTensors, SparseVolumeEncoder
from occ_perception.runtime.frames import LidarSweep, SensorFrame
from occ_perception.runtime.predictor import Predictor

needs_spconv = pytest.mark.skipif(importlib.util.find_spec('spconv') is None, reason='not installed: spconv')
CAPS = (300, 600, 400)
FLAT = LidarBranch(VoxelSpec((0, 0, 0), (2.4, 2.4, 1.6), (0.1, 0.1, 0.2)), 300, 5, (4, 6), (1, 1),
                   (Halving(), Halving((3, 1, 1), (2, 1, 1), (0, 0, 0))), 8, CAPS, extra_layers=1)
VOLUME = LidarBranch(VoxelSpec((0, 0, 0), (2.4, 2.0, 1.6), (0.1, 0.1, 0.2), axes='xyz'), None, 5, (4, 6), (2, 1), (Halving(),), 8,
                     CAPS[:2])


@needs_spconv
@pytest.mark.parametrize('count', [150, 1, 0])
@pytest.mark.parametrize(('branch', 'kind'), [(FLAT, SparseEncoder), (VOLUME, SparseVolumeEncoder)])
def test_it_gives_what_tables_give(branch: LidarBranch, kind: type[torch.nn.Module], count: int) -> None:
    torch.manual_seed(0)
    encoder = kind(branch).eval()
    for norm in encoder.modules():
        if isinstance(norm, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(norm.bias)
    random = np.random.default_rng(0)
    shape = branch.sparse.shape
    cells = random.permutation(int(np.prod(shape)))[:count]
    coords = np.stack(np.unravel_index(cells, shape), 1).astype(np.int32)
    features = random.normal(size=(count, 5)).astype(np.float32)
    tables, _ = fitting_tables(coords, branch.sparse)
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(tables.padded_features(features)),
                           SparseTensors.from_arrays(tables.arrays(), branch.sparse))
        run_by_spconv(encoder)
        found = encoder(torch.from_numpy(features), SpconvPlaces(torch.from_numpy(coords), branch.sparse))
    assert expected.any() == (count > 0)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@needs_spconv
def test_a_whole_network_says_the_same() -> None:
    random = np.random.default_rng(0)
    points = np.zeros((5000, 6), np.float32)
    points[:, :3] = random.uniform((-30, -30, 0), (30, 30, 2), (5000, 3))
    frame = SensorFrame(1_000_000_000, np.eye(4), {}, (LidarSweep(1_000_000_000, points, np.eye(4)),))
    weights = shipped_file('effocc_sample.safetensors')
    plain, by_package = (Predictor('effocc_sample', 'torch', weights, sparse=sparse) for sparse in ('tables', SPCONV))
    assert by_package.engine.description.endswith('spconv')
    labels = by_package.predict(frame).labels
    assert (labels != 17).any() and (labels == plain.predict(frame).labels).mean() > 0.9999


def test_its_absence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'spconv', None)
    with pytest.raises(EngineUnavailable, match='pip install spconv'):
        open_engine(entry('effocc_sample'), 'torch', shipped_file('effocc_sample.safetensors'), sparse=SPCONV)


@pytest.mark.parametrize(('network', 'backend', 'words'), [
    ('effocc_sample', 'openvino', 'torch backend'), ('scocc_sample', 'torch', 'no LiDAR points'),
])
def test_where_it_has_nothing_to_do_it_is_refused(network: str, backend: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_engine(entry(network), backend, sparse=SPCONV)

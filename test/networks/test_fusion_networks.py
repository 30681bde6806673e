"""The networks with a LiDAR branch: keys, published stages, checkpoints of other layouts, a whole prediction."""

from __future__ import annotations

import json
from pathlib import Path

import key_tables
import numpy as np
import pytest
import reference_inputs
import reference_points
import torch

from occ_perception.catalogue import NETWORKS, entry
from occ_perception.checkpoints import load_weights
from occ_perception.checkpoints.importing import import_checkpoint
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.geometry.neighbour_tables import build_neighbour_tables
from occ_perception.geometry.voxelise import voxelise_in_order
from occ_perception.networks.build import build_network
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.sparse_conv import SparseConv3d
from occ_perception.networks.parts.sparse_encoder import SparseTensors

GOLDEN = Path(__file__).resolve().parents[1] / 'golden'
PUBLISHED = {
    'effocc-fusion-r18': 'effocc/flashocc_fusion_r18_base_100pct_seqs',
    'effocc-fusion-r50': 'effocc/flashocc_fusion_r50_base_100pct_seq',
    'effocc-fusion-swinb-512x1408': 'effocc/flashocc_fusion_swinb_base_100pct_seq',
    'effocc-fusion-r18-flow': 'effocc/openoccflow_flashocc-fusion-r18_flow',
    'effocc-openoccupancy-r18': 'effocc/openoccupancy_effocc-fusion-r18',
    'effocc-openoccupancy-r50-512x1408': 'effocc/openoccupancy_effocc-fusion-r50',
    'effocc-fusion-waymo': 'effocc/flashocc-fusion-waymoD1-1f',
    'effocc-lidar-waymo': 'effocc/flashocc-lidar-waymoD1-1f',
    'effocc-student-r50': 'effocc/fgbg_distill_flashocc-r50_effocc_r18_100pct',
    'fusionocc-swinb-512x1408': 'fusionocc/fusion_occ',
    'fusionocc-swinb-512x1408-mask': 'fusionocc/fusion_occ',
}
"""Catalogue name -> published key table."""


def kernels(network: torch.nn.Module) -> list[str]:
    """Keys of sparse convolutions' kernels."""
    return [f'{name}.weight' for name, module in network.named_modules() if isinstance(module, SparseConv3d)]


def published_layout(network: torch.nn.Module, name: str) -> dict[str, torch.Tensor]:
    """state_dict with FusionOcc's kernels as mmcv lays them out."""
    state = dict(network.state_dict())
    for key in kernels(network) if name.startswith('fusionocc') else ():
        state[key] = state[key].permute(1, 2, 3, 4, 0)
    return state


def test_every_network_with_points_has_a_published_table() -> None:
    published = {name for name, row in NETWORKS.items() if row.family in ('effocc', 'fusionocc') and row.weights is None}
    assert published == set(PUBLISHED)


@pytest.mark.parametrize('name', PUBLISHED)
def test_keys_shapes_and_dtypes_are_the_checkpoints(name: str) -> None:
    with torch.device('meta'):
        network = build_network(name)
        state = published_layout(network, name)
    table = {key: [list(value.shape), str(value.dtype).removeprefix('torch.')] for key, value in state.items()}
    assert key_tables.digest(table) == json.loads((GOLDEN / 'fusion_keys.json').read_text())[name]
    assert sum(p.numel() for p in network.parameters()) == entry(name).parameters


def test_key_digests_are_those_of_the_published_tables(shared: Path) -> None:
    stored = json.loads((GOLDEN / 'fusion_keys.json').read_text())
    for name, file in PUBLISHED.items():
        table = json.loads((shared / 'conformance' / 'keys' / f'{file}.json').read_text())
        own = {key: value for key, value in table.items() if not key.startswith('teacher_model.')}
        assert key_tables.digest(own) == stored[name], name


def relative_error(values: torch.Tensor | np.ndarray, golden: np.lib.npyio.NpzFile, stage: str) -> float:
    expected = golden[f'{stage}/value'].astype(np.float64)
    found = np.asarray(values, np.float64).reshape(-1)[golden[f'{stage}/index']]
    return float(np.sqrt(((found - expected) ** 2).mean() / (expected ** 2).mean()))


def test_effocc_gives_the_published_figures_stage_by_stage() -> None:
    name = 'effocc-fusion-r18'
    row, golden = entry(name), np.load(GOLDEN / 'effocc-fusion-r18.npz')
    network = build_network(name).eval()
    table = {key: (tuple(value.shape), '') for key, value in network.state_dict().items()}
    state = reference_inputs.calibrated(reference_inputs.weights(table, 'scocc'), golden['norms'], golden['scales'])
    network.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in state.items()})
    branch = network.config.lidar
    voxels = voxelise_in_order(reference_points.sweeps(), branch.voxels, branch.most)
    assert relative_error(voxels.coords, golden, 'coords') == 0
    assert relative_error(voxels.features, golden, 'features') < 1e-6
    tables = build_neighbour_tables(voxels.coords, branch.sparse)
    neighbours = SparseTensors.from_arrays(tables.arrays(), branch.sparse)
    hints = np.zeros(6 * 256 * 704, np.float32)
    hints[golden['hint_index']] = golden['hint_value']
    intrinsics, poses, transforms = reference_inputs.rig(256, 704)
    lift = LiftTensors.stack([build_lift_tables(row.frustum, intrinsics, poses, network_from_source=transforms)])
    images = np.stack([reference_inputs.image(256, 704, camera) for camera in range(6)])
    with torch.inference_mode():
        lidar = network.lidar_map(torch.from_numpy(tables.padded_features(voxels.features)), neighbours)
        features = network.frame_features(torch.from_numpy(images)[None])
        hinted = network.hint_features(torch.from_numpy(hints).view(1, 6, 256, 704))
        camera, _ = network.frame_map(features.prepared, lift, None, hinted)
        encoded = network.encode([camera], lidar)
        labels = network.decide([camera], lidar)[0][0].numpy()
        logits = network.occ_head(encoded)
    for stage, values in {'lidar_map': lidar, 'image_features': features.image, 'hinted': hinted, 'camera_map': camera,
                          'encoded': encoded, 'logits': logits}.items():
        assert relative_error(values, golden, stage) < 1e-5, stage
    assert (labels.reshape(-1)[golden['labels/index']] == golden['labels/value']).mean() > 0.9999


def test_kernels_of_other_libraries_are_turned(tmp_path: Path) -> None:
    """spconv 1.x and mmcv: (K0, K1, K2, in, out)."""
    name = 'effocc-lidar-waymo'
    network = build_network(name)
    state = dict(network.state_dict())
    torch.save({key: value.permute(1, 2, 3, 4, 0).contiguous() if key in kernels(network) else value
                for key, value in state.items()}, tmp_path / 'old.pth')
    other = build_network(name)
    load_weights(other, tmp_path / 'old.pth')
    assert all(torch.equal(value, state[key]) for key, value in other.state_dict().items())
    imported = import_checkpoint(tmp_path / 'old.pth', out=tmp_path / 'new.safetensors')
    assert imported.manifest.network == name
    third = build_network(name)
    load_weights(third, imported.weights)
    assert all(torch.equal(value, state[key]) for key, value in third.state_dict().items())


def test_the_teacher_of_a_student_is_left_out(tmp_path: Path) -> None:
    network, teacher = build_network('effocc-student-r50'), build_network('effocc-lidar-waymo')
    state = {**network.state_dict(), **{f'teacher_model.{key}': value for key, value in teacher.state_dict().items()}}
    torch.save({'state_dict': state}, tmp_path / 'student.pth')
    imported = import_checkpoint(tmp_path / 'student.pth')
    assert imported.manifest.network == 'effocc-student-r50'
    assert any('216 tensors' in note for note in imported.notes)

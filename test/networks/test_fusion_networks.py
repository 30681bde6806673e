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
from occ_perception.engines.protocol import LidarInput
from occ_perception.engines.torch_lidar_engine import TorchLidarEngine
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.geometry.neighbour_tables import build_neighbour_tables
from occ_perception.geometry.voxelise import voxelise_in_order
from occ_perception.networks.build import build_network
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.sparse_conv import SparseConv3d
from occ_perception.networks.parts.sparse_encoder import SparseTensors
from occ_perception.runtime.memory import CameraSet, Remembered, TemporalMemory
from occ_perception.runtime.sequence import place_frames

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


def recorded_fusionocc(golden: np.lib.npyio.NpzFile) -> torch.nn.Module:
    """FusionOcc with the weights behind its figures.

    Kernels are made in mmcv's layout. The recording ran them in spconv 2.x, whose shortcut for kernels of one cell reads the memory
    of (out, in) as (in, out): so do these.
    """
    network = build_network('fusionocc-swinb-512x1408').eval()
    own = network.state_dict()
    sparse = set(kernels(network))
    table = {key: (tuple(value.shape), '') for key, value in own.items()
             if 'relative_position_index' not in key and key not in sparse}
    state = {key: torch.from_numpy(np.asarray(value)) for key, value in reference_inputs.calibrated(
        reference_inputs.weights(table, 'scocc'), golden['norms'], golden['scales']).items()}
    for key in sparse:
        out, *kernel, inward = own[key].shape
        shape = (*kernel, inward, out)
        drawn = reference_inputs.generator(key).standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
        state[key] = torch.from_numpy(drawn.astype(np.float32)).permute(4, 0, 1, 2, 3)
        if kernel == [1, 1, 1]:
            state[key] = state[key].reshape(-1).view(inward, out).t().reshape(out, 1, 1, 1, inward)
    network.load_state_dict({**own, **state})
    return network


def fusionocc_lidar(network: torch.nn.Module) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Voxels and tables of the cloud behind the figures."""
    branch = network.config.lidar
    voxels = voxelise_in_order(reference_points.key_sweeps(branch.voxels), branch.voxels, 100_000)
    tables = build_neighbour_tables(voxels.coords, branch.sparse)
    return tables.padded_features(voxels.features), tables.arrays()


@pytest.mark.heavy
def test_fusionocc_lidar_branch_gives_the_published_figures() -> None:
    golden = np.load(GOLDEN / 'fusionocc.npz')
    network = recorded_fusionocc(golden)
    features, tables = fusionocc_lidar(network)
    assert relative_error(features, golden, 'features') < 1e-6
    with torch.inference_mode():
        found = network.lidar_map(torch.from_numpy(features), SparseTensors.from_arrays(tables, network.config.lidar.sparse))
    # recorded before the published code exchanges x and y
    assert relative_error(found.transpose(3, 4).contiguous(), golden, 'lidar_map') < 1e-5


@pytest.mark.heavy
def test_fusionocc_gives_the_published_figures_frame_by_frame() -> None:
    """Through the memory: the frame before is kept as features and lifted again beside the present one."""
    golden, row = np.load(GOLDEN / 'fusionocc.npz'), entry('fusionocc-swinb-512x1408')
    network = recorded_fusionocc(golden)
    engine = TorchLidarEngine(network)
    hints = np.zeros((6, 512, 1408), np.float32)
    hints.reshape(-1)[golden['hint_index']] = golden['hint_value']
    cells = np.where(hints > 0, hints, np.inf).reshape(6, 32, 16, 88, 16).min((2, 4))
    lidar = LidarInput(*fusionocc_lidar(network), np.where(np.isinf(cells), 0, cells))
    seen: dict[str, torch.Tensor] = {}
    network.img_bev_encoder_neck.register_forward_hook(lambda _, __, out: seen.update(encoded=out))
    network.pre_process_net.register_forward_hook(lambda _, __, out: seen.update({f'volume@{len(seen)}': out[0]}))
    memory = TemporalMemory(row.history)
    for age in (1, 0):
        seen.clear()
        intrinsics, _, transforms = reference_inputs.rig(512, 1408)
        ego_from_camera, fixed_from_ego = reference_inputs.poses(age)
        fitted = transforms.astype(np.float64) @ intrinsics
        cameras = CameraSet(fitted, ego_from_camera, fixed_from_ego @ ego_from_camera, np.ones(6, bool))
        stamp_ns = round(1e9 * (10 - 0.5 * age))
        places = place_frames(row, True, cameras, fixed_from_ego[0], memory.recall(stamp_ns))
        images = np.stack([reference_inputs.image(512, 1408, camera, age) for camera in range(6)])
        inference = engine.infer(images, places, lidar)
        memory.add(Remembered(stamp_ns, fixed_from_ego[0], cameras, inference.memory, False))
    assert relative_error(seen['volume@0'], golden, 'volume@1') < 1e-4  # call 0 of the recording is the frame before
    assert relative_error(seen['volume@1'], golden, 'volume@0') < 1e-4
    assert relative_error(seen['encoded'], golden, 'encoded') < 1e-4
    assert (inference.labels.reshape(-1)[golden['labels/index']] == golden['labels/value']).mean() > 0.9997

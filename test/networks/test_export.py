"""The exported file: same labels as torch, small, self-describing, and honest about rigs it cannot take."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from occ_perception.catalogue import ImagePreprocessing, entry
from occ_perception.checkpoints import load_weights, save_weights
from occ_perception.engines.comparison import SCORES, compare, torch_outputs
from occ_perception.engines.example_inputs import ExampleDrive, example_inputs, example_rig
from occ_perception.engines.export import export_network, export_onnx
from occ_perception.engines.graph_engine import GraphEngine, StereoGraphEngine, stage_files
from occ_perception.engines.graphs import WholeGraph
from occ_perception.engines.openvino_engine import OpenVinoSession
from occ_perception.engines.protocol import EngineUnavailable, PlacedFrame
from occ_perception.engines.torch_engine import TorchEngine
from occ_perception.geometry.column_lift import OUTSIDE, LiftSpec, LiftTables, build_lift_tables
from occ_perception.geometry.transforms import matrix
from occ_perception.networks.build import build_network
from occ_perception.networks.configs import config_of
from occ_perception.networks.flashocc.config import BackboneConfig
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.runtime.memory import CameraSet, Remembered, TemporalMemory
from occ_perception.runtime.sequence import place_frames
from occ_perception.training.start import start_from

NAME = 'scocc_sample'
CAPS = entry(NAME).frustum.default_caps(6)


def lively_network() -> FlashOcc:
    """Seeded weights whose activations have unit scale at every depth, so that labels depend on what is seen."""
    network = build_network(NAME).eval()
    ExampleDrive(network, entry(NAME), CAPS).enliven()
    return network


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'w.safetensors'
    save_weights(lively_network().state_dict(), path)
    return path


@pytest.fixture(scope='module')
def exported(weights):
    path = weights.with_suffix('.onnx')
    return path, export_onnx(NAME, weights, path)


def test_runtimes_label_voxels_as_torch_does(exported):
    path, (written,) = exported
    assert written.path == path and written.good
    assert set(written.compared) == {'onnxruntime', 'openvino'}
    assert all(each.labels >= 0.9999 and each.errors[SCORES] < 1e-3 for each in written.compared.values())


def test_file_is_small_whole_and_says_what_it_is(exported, weights):
    path, _ = exported
    assert path.stat().st_size < 20e6
    assert sorted(p.name for p in path.parent.iterdir()) == ['w.onnx', 'w.safetensors']
    model = onnx.load(path)
    about = {item.key: item.value for item in model.metadata_props}
    assert about['network'] == NAME
    assert len(about['weights_sha256']) == 64
    assert json.loads(about['preprocessing'])['input_width'] == 352
    assert json.loads(about['lift_caps']) == {'slots': CAPS.slots, 'rows': list(CAPS.rows), 'widths': list(CAPS.widths)}
    assert [i.name for i in model.graph.input] == ['images', *LiftTables.NAMES]
    assert [o.name for o in model.graph.output] == ['labels']


def test_only_standard_operators_without_scatter_and_no_traces_of_the_machine(exported):
    model = onnx.load(exported[0])
    assert {node.domain for node in model.graph.node} == {''}
    operators = {node.op_type for node in model.graph.node}
    assert not {name for name in operators if 'Scatter' in name or name in ('Greater', 'Loop', 'If', 'NonZero')}
    # TensorRT knows bytes at the border only: they are cast right behind the inputs and right before the output
    inputs = {'images', 'slot'}
    assert {node.op_type for node in model.graph.node if inputs & set(node.input)} == {'Cast'}
    assert [node.op_type for node in model.graph.node if 'labels' in node.output] == ['Cast']
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert b'.py' not in model.SerializeToString()


def test_images_and_geometry_are_really_inputs(exported):
    import openvino

    compiled = openvino.compile_model(exported[0], 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})

    def labels(images, tables):
        return compiled({'images': images, **{name: getattr(tables, name) for name in LiftTables.NAMES}})['labels'].copy()

    images, tables = example_inputs(entry(NAME), CAPS)
    first = labels(images, tables)
    assert (labels(255 - images, tables) != first).mean() > 0.01
    nowhere = replace(tables, slot=np.full_like(tables.slot, OUTSIDE))
    assert (labels(images, nowhere) != first).mean() > 0.01
    assert (labels(images[::-1].copy(), tables) != first).mean() > 0.01


@pytest.mark.parametrize('degrees', [30.0, 90.0])
def test_cameras_rolled_far_need_no_other_file(exported, weights, degrees):
    path, _ = exported
    angle = np.radians(degrees)
    roll = np.eye(4)
    roll[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    intrinsics, poses = example_rig(entry(NAME))
    tables = build_lift_tables(entry(NAME).frustum, intrinsics, poses @ roll, CAPS)
    images = example_inputs(entry(NAME), CAPS)[0]
    place = [PlacedFrame(None, tables.arrays())]
    found = GraphEngine(OpenVinoSession(path)).infer(images, place).labels
    network = build_network(NAME)
    load_weights(network, weights)
    assert (found == TorchEngine(network.eval()).infer(images, place).labels).mean() > 0.9999
    upright = PlacedFrame(None, example_inputs(entry(NAME), CAPS)[1].arrays())
    assert (found != GraphEngine(OpenVinoSession(path)).infer(images, [upright]).labels).any()


@pytest.mark.heavy
def test_other_table_sizes_are_exported_on_demand(weights, tmp_path):
    caps = entry(NAME).frustum.upright_caps(6)
    export_onnx(NAME, weights, tmp_path / 'upright.onnx', caps)
    inputs = onnx.load(tmp_path / 'upright.onnx').graph.input
    assert {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in inputs}['sum_1'] == [2, caps.rows[0]]


def test_disagreement_is_measured(exported):
    torch.manual_seed(1)
    other = WholeGraph(build_network(NAME).eval(), CAPS.slots)
    feeds = ExampleDrive(other.network, entry(NAME), CAPS).feeds(other)
    expected, _ = torch_outputs(other, feeds)
    compared = compare(exported[0], feeds, expected, [], [])
    assert set(compared) == {'onnxruntime', 'openvino'}
    assert all(each.labels < 0.9 and not each.good for each in compared.values())


def test_training_form_and_prediction_agree():
    network = lively_network()
    images, tables = example_inputs(entry(NAME), CAPS)
    lifted = LiftTensors.from_arrays(tables.arrays())
    with torch.inference_mode():
        output = network(torch.from_numpy(images)[None, None], lifted)
    labels = TorchEngine(network).infer(images, [PlacedFrame(None, tables.arrays())]).labels
    assert output.logits.shape == (1, 200, 200, 16, 18)
    assert output.image_features.shape == (1, 6, network.config.neck_channels, 16, 44)
    assert (output.logits[0].argmax(-1).numpy() == labels).mean() > 0.9999


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = build_network(NAME).train()
    images, tables = example_inputs(entry(NAME), CAPS)
    output = network(torch.from_numpy(np.stack([images] * 2))[:, None], LiftTensors.stack([tables] * 2))
    output.logits.logsumexp(-1).mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize('memory', ['exact', 'warped'])
def test_a_network_with_memory_is_exported_whole(memory, tmp_path):
    """The exported file, fed frame by frame, labels voxels as torch does: cold start, then a remembered frame."""
    row = entry('scocc_sample_2f')
    torch.manual_seed(0)
    network = build_network(row.name).eval()
    start_from(network, lively_network().state_dict())
    torch.nn.init.normal_(network.img_bev_encoder_backbone.layers[0][0].conv1.weight[:, 32:], std=0.05)
    path = tmp_path / 'two.onnx'
    assert [file.path for file in export_network(network, row, path, CAPS, memory=memory)] == [path]
    images, tables = example_inputs(row, CAPS)
    other, _ = example_inputs(row, CAPS, seed=2)
    engines = TorchEngine(network), GraphEngine(OpenVinoSession(path, precision='f32'), memory)
    warp = np.array([[1, 0, 0.05], [0, 1, 0]], np.float32) if memory == 'warped' else None
    for engine in engines:
        present = PlacedFrame(None, tables.arrays())
        cold = engine.infer(other, [present, present])
        past = PlacedFrame(cold.memory, tables.arrays() if warp is None else None, warp=warp)
        warm = engine.infer(images, [present, past])
        if engine is engines[0]:
            expected = cold.labels, warm.labels
    assert (cold.labels == expected[0]).mean() > 0.999
    assert (warm.labels == expected[1]).mean() > 0.999
    assert (engines[1].infer(images, [present, present]).labels != warm.labels).mean() > 0.001
    with pytest.raises(EngineUnavailable, match='--memory'):
        GraphEngine(OpenVinoSession(path), 'exact' if memory == 'warped' else 'warped')


@pytest.mark.parametrize('memory', ['exact', 'warped'])
def test_a_stereo_network_is_exported_in_three_graphs(memory, tmp_path):
    """A drive of three frames through the files gives torch's labels: cold start, first match, remembered costs."""
    row = replace(entry('scocc-r50-4d-stereo'), lift=LiftSpec(64, 176, depth_step=4.0),
                  preprocessing=ImagePreprocessing(input_height=64, input_width=176))
    config = replace(config_of(row.name), backbone=BackboneConfig('basic', 8, (8, 16, 24, 32), (1, 1, 1, 1), (0, 2, 3)),
                     neck_channels=16, lift_channels=8, bev_widths=(16, 16, 16), bev_channels=16, head_channels=16)
    torch.manual_seed(0)
    network = FlashOcc(config, row.preprocessing, row.frustum).eval()
    with torch.no_grad():
        network.occ_head.predicter[0].weight.normal_(std=3)
    path = tmp_path / 'stereo.onnx'
    files = [*stage_files(path), path]
    assert [file.path for file in export_network(network, row, path, memory=memory)] == files
    assert all(file.is_file() for file in files)
    engines = TorchEngine(network), StereoGraphEngine(*(OpenVinoSession(file, precision='f32') for file in files), memory)
    intrinsics = np.stack([np.array([[140.0, 0, 88], [0, 140, 20], [0, 0, 1]])] * 6)
    mounts = np.stack([matrix(np.array([[np.sin(a), 0, np.cos(a)], [-np.cos(a), 0, np.sin(a)], [0, -1, 0]]), (0, 0, 1.5))
                       for a in np.arange(6)])
    memories = [TemporalMemory(row.history, memory) for _ in engines]
    for step in range(3):
        images = example_inputs(row, row.frustum.default_caps(6), seed=step)[0]
        fixed_from_ego = matrix(np.eye(3), (4.0 * step, 0, 0))
        cameras = CameraSet(intrinsics, mounts, fixed_from_ego @ mounts, np.ones(6, bool))
        labels = []
        for engine, remembered in zip(engines, memories, strict=True):
            past = remembered.recall(step * 500_000_000)
            found = engine.infer(images, place_frames(row, True, cameras, fixed_from_ego, past, memory))
            remembered.add(Remembered(step * 500_000_000, fixed_from_ego, cameras, found.memory, past[0] is not None))
            labels.append(found.labels)
        assert (labels[0] == labels[1]).mean() > 0.999
        assert len(np.unique(labels[0])) > 2

"""The exported file: same labels as torch, small, self-describing, and honest about rigs it cannot take."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from occ_perception.catalogue import entry
from occ_perception.checkpoints import save_weights
from occ_perception.engines.export import compare_with_torch, example_inputs, export_onnx
from occ_perception.geometry.column_lift import OUTSIDE, LiftTables
from occ_perception.networks.build import build_network
from occ_perception.networks.parts.lift_splat import LiftTensors

NAME = 'scocc_sample'
CAPS = entry(NAME).lift.default_caps(6)


def lively_network() -> torch.nn.Module:
    """Seeded weights whose activations have unit scale at every depth, so that labels depend on what is seen."""
    torch.manual_seed(0)
    network = build_network(NAME)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    torch.nn.init.normal_(network.occ_head.predicter[0].weight, std=0.5)
    frames = [example_inputs(entry(NAME), CAPS, seed) for seed in (0, 1)]
    tables = LiftTensors.stack([tables for _, tables in frames])
    with torch.no_grad():
        network.train()(torch.from_numpy(np.stack([images for images, _ in frames])), tables)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.clamp_(min=0.1)  # two pooled samples may be nearly the same: that would amplify rounding
    return network.eval()


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
    _, agreement = exported
    assert set(agreement) == {'onnxruntime', 'openvino'}
    assert min(agreement.values()) >= 0.9999


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


@pytest.mark.heavy
def test_other_table_sizes_are_exported_on_demand(weights, tmp_path):
    caps = entry(NAME).lift.upright_caps(6)
    export_onnx(NAME, weights, tmp_path / 'upright.onnx', caps)
    inputs = onnx.load(tmp_path / 'upright.onnx').graph.input
    assert {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in inputs}['sum_1'] == [2, caps.rows[0]]


def test_disagreement_is_measured(exported):
    images, tables = example_inputs(entry(NAME), CAPS)
    torch.manual_seed(1)
    other = build_network(NAME).eval()

    class Other(torch.nn.Module):
        def forward(self, images, *tables):
            return other.predict(images[None], LiftTensors(*(t[None] for t in tables), CAPS.slots))[0]

    assert max(compare_with_torch(Other(), exported[0], images, tables).values()) < 0.9


def test_training_form_and_prediction_agree():
    network = lively_network()
    images, tables = example_inputs(entry(NAME), CAPS)
    stacked, lifted = torch.from_numpy(images)[None], LiftTensors.from_arrays(tables.arrays())
    with torch.inference_mode():
        output = network(stacked, lifted)
        labels = network.predict(stacked, lifted)
    assert output.logits.shape == (1, 200, 200, 16, 18)
    assert output.image_features.shape == (1, 6, network.config.neck_channels, 16, 44)
    assert torch.equal(output.logits.argmax(-1).byte(), labels)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = build_network(NAME).train()
    images, tables = example_inputs(entry(NAME), CAPS)
    output = network(torch.from_numpy(np.stack([images] * 2)), LiftTensors.stack([tables] * 2))
    output.logits.logsumexp(-1).mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []

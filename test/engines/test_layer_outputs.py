"""Layers of exported graphs beside each other: which there are, what they are called, where an error begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='reads ONNX files')
pytest.importorskip('onnxruntime', reason='runs them')

import onnx
from onnx import TensorProto, helper, numpy_helper

from occ_perception.engines import layer_outputs
from occ_perception.engines.layer_outputs import (
    compare_layers,
    difference,
    exposed,
    first_jump,
    layers_of,
    with_outputs,
    worst,
)
from occ_perception.engines.sessions import session_opener

OPEN = session_opener('onnxruntime', 'f32', 1)


def chain(path: Path, scale: float = 1.0, names: str = 'abc') -> Path:
    """x -> three 1x1 convolutions (the second one's kernel stored in float16, scaled) with Relu and a reshape -> argmax."""
    random = np.random.default_rng(3)
    kernels = [random.normal(0, 0.4, (6, 6, 1, 1)).astype(np.float32) for _ in range(3)]
    constants = [numpy_helper.from_array(kernels[0], 'network.first.conv.weight'),
                 numpy_helper.from_array((scale * kernels[1]).astype(np.float16), 'network.second.conv.weight_f16'),
                 numpy_helper.from_array(kernels[2], 'network.third.conv.weight'),
                 numpy_helper.from_array(np.array([1, 6, 40], np.int64), 'flat')]
    nodes = [helper.make_node('Cast', ['network.second.conv.weight_f16'], ['wide'], 'widen', to=TensorProto.FLOAT),
             helper.make_node('Conv', ['x', 'network.first.conv.weight'], [names[0]], 'conv_0'),
             helper.make_node('Relu', [names[0]], ['positive'], 'relu'),
             helper.make_node('Conv', ['positive', 'wide'], [names[1]], 'conv_1'),
             helper.make_node('Transpose', [names[1]], ['turned'], 'turn', perm=[0, 1, 3, 2]),
             helper.make_node('Conv', ['turned', 'network.third.conv.weight'], [names[2]], 'conv_2'),
             helper.make_node('Reshape', [names[2], 'flat'], ['scores'], 'flatten'),
             helper.make_node('ArgMax', ['scores'], ['labels'], 'decide', axis=1, keepdims=0)]
    graph = helper.make_graph(nodes, 'chain', [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 6, 5, 8])],
                              [helper.make_tensor_value_info('labels', TensorProto.INT64, [1, 40])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10), path)
    return path


@pytest.fixture
def feeds() -> dict[str, np.ndarray]:
    return {'x': np.random.default_rng(5).normal(0, 1, (1, 6, 5, 8)).astype(np.float32)}


def test_layers_have_names_modules_and_sources(tmp_path: Path) -> None:
    layers = layers_of(onnx.load(chain(tmp_path / 'net.onnx')))
    assert [(layer.tensor, layer.operator, layer.inputs) for layer in layers] == [
        ('a', 'Conv', ()), ('positive', 'Relu', ('a',)), ('b', 'Conv', ('positive',)), ('c', 'Conv', ('b',))]
    assert [layer.place for layer in layers] == ['first.conv', 'after first.conv', 'second.conv', 'third.conv']
    assert {layer.elements for layer in layers} == {240}


def test_exposed_tensors_are_those_of_the_whole_graph(tmp_path: Path, feeds: dict[str, np.ndarray]) -> None:
    model = onnx.load(chain(tmp_path / 'net.onnx'))
    onnx.save(exposed(model, ['positive']), tmp_path / 'part.onnx')
    part = onnx.load(tmp_path / 'part.onnx')
    assert [node.op_type for node in part.graph.node] == ['Conv', 'Relu']
    assert [constant.name for constant in part.graph.initializer] == ['network.first.conv.weight']
    kernel = numpy_helper.to_array(part.graph.initializer[0])[:, :, 0, 0]
    wanted = np.einsum('oi,bihw->bohw', kernel, feeds['x']).clip(0)
    np.testing.assert_allclose(OPEN(tmp_path / 'part.onnx').run(feeds)['positive'], wanted, atol=1e-5)
    onnx.save(with_outputs(model, ['scores']), tmp_path / 'more.onnx')
    outputs = OPEN(tmp_path / 'more.onnx').run(feeds)
    assert list(outputs) == ['labels', 'scores'] and (outputs['scores'].argmax(1) == outputs['labels']).all()


def test_equal_graphs_have_no_error(tmp_path: Path, feeds: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    file, told = chain(tmp_path / 'net.onnx'), []
    errors = compare_layers(file, file, OPEN, OPEN, feeds, 'f32', told.append)
    assert len(errors) == 4 and first_jump(errors) is None and {error.rms for error in errors} == {0.0}
    assert sum(told) == pytest.approx(1)
    monkeypatch.setattr(layer_outputs, 'CHUNK_BYTES', 2000)
    told.clear()
    assert compare_layers(file, file, OPEN, OPEN, feeds, 'f32', told.append) == errors and len(told) == 2


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_error_begins_where_a_weight_was_scaled(tmp_path: Path, feeds: dict[str, np.ndarray], backend: str) -> None:
    pytest.importorskip(backend)
    good, bad = chain(tmp_path / 'good.onnx'), chain(tmp_path / 'bad.onnx', scale=1.25)
    errors = compare_layers(good, bad, OPEN, session_opener(backend, 'f32', 1), feeds, 'f32')
    jump = first_jump(errors)
    assert jump is not None and (jump.layer.tensor, jump.layer.node, jump.layer.place) == ('b', 'conv_1', 'second.conv')
    assert jump.rms == pytest.approx(0.25, rel=1e-3) and jump.inputs_rms < 1e-5
    by_name = {error.layer.tensor: error for error in errors}
    assert by_name['a'].rms < 1e-5 and by_name['c'].rms == pytest.approx(0.25, rel=1e-3) and not by_name['c'].jump
    assert by_name['c'].inputs_rms == by_name['b'].rms
    assert [error.rms for error in worst(errors, 2)] == sorted((error.rms for error in errors), reverse=True)[:2]


def test_layers_are_matched_by_name(tmp_path: Path, feeds: dict[str, np.ndarray]) -> None:
    good = chain(tmp_path / 'good.onnx')
    partly = compare_layers(good, chain(tmp_path / 'other.onnx', names='abz'), OPEN, OPEN, feeds, 'f32')
    assert [error.layer.tensor for error in partly] == ['a', 'positive', 'b']
    model = onnx.load(chain(tmp_path / 'none.onnx', names='pqr'))
    for node in model.graph.node:
        names = ['above' if name == 'positive' else name for name in node.output]
        del node.output[:]
        node.output.extend(names)
        names = ['above' if name == 'positive' else name for name in node.input]
        del node.input[:]
        node.input.extend(names)
    onnx.save(model, tmp_path / 'none.onnx')
    with pytest.raises(ValueError, match=r'none\.onnx and good\.onnx have no layer names in common'):
        compare_layers(good, tmp_path / 'none.onnx', OPEN, OPEN, feeds, 'f32')


@pytest.mark.parametrize(('candidate', 'rms', 'maximum'), [
    ([3.0, 4.0], 0.0, 0.0), ([3.0, 4.5], 0.1, 0.5 / 12.5 ** 0.5), ([3.0, float('nan')], float('inf'), float('inf'))])
def test_difference_is_relative_to_the_reference(candidate: list[float], rms: float, maximum: float) -> None:
    assert difference(np.array([3.0, 4.0]), np.array(candidate)) == pytest.approx((rms, maximum))


def test_difference_of_nothing_and_of_infinities() -> None:
    assert difference(np.zeros(3), np.zeros(3)) == (0.0, 0.0)
    assert difference(np.zeros(3), np.ones(3)) == (float('inf'), float('inf'))
    both = np.array([np.inf, 2.0])
    assert difference(both, both) == (0.0, 0.0) and difference(both, np.array([1.0, 2.0])) == (float('inf'), float('inf'))
    assert difference(np.ones((1, 2, 2)), np.ones((2, 2), np.float16)) == (0.0, 0.0)


def test_openers_name_their_backend(tmp_path: Path) -> None:
    pytest.importorskip('openvino')
    file = chain(tmp_path / 'net.onnx')
    assert session_opener('openvino', 'f32', 1)(file).description.startswith('openvino')
    assert OPEN(file).description.startswith('onnxruntime')

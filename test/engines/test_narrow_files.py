"""Float16 and int8 files are made from the float32 one, compute nearly the same, and TensorRT-RTX builds them."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from occ_perception.catalogue import entry
from occ_perception.engines.example_inputs import example_inputs
from occ_perception.engines.folding import folded
from occ_perception.engines.narrow_files import stale_files, write_float16, write_int8
from occ_perception.engines.narrowing import in_float16
from occ_perception.engines.onnxruntime_session import OnnxRuntimeSession
from occ_perception.engines.openvino_engine import OpenVinoSession
from occ_perception.engines.precision import precision_file
from occ_perception.engines.quantise import Calibration
from occ_perception.engines.select import shipped_file
from occ_perception.engines.tensorrt_build import build_plan
from occ_perception.engines.tensorrt_files import tensorrt_file

ROW = entry('scocc_sample')


@pytest.fixture(scope='module')
def network(tmp_path_factory) -> Path:
    """A copy of the shipped network, with its narrow files beside it."""
    if not shipped_file('scocc_sample.onnx').is_file():
        pytest.skip('the shipped network is not in this checkout')
    path = tmp_path_factory.mktemp('narrow') / 'net.onnx'
    shutil.copy(shipped_file('scocc_sample.onnx'), path)
    write_float16(path, ROW, 'first')
    done, = write_int8(path, ROW, 'first', iter([[(path, feeds(seed))] for seed in (1, 2)]), ['*depth_net*'])
    assert done.quantised > 40
    assert [why for name, why in done.kept.items() if why == 'as asked for'] == ['as asked for']
    return path


def feeds(seed: int) -> dict[str, np.ndarray]:
    images, tables = example_inputs(ROW, ROW.lift.default_caps(6), seed)
    return {'images': images, **{name: array for name, array in tables.arrays().items() if name != 'slots'}}


def labels(path: Path) -> np.ndarray:
    return OnnxRuntimeSession(path).run(feeds(0))['labels']


@pytest.mark.parametrize(('precision', 'share', 'size'), [('f16', 0.998, 1.0), ('int8', 0.96, 0.8)])
def test_labels_are_nearly_those_of_float32(network, precision, share, size):
    narrow = precision_file(network, precision)
    onnx.checker.check_model(narrow, full_check=True)
    assert (labels(narrow) == labels(network)).mean() > share
    assert narrow.stat().st_size < size * network.stat().st_size


def test_openvino_takes_int8_as_onnx_runtime_does(network):
    found = OpenVinoSession(precision_file(network, 'int8'), precision='int8').run(feeds(0))['labels']
    assert (found == labels(precision_file(network, 'int8'))).mean() > 0.99


def test_what_decides_between_classes_or_reads_joined_maps_is_no_int8(network):
    model = onnx.load(precision_file(network, 'int8'))
    maker = {output: node for node in model.graph.node for output in node.output}
    rounded = [maker[node.input[0]] for node in model.graph.node if node.op_type == 'QuantizeLinear' and node.input[0] in maker]
    assert rounded
    assert not any(node.op_type == 'Concat' for node in rounded)
    products = [node for node in model.graph.node if node.op_type == 'MatMul']
    assert products
    assert not any(maker[name].op_type == 'DequantizeLinear' for node in products for name in node.input if name in maker)


def test_int8_has_scales_about_zero_and_one_per_output_channel(network):
    model = onnx.load(precision_file(network, 'int8'))
    constants = {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}
    widened = {node.output[0]: node for node in model.graph.node if node.op_type == 'DequantizeLinear'}
    kernels = [widened[node.input[1]] for node in model.graph.node if node.op_type == 'Conv' and node.input[1] in widened]
    assert len(kernels) > 40
    for node in kernels:
        assert constants[node.input[0]].dtype == np.int8
        assert constants[node.input[1]].shape == constants[node.input[0]].shape[:1]
        assert not constants[node.input[2]].any()
    assert {constants[node.input[2]].dtype for node in model.graph.node if node.op_type == 'QuantizeLinear'} == {np.dtype(np.int8)}
    assert not any(node.op_type == 'BatchNormalization' for node in model.graph.node)


@pytest.mark.filterwarnings('ignore:.*Timing cache operations are no-ops in TensorRT-RTX')
@pytest.mark.parametrize('precision', ['f16', 'int8'])
def test_tensorrt_rtx_builds_them(network, precision, tmp_path, monkeypatch):
    monkeypatch.setenv('OCC_CACHE', str(tmp_path))
    rtx = pytest.importorskip('tensorrt_rtx_bindings', reason='TensorRT-RTX is not installed', exc_type=ImportError)
    file = tensorrt_file(precision_file(network, precision), precision)
    assert tensorrt_file(precision_file(network, precision), precision) == file
    kinds = Counter(tensor.data_type for tensor in onnx.load(file).graph.initializer if len(tensor.dims) > 1)
    assert kinds[TensorProto.FLOAT16] > 5 and kinds[TensorProto.FLOAT] == 0
    assert build_plan(rtx, file, plan_for='SM80').layers > 300


def test_files_are_stale_when_their_origin_or_a_choice_changes(network, tmp_path):
    assert stale_files(network, ROW, 'f16', 'first') == []
    assert stale_files(network, ROW, 'f16', 'other') == [precision_file(network, 'f16')]
    for file in (network, precision_file(network, 'f16')):
        shutil.copy(file, tmp_path / file.name)
    model = onnx.load(tmp_path / 'net.onnx')
    model.doc_string = 'trained again'
    onnx.save(model, tmp_path / 'net.onnx')
    assert stale_files(tmp_path / 'net.onnx', ROW, 'f16', 'first') == [tmp_path / 'net.f16.onnx']
    assert stale_files(tmp_path / 'net.onnx', ROW, 'int8', 'first') == [tmp_path / 'net.int8.onnx']


def small_graph() -> onnx.ModelProto:
    """Convolution, batch norm, softmax over channels, a constant that float16 does not hold; float in, float out."""
    random = np.random.default_rng(0)
    constants = {'net.conv.weight': random.normal(size=(4, 3, 3, 3)), 'gain': random.uniform(0.5, 2, 4),
                 'shift': random.normal(size=4), 'mean': random.normal(size=4), 'variance': random.uniform(0.5, 2, 4),
                 'huge': np.array([1e6])}
    nodes = [helper.make_node('Conv', ['x', 'net.conv.weight'], ['c'], 'net.conv/Conv', pads=[1, 1, 1, 1]),
             helper.make_node('BatchNormalization', ['c', 'gain', 'shift', 'mean', 'variance'], ['n'], 'net.bn/BatchNormalization'),
             helper.make_node('Softmax', ['n'], ['s'], 'net/Softmax', axis=1),
             helper.make_node('Mul', ['s', 'huge'], ['m'], 'net/Mul'), helper.make_node('Relu', ['n'], ['r'], 'net/Relu')]
    graph = helper.make_graph(nodes, 'g', [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in 'mr'],
                              [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)


def outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    return onnx.reference.ReferenceEvaluator(model).run(None, {'x': x})


def test_batch_norms_go_into_kernels(tmp_path):
    onnx.save(small_graph(), tmp_path / 'net.onnx')
    model = folded(tmp_path / 'net.onnx')
    assert [node.op_type for node in model.graph.node] == ['Conv', 'Softmax', 'Mul', 'Relu']
    assert 'net.conv.weight' in model.graph.node[0].input
    for before, after in zip(outputs(small_graph()), outputs(model), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('keep', 'half'), [([], {'Conv', 'Relu'}), (['net.conv/*'], set()), (['Conv'], set())])
def test_float16_but_for_what_is_kept_and_what_it_cannot_hold(tmp_path, keep, half):
    onnx.save(small_graph(), tmp_path / 'net.onnx')
    model = onnx.shape_inference.infer_shapes(in_float16(folded(tmp_path / 'net.onnx'), keep))
    kinds = {info.name: info.type.tensor_type.elem_type for info in model.graph.value_info}
    made = {node.op_type for node in model.graph.node if kinds.get(node.output[0]) == TensorProto.FLOAT16} - {'Cast'}
    assert made == half
    for wide, narrow in zip(outputs(small_graph()), outputs(model), strict=True):
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow, wide, rtol=0.02, atol=0.01)


def test_places_in_a_picture_are_computed_in_float32(tmp_path):
    """Grid = place / 350 - 1 + shift of a layer: what comes before the layer may be float16, what comes after it may not."""
    nodes = [helper.make_node('Conv', ['x', 'kernel'], ['shift'], 'net.offsets/Conv'),
             helper.make_node('Transpose', ['shift'], ['moved'], 'net/Transpose', perm=[0, 2, 3, 1]),
             helper.make_node('Div', ['place', 'half'], ['scaled'], 'net/Div'),
             helper.make_node('Add', ['scaled', 'moved'], ['grid'], 'net/Add'),
             helper.make_node('GridSample', ['x', 'grid'], ['y'], 'net/GridSample')]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
             for name, shape in (('x', [1, 2, 4, 4]), ('place', [1, 4, 4, 2]), ('y', [1, 2, 4, 4]))]
    constants = {'kernel': np.ones((2, 2, 1, 1), np.float32), 'half': np.array([350.0], np.float32)}
    graph = helper.make_graph(nodes, 'g', infos[:2], infos[2:], [numpy_helper.from_array(v, k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10), tmp_path / 'net.onnx')
    model = onnx.shape_inference.infer_shapes(in_float16(folded(tmp_path / 'net.onnx')))
    kinds = {info.name: info.type.tensor_type.elem_type for info in model.graph.value_info}
    assert {name: kinds[name] for name in ('shift', 'moved', 'scaled', 'grid')} == {
        'shift': TensorProto.FLOAT16, 'moved': TensorProto.FLOAT, 'scaled': TensorProto.FLOAT, 'grid': TensorProto.FLOAT}


def test_int8_without_frames_is_refused(tmp_path):
    onnx.save(small_graph(), tmp_path / 'net.onnx')
    with pytest.raises(ValueError, match='needs calibration frames: at least one'):
        Calibration(folded(tmp_path / 'net.onnx')).quantised()


def test_layers_whose_inputs_would_lose_much_stay_in_float(tmp_path):
    onnx.save(small_graph(), tmp_path / 'net.onnx')
    values = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    for outlier, kept in ((1.0, 0), (1000.0, 1)):
        calibration = Calibration(folded(tmp_path / 'net.onnx'))
        values[0, 0, 0, 0] = outlier
        calibration.add({'x': values})
        done = calibration.quantised()
        assert (len(done.kept), len(done.layers)) == (kept, 1 - kept)
    assert 'would lose' in done.kept['net.conv/Conv']

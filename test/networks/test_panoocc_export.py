"""PanoOcc as ONNX: standard operators, what torch gives, and the same frames through the Predictor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tiny_panoocc import RECURRENT, STACKED, frame, tiny_panoocc  # noqa: F401 - a fixture

from occ_perception.catalogue import entry
from occ_perception.engines.comparison import torch_outputs
from occ_perception.engines.export import OPSET, export_graph, export_onnx
from occ_perception.engines.exportable import exportable
from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.engines.tensorrt_rtx import build_with_tensorrt_rtx
from occ_perception.networks.build import build_network
from occ_perception.runtime.predictor import Predictor

pytest.importorskip('onnxruntime')


@pytest.mark.parametrize('name', [STACKED, RECURRENT])
def test_an_exported_network_gives_what_torch_gives(name, tiny_panoocc, tmp_path):  # noqa: F811
    (file,) = export_onnx(name, tiny_panoocc[name], tmp_path / 'w.onnx')
    assert {'onnxruntime', 'openvino'} <= set(file.compared) and file.good
    model = onnx.load(tmp_path / 'w.onnx', load_external_data=False)
    assert {entry.domain for entry in model.opset_import} == {''} and model.opset_import[0].version == OPSET
    kinds = {node.op_type for node in model.graph.node}
    assert 'GridSample' in kinds and not kinds & {'DeformConv', 'ScatterND', 'ScatterElements'}
    exported = Predictor(name, 'onnxruntime', tmp_path / 'w.onnx')
    plain = Predictor(name, 'torch', tiny_panoocc[name])
    for age in (2, 0) if name == STACKED else (1, 0):
        found, expected = exported.predict(frame(age)), plain.predict(frame(age))
        assert found.past_stamps_ns == expected.past_stamps_ns
        assert (found.labels == expected.labels).mean() > 0.9999
        if expected.points is not None:
            assert (found.points.labels == expected.points.labels).mean() > 0.99
            assert np.allclose([box.score for box in found.boxes], [box.score for box in expected.boxes], atol=1e-4)


@pytest.mark.parametrize('name', [STACKED, RECURRENT])
def test_weights_of_unit_scale_compare_as_close(name, tiny_panoocc, tmp_path):  # noqa: F811
    """The weights that full networks are held against torch with, see benchmarks.exports."""
    path = tmp_path / 'lively.onnx'
    graphs, drive, facts = exportable(build_network(name).eval(), entry(name), path)
    drive.enliven()
    file = export_graph(graphs[path], path, drive, facts)
    assert all(comparison.close for comparison in file.compared.values()), file.compared
    assert len(np.unique(torch_outputs(graphs[path], drive.feeds(graphs[path]))[0]['labels'])) > 1
    try:
        assert build_with_tensorrt_rtx(path).layers > 100
    except EngineUnavailable as missing:
        pytest.skip(str(missing))

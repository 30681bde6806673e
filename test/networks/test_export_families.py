"""Every kind of exported graph: both runtimes give what torch gives, in every output and in the scores behind the labels.

Of camera networks made small, in seconds; test_export_lidar.py has those with LiDAR, test_panoocc_export.py PanoOcc. The full ones
of every family, and the plans that TensorRT-RTX builds of them, are heavy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_networks import Case, small_network, unlike_graphs

from occ_perception.catalogue import NETWORKS, entry
from occ_perception.engines.comparison import LARGEST_ERROR, torch_outputs
from occ_perception.engines.export import export_graph
from occ_perception.engines.exportable import exportable
from occ_perception.engines.graphs import graphs_of
from occ_perception.engines.protocol import MEMORY_FORMS, EngineUnavailable
from occ_perception.networks.build import build_network
from occ_perception.networks.configs import config_of
from occ_perception.networks.flashocc.config import FlashOccConfig


def largest_error(name: str) -> float:
    """LARGEST_ERROR; more for SCOcc's stereo networks, whose scores under random weights change by 1e-3 of their size when PyTorch
    itself computes in float64."""
    return 5e-3 if entry(name).family == 'scocc' and entry(name).history.stereo else LARGEST_ERROR


@pytest.mark.parametrize('case', unlike_graphs(), ids=lambda case: f'{case.name}-{case.memory}-{case.kind.__name__}')
def test_runtimes_give_what_torch_gives(case: Case, tmp_path: Path) -> None:
    network, drive = small_network(case.name)
    graphs = graphs_of(network, tmp_path / 'small.onnx', drive.caps.slots, case.memory)
    graph = next(graph for graph in graphs.values() if type(graph) is case.kind)
    file = export_graph(graph, tmp_path / 'small.onnx', drive, {})
    assert set(file.compared) == {'onnxruntime', 'openvino'}
    largest = largest_error(case.name)
    for comparison in file.compared.values():
        assert comparison.labels is None or comparison.labels > 0.999, file.compared
        assert all(error <= largest for error in comparison.errors.values()), file.compared
    if 'labels' in graph.outputs:
        assert len(np.unique(torch_outputs(graph, drive.feeds(graph))[0]['labels'])) > 2


@pytest.mark.heavy
@pytest.mark.parametrize('memory', MEMORY_FORMS)
@pytest.mark.parametrize('name', NETWORKS)
def test_full_networks_agree_and_become_plans(name: str, memory: str, tmp_path: Path) -> None:
    row, config = entry(name), config_of(name)
    if memory != MEMORY_FORMS[0] and not (isinstance(config, FlashOccConfig) and config.past_frames):
        pytest.skip(f'{name} is exported in one form')
    graphs, drive, _ = exportable(build_network(row).eval(), row, tmp_path / 'full.onnx', memory=memory)
    drive.enliven()
    for path, graph in graphs.items():
        file = export_graph(graph, path, drive, {})
        largest = largest_error(name)
        for comparison in file.compared.values():
            assert comparison.labels is None or comparison.labels > 0.999, (path.name, file.compared)
            assert all(error <= largest for error in comparison.errors.values()), (path.name, file.compared)
        try:
            from occ_perception.engines.tensorrt_rtx import build_with_tensorrt_rtx

            assert build_with_tensorrt_rtx(path).layers > 1
        except EngineUnavailable:
            continue
        finally:
            path.unlink()

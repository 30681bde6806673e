"""Writes a network as ONNX of standard operators (one file; three for stereo), and checks it against torch."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.checkpoints import load_weights
from occ_perception.engines.example_inputs import example_feeds
from occ_perception.engines.graph_engine import stage_files
from occ_perception.engines.graphs import EncodeGraph, ExportedGraph, FuseGraph, MatchGraph, WholeGraph
from occ_perception.engines.protocol import EXACT
from occ_perception.engines.select import find_weights
from occ_perception.geometry.column_lift import LiftCaps
from occ_perception.manifest import FIELD, Manifest, entry_of_weights, read_manifest
from occ_perception.networks.build import build_network
from occ_perception.networks.flashocc.network import FlashOcc

OPSET = 18
MINIMUM_AGREEMENT = 0.9999
"""Share of voxels whose label must be the same in torch and in every runtime that the file is checked with."""


def export_onnx(name: str, weights: str | Path | None, path: str | Path, caps: LiftCaps | None = None,
                memory: str = EXACT) -> dict[str, float]:
    """Write a network of the catalogue to `path` and check it.

    weights: a checkpoint, None for the shipped one. caps: sizes of the lift tables, None for the default of the network. memory:
    how past frames enter, for networks that look at some.
    Inputs of the graph: images (N, H, W, 3) uint8 RGB at network size, the tables of LiftTables by name (of networks with exact
    memory with an axis of frames in front, the present one first), cameras (1 or frames, N, 27) for depth nets that take them, and
    past (P, N, C, h, w), or past_maps (P, C, Y, X) with warps (P, 2, 3). Outputs: labels (nx, ny, nz) uint8, the maps of
    instance centres, and what to remember: prepared (N, C, h, w), or map (C, Y, X). Reversal of the channels and normalisation
    are inside. metadata_props say what the file was made from.
    Kernels whose values float16 holds exactly are stored so: such a file is half as large and computes the same.
    A stereo network becomes three files, `path` and the two of stage_files: images to features, features of two frames to matching
    costs, all frames to labels.
    Returns the share of equal labels per runtime; raises ValueError when one is below MINIMUM_AGREEMENT (nothing is then
    written).
    """
    source = find_weights(entry(name), weights, ('.safetensors', '.pth'))
    row, manifest = entry_of_weights(entry(name), source), read_manifest(source)
    network = build_network(row)
    load_weights(network, source)
    return export_network(network.eval(), row, path, caps, hashlib.sha256(source.read_bytes()).hexdigest(), memory, manifest)


def export_network(network: FlashOcc, row: NetworkEntry, path: str | Path, caps: LiftCaps | None = None,
                   weights_sha256: str = '', memory: str = EXACT, manifest: Manifest | None = None) -> dict[str, float]:
    """The same for a network in eval mode that holds its weights already; manifest: of imported ones."""
    caps = caps or row.lift.default_caps(len(row.cameras))
    about = {
        'network': row.name, 'weights_sha256': weights_sha256, 'cameras': json.dumps(row.cameras), 'memory': memory,
        'preprocessing': json.dumps(asdict(row.preprocessing)), 'lift': json.dumps(asdict(row.lift)),
        'lift_caps': json.dumps(asdict(caps))}
    if manifest is not None:
        about[FIELD] = manifest.to_json()
    path = Path(path)
    if network.config.depth != 'stereo':
        graphs: dict[Path, ExportedGraph] = {path: WholeGraph(network, caps.slots, memory)}
    else:
        encode, match = stage_files(path)
        graphs = {encode: EncodeGraph(network, caps.slots), match: MatchGraph(network, caps.slots),
                  path: FuseGraph(network, caps.slots, memory)}
    unfinished = {file: file.with_suffix('.part.onnx') for file in graphs}
    try:
        for file, graph in graphs.items():
            agreement = _export_graph(graph, row, unfinished[file], caps, about)
        for file, part in unfinished.items():
            part.replace(file)
    finally:
        for part in unfinished.values():
            part.unlink(missing_ok=True)
    return agreement


def _export_graph(graph: ExportedGraph, row: NetworkEntry, path: Path, caps: LiftCaps,
                  about: Mapping[str, str]) -> dict[str, float]:
    """Write one graph and check its first output; returns the agreement per runtime."""
    feeds = example_feeds(row, caps, graph)
    model = _trace(graph, [torch.from_numpy(feeds[name]) for name in graph.inputs])
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    _narrow_constants(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    agreement = compare_with_torch(graph, path, feeds)
    poor = {runtime: share for runtime, share in agreement.items() if share < MINIMUM_AGREEMENT}
    if poor:
        raise ValueError(f'the exported {row.name} gives {graph.outputs[0]} unlike torch: {poor}, '
                         f'expected {MINIMUM_AGREEMENT} equal')
    return agreement


def compare_with_torch(graph: ExportedGraph, path: Path, feeds: dict[str, np.ndarray]) -> dict[str, float]:
    """Share of the first output that equals torch's, for ONNX Runtime and OpenVINO in float32 as far as they are installed.

    Labels must be the same; real numbers within 0.1 % of the output's root mean square.
    """
    with torch.inference_mode():
        outputs = graph(*(torch.from_numpy(feeds[name]) for name in graph.inputs))
    expected = (outputs if isinstance(outputs, torch.Tensor) else outputs[0]).numpy()
    slack = 1e-3 * float(np.sqrt(np.mean(np.square(expected)))) if expected.dtype == np.float32 else 0.0
    agreement = {}
    for runtime, run in (('onnxruntime', _run_onnxruntime), ('openvino', _run_openvino)):
        try:
            found = run(path, feeds, graph.outputs[0])
        except ModuleNotFoundError:
            continue
        agreement[runtime] = float((np.abs(found.astype(np.float32) - expected.astype(np.float32)) <= slack).mean())
    return agreement


def _run_onnxruntime(path: Path, feeds: dict[str, np.ndarray], output: str) -> np.ndarray:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']).run([output], feeds)[0]


def _run_openvino(path: Path, feeds: dict[str, np.ndarray], output: str) -> np.ndarray:
    import openvino

    return openvino.compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})(feeds)[output]


def _trace(graph: ExportedGraph, inputs: Sequence[Tensor]) -> onnx.ModelProto:
    """ONNX model of the graph, constants folded; batch norms stay, so that kernels keep the checkpoint's values."""
    import onnx_ir.passes.common as passes
    import onnxscript

    softplus = onnxscript.values.Opset('', OPSET).Softplus  # one operator, where the default is a guarded expression
    table: dict[Callable, Callable] = {torch.ops.aten.softplus.default: lambda x, beta=1.0, threshold=20.0: softplus(x)}
    registration = logging.getLogger('torch.onnx._internal.exporter._registration')
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                graph.eval(), tuple(inputs), dynamo=True, optimize=False, opset_version=OPSET, verbose=False,
                input_names=graph.inputs, output_names=graph.outputs, custom_translation_table=table)
    finally:
        registration.setLevel(level)
    assert program is not None
    model = program.model
    passes.InlinePass()(model)
    onnxscript.optimizer.fold_constants(model, input_size_limit=1 << 20, output_size_limit=1 << 20)
    for tidy in (passes.RemoveUnusedNodesPass(), passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
                 passes.DeduplicateInitializersPass(size_limit=1 << 20), passes.CommonSubexpressionEliminationPass(),
                 passes.RemoveUnusedNodesPass(), passes.RemoveUnusedOpsetsPass(), passes.ClearMetadataAndDocStringPass(),
                 passes.NameFixPass()):
        tidy(model)
    return program.model_proto


def _narrow_constants(model: onnx.ModelProto, smallest: int = 1024) -> None:
    """Store float32 constants whose values float16 holds exactly as float16, widened by a Cast in the graph."""
    casts = []
    for constant in model.graph.initializer:
        if constant.data_type != onnx.TensorProto.FLOAT or int(np.prod(constant.dims)) < smallest:
            continue
        values = numpy_helper.to_array(constant)
        with np.errstate(over='ignore'):
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            name = constant.name
            constant.CopyFrom(numpy_helper.from_array(half, name + '_f16'))
            casts.append(onnx.helper.make_node('Cast', [name + '_f16'], [name], name + '_f32', to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)

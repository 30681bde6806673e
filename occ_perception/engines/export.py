"""Writes a network as ONNX of standard operators (one file; three for stereo), and checks it against torch."""

from __future__ import annotations

import ast
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.checkpoints import load_weights
from occ_perception.engines.comparison import (
    LARGEST_ERROR,
    MINIMUM_AGREEMENT,
    Comparison,
    compare,
    torch_outputs,
    with_scores,
    without_scores,
)
from occ_perception.engines.example_inputs import Drive
from occ_perception.engines.exportable import exportable
from occ_perception.engines.graphs import ExportedGraph
from occ_perception.engines.onnx_metadata import sha256_of
from occ_perception.engines.protocol import EXACT
from occ_perception.engines.select import find_weights
from occ_perception.geometry.column_lift import LiftCaps
from occ_perception.manifest import FIELD, Manifest, entry_of_weights, read_manifest
from occ_perception.networks.build import Network, build_network

OPSET = 18


@dataclass(frozen=True)
class ExportedFile:
    """One written file: its nodes, its size [MB], how every runtime compares with torch, the time all that took [s]."""

    path: Path
    nodes: int
    megabytes: float
    compared: dict[str, Comparison]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every runtime gives what torch gives."""
        return all(comparison.good for comparison in self.compared.values())


def export_onnx(name: str, weights: str | Path | None, path: str | Path, caps: LiftCaps | None = None,
                memory: str = EXACT) -> list[ExportedFile]:
    """Write a network of the catalogue to `path` and check it.

    weights: a checkpoint, None for the shipped one. caps: sizes of the lift tables, None for the default of the network. memory:
    how past frames enter, for networks that look at some; FusionOcc has EXACT alone, PanoOcc a form of its own. Inputs and outputs
    of the files: docs/onnx.md.
    Reversal of the channels, normalisation and the choice of the likeliest class are inside. metadata_props say what the file was
    made from. Kernels whose values float16 holds exactly are stored so: such a file is half as large and computes the same.
    A stereo network becomes three files, `path` and the two of stage_files: images to features, features of two frames to matching
    costs, all frames to labels.
    Returns what was written, the file that gives labels last; raises ValueError when a runtime gives other labels than torch
    (MINIMUM_AGREEMENT) or other numbers (LARGEST_ERROR): nothing is then written.
    """
    source = find_weights(entry(name), weights, ('.safetensors', '.pth'))
    row, manifest = entry_of_weights(entry(name), source), read_manifest(source)
    network = build_network(row)
    load_weights(network, source)
    digest = sha256_of(source)
    return export_network(network.eval(), row, path, caps, digest, memory, manifest)


def export_network(network: Network, row: NetworkEntry, path: str | Path, caps: LiftCaps | None = None,
                   weights_sha256: str = '', memory: str = EXACT, manifest: Manifest | None = None) -> list[ExportedFile]:
    """The same for a network in eval mode that holds its weights already; manifest: of imported ones."""
    graphs, drive, facts = exportable(network, row, Path(path), caps, memory)
    about = facts | {'weights_sha256': weights_sha256} | ({} if manifest is None else {FIELD: manifest.to_json()})
    unfinished = {file: file.with_suffix('.part.onnx') for file in graphs}
    written = []
    try:
        for file, graph in graphs.items():
            done = export_graph(graph, unfinished[file], drive, about)
            if not done.good:
                raise ValueError(f'the exported {row.name} gives {", ".join(graph.outputs)} unlike torch: {done.compared}, '
                                 f'expected {MINIMUM_AGREEMENT} of the labels equal and errors of at most {LARGEST_ERROR}')
            written.append(replace(done, path=file))
        for file, part in unfinished.items():
            part.replace(file)
    finally:
        for part in unfinished.values():
            part.unlink(missing_ok=True)
    return written


def export_graph(graph: ExportedGraph, path: Path, drive: Drive, about: Mapping[str, str]) -> ExportedFile:
    """Write one graph, with `about` as its metadata_props, and compare it, whatever comes out; see export_onnx."""
    began = time.monotonic()
    feeds = drive.feeds(graph)
    model = trace(graph, {name: feeds[name] for name in graph.inputs}, graph.outputs)
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    narrow_constants(model)
    names = with_scores(model)
    onnx.save(model, path)
    compared = compare(path, feeds, *torch_outputs(graph, feeds), names)
    if names:
        without_scores(model, names)
        onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)
    return ExportedFile(path, len(model.graph.node), path.stat().st_size / 1e6, compared, time.monotonic() - began)


def trace(graph: torch.nn.Module, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> onnx.ModelProto:
    """ONNX model of a module with tensors at its border. Constants are folded, batch norms stay: kernels keep their values."""
    import onnx_ir.passes.common as passes
    import onnxscript

    operators = onnxscript.values.Opset('', OPSET)

    def conv3d(x: Any, kernel: Any, bias: Any = None, stride: Sequence[int] = (1,), padding: Sequence[int] = (0,),
               dilation: Sequence[int] = (1,), groups: int = 1) -> Any:
        """As it is: the default gives kernels without a bias one of a shape that runtimes refuse."""
        strides, pads, dilations = (list(values) * (3 // len(values)) for values in (stride, padding, dilation))
        given = (x, kernel) if bias is None else (x, kernel, bias)
        return operators.Conv(*given, strides=strides, pads=pads * 2, dilations=dilations, group=groups)

    table: dict[Callable, Callable] = {
        torch.ops.aten.softplus.default: lambda x, beta=1.0, threshold=20.0: operators.Softplus(x),  # the default is guarded
        torch.ops.aten.conv3d.default: conv3d}
    registration = logging.getLogger('torch.onnx._internal.exporter._registration')
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                graph.eval(), tuple(map(torch.from_numpy, inputs.values())), dynamo=True, optimize=False, opset_version=OPSET,
                verbose=False,
                input_names=list(inputs), output_names=list(outputs), custom_translation_table=table)
    finally:
        registration.setLevel(level)
    assert program is not None
    model = program.model
    passes.InlinePass()(model)
    for node in model.graph:  # such as network.img_neck.fpn_convs.0.conv/Conv: patterns of layers can name modules
        *_, module, _ = ast.literal_eval(node.metadata_props.get('pkg.torch.onnx.name_scopes', "['', '']"))
        node.name = f'{module}/{node.op_type}'
    onnxscript.optimizer.fold_constants(model, input_size_limit=1 << 20, output_size_limit=1 << 20)
    for tidy in (passes.RemoveUnusedNodesPass(), passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
                 passes.DeduplicateInitializersPass(size_limit=1 << 20), passes.CommonSubexpressionEliminationPass(),
                 passes.RemoveUnusedNodesPass(), passes.RemoveUnusedOpsetsPass(), passes.ClearMetadataAndDocStringPass(),
                 passes.NameFixPass()):
        tidy(model)
    return program.model_proto


def narrow_constants(model: onnx.ModelProto, smallest: int = 1024) -> None:
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

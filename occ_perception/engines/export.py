"""Writes a network as one ONNX file of standard operators, and checks it against torch."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.checkpoints import load_weights
from occ_perception.engines.select import find_weights
from occ_perception.geometry.column_lift import LiftCaps, LiftTables, build_lift_tables
from occ_perception.geometry.transforms import matrix
from occ_perception.networks.build import build_network
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.parts.lift_splat import LiftTensors

OPSET = 18
MINIMUM_AGREEMENT = 0.9999
"""Share of voxels whose label must be the same in torch and in every runtime that the file is checked with."""


class _Graph(nn.Module):
    """One frame in, labels out, with plain tensors at the border."""

    def __init__(self, network: FlashOcc, slots: int) -> None:
        super().__init__()
        self.network, self.slots = network, slots

    def forward(self, images: Tensor, *tables: Tensor) -> Tensor:
        # TensorRT takes bytes only at the border: whatever is uint8 is cast first, and labels last
        slot, *others = tables
        named = dict(zip(LiftTables.NAMES, (table[None] for table in (slot.float(), *others)), strict=True))
        return self.network.class_indices(images.float()[None], LiftTensors(slots=self.slots, **named))[0].byte()


def export_onnx(name: str, weights: str | Path | None, path: str | Path, caps: LiftCaps | None = None) -> dict[str, float]:
    """Write a network of the catalogue to `path` and check it.

    weights: a checkpoint, None for the shipped one. caps: sizes of the lift tables, None for the default of the network.
    Inputs of the graph: images (N, H, W, 3) uint8 RGB at network size, and the tables of LiftTables by name. Output: labels
    (nx, ny, nz) uint8. Reversal of the channels and normalisation are inside. metadata_props say what the file was made from.
    Kernels whose values float16 holds exactly are stored so: such a file is half as large and computes the same.
    Returns the share of equal labels per runtime; raises ValueError when one is below MINIMUM_AGREEMENT (the file is then
    not written).
    """
    row = entry(name)
    source = find_weights(row, weights, ('.safetensors', '.pth'))
    network = build_network(name)
    load_weights(network, source)
    return export_network(network.eval(), row, path, caps, hashlib.sha256(source.read_bytes()).hexdigest())


def export_network(network: FlashOcc, row: NetworkEntry, path: str | Path, caps: LiftCaps | None = None,
                   weights_sha256: str = '') -> dict[str, float]:
    """The same for a network in eval mode that holds its weights already."""
    lift = row.lift
    assert lift is not None
    caps = caps or lift.default_caps(len(row.cameras))
    images, tables = example_inputs(row, caps)
    graph = _Graph(network, caps.slots)
    model = _trace(graph, (torch.from_numpy(images), *(torch.from_numpy(table) for table in _named(tables).values())))
    metadata = {
        'network': row.name, 'weights_sha256': weights_sha256, 'cameras': json.dumps(row.cameras),
        'preprocessing': json.dumps(asdict(row.preprocessing)), 'lift': json.dumps(asdict(lift)),
        'lift_caps': json.dumps(asdict(caps))}
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    _narrow_constants(model)
    onnx.checker.check_model(model, full_check=True)
    path = Path(path)
    unfinished = path.with_suffix('.part.onnx')
    onnx.save(model, unfinished)
    try:
        agreement = compare_with_torch(graph, unfinished, images, tables)
        poor = {runtime: share for runtime, share in agreement.items() if share < MINIMUM_AGREEMENT}
        if poor:
            raise ValueError(f'the exported {row.name} labels voxels unlike torch: {poor}, expected {MINIMUM_AGREEMENT} equal')
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return agreement


def example_inputs(row: NetworkEntry, caps: LiftCaps, seed: int = 0) -> tuple[np.ndarray, LiftTables]:
    """Smooth random images (N, H, W, 3) uint8 and the lift tables of a ring of level cameras 1.5 m above the ground."""
    lift, count = row.lift, len(row.cameras)
    assert lift is not None
    random = np.random.default_rng(seed)
    height, width = lift.input_height, lift.input_width
    coarse = torch.from_numpy(random.normal(0, 1, (count, 3, 8, 22))).float()
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode='bicubic')
    images = (128 + 50 * smooth).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    intrinsics = np.array([[0.8 * width, 0, width / 2], [0, 0.8 * width, 0.3 * height], [0, 0, 1]])
    angles = 2 * np.pi * np.arange(count) / count + 0.01
    poses = [matrix(np.array([[np.sin(a), 0, np.cos(a)], [-np.cos(a), 0, np.sin(a)], [0, -1, 0]]),
                    (1 + 0.5 * np.cos(a), 0.5 * np.sin(a), 1.5)) for a in angles]
    return images, build_lift_tables(lift, np.stack([intrinsics] * count), np.stack(poses), caps)


def compare_with_torch(graph: nn.Module, path: Path, images: np.ndarray, tables: LiftTables) -> dict[str, float]:
    """Share of voxels with the same label as torch, float32, for ONNX Runtime and OpenVINO as far as they are installed."""
    feeds = {'images': images, **_named(tables)}
    with torch.inference_mode():
        expected = graph(*(torch.from_numpy(value) for value in feeds.values())).numpy()
    agreement = {}
    for runtime, labels in (('onnxruntime', _run_onnxruntime), ('openvino', _run_openvino)):
        try:
            agreement[runtime] = float((labels(path, feeds) == expected).mean())
        except ModuleNotFoundError:
            continue
    return agreement


def _named(tables: LiftTables) -> dict[str, np.ndarray]:
    return {name: getattr(tables, name) for name in LiftTables.NAMES}


def _run_onnxruntime(path: Path, feeds: dict[str, np.ndarray]) -> np.ndarray:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']).run(['labels'], feeds)[0]


def _run_openvino(path: Path, feeds: dict[str, np.ndarray]) -> np.ndarray:
    import openvino

    return openvino.compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})(feeds)['labels']


def _trace(graph: nn.Module, inputs: Sequence[Tensor]) -> onnx.ModelProto:
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
                input_names=['images', *LiftTables.NAMES], output_names=['labels'], custom_translation_table=table)
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

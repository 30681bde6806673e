"""What every layer of two exported graphs gives for the same inputs, and where they begin to differ."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from occ_perception.engines.graph_engine import Session

CHUNK_BYTES = 256 << 20
"""Layer outputs that one run hands out, in float32; more runs in place of more memory."""
ROUNDING = {'f32': 1e-5, 'f16': 2e-3, 'bf16': 1e-2, 'int8': 3e-2}
"""Relative error that a layer may get from its number format alone."""
JUMP = 4.0
"""A layer whose error is so many times that of its inputs, and of the format's rounding, is where something goes wrong."""
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
_MOVES = {'Cast', 'Reshape', 'Transpose', 'Gather', 'Split', 'Slice', 'Concat', 'Squeeze', 'Unsqueeze', 'Expand', 'Identity',
          'Flatten', 'QuantizeLinear', 'DequantizeLinear'}
"""Operators that hand values on: an error that they show began before them."""


@dataclass(frozen=True)
class Layer:
    """A float tensor that a node computes. module: path of the module whose weights it uses, '' where it uses none.

    after: path of the nearest module before it. inputs: the layers that it is computed from. elements: of the tensor.
    """

    tensor: str
    node: str
    operator: str
    module: str
    after: str
    inputs: tuple[str, ...]
    elements: int

    @property
    def place(self) -> str:
        """Where in the network it is, for people."""
        return self.module or (f'after {self.after}' if self.after else '')


@dataclass(frozen=True)
class LayerError:
    """How a layer differs. All relative to the root mean square of the reference.

    rms, maximum: of the difference. inputs_rms: the largest rms among its inputs, 0 where they have none. jump: whether the error
    begins here, see JUMP.
    """

    layer: Layer
    rms: float
    maximum: float
    inputs_rms: float
    jump: bool


def layers_of(model: onnx.ModelProto) -> list[Layer]:
    """The float tensors that a graph computes from its inputs, in its order; constants and mere moves of values are left out."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    infos = {info.name: info.type.tensor_type for info in (*graph.value_info, *graph.output)}
    stored = {constant.name for constant in graph.initializer}
    weights = {name: name for name in stored}
    feeding: dict[str, tuple[str, ...]] = {port.name: () for port in graph.input if port.name not in stored}
    modules: dict[str, str] = {}
    layers = []
    for node in graph.node:
        moving = [name for name in node.input if name in feeding]
        if not moving:
            origin = next((weights[name] for name in node.input if name in weights), '')
            weights |= {name: origin for name in node.output}
            continue
        inputs = tuple(dict.fromkeys(source for name in moving for source in feeding[name]))
        module = next((path for name in node.input if name in weights and (path := _module(weights[name]))), '')
        after = next((modules[name] for name in moving if modules.get(name)), '')
        for name in node.output:
            modules[name] = module or after
            kind = infos.get(name)
            shown = node.op_type not in _MOVES and kind is not None and kind.elem_type in _FLOATS
            feeding[name] = (name,) if shown else inputs
            if shown and kind is not None:
                elements = int(np.prod([dim.dim_value for dim in kind.shape.dim]))
                layers.append(Layer(name, node.name, node.op_type, module, after, inputs, elements))
    return layers


def _module(constant: str) -> str:
    """network.img_neck.conv.weight -> img_neck.conv; '' for constants that are no parameter."""
    parts = constant.split('.')
    return '.'.join(parts[1:-1]) if parts[0] == 'network' else ''


def exposed(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy that gives these tensors, and no others; what they do not need is left out, all inputs stay."""
    graph, wanted = model.graph, list(dict.fromkeys(tensors))
    kinds = {info.name: info for info in (*onnx.shape_inference.infer_shapes(model).graph.value_info, *graph.output)}
    needed, nodes = set(wanted), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= set(node.input)
    copy = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    copy.graph.name = graph.name
    copy.graph.node.extend(reversed(nodes))
    copy.graph.input.extend(graph.input)
    copy.graph.output.extend(kinds[name] for name in wanted)
    copy.graph.initializer.extend(constant for constant in graph.initializer if constant.name in needed)
    return copy


def with_outputs(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy that gives these tensors beside its own outputs."""
    return exposed(model, (*(port.name for port in model.graph.output), *tensors))


def compare_layers(reference: Path, candidate: Path, open_reference: Callable[[Path], Session],
                   open_candidate: Callable[[Path], Session], feeds: Mapping[str, Any], precision: str,
                   on_progress: Callable[[float], None] = lambda share: None) -> list[LayerError]:
    """Errors of the layers that two files share by name and size, in the order of the graph.

    reference, candidate: ONNX files; the same one where only the runtime differs. feeds: inputs of both. precision: of the
    candidate, says what rounding is expected. on_progress: told the share of the work done since the last call. Runtimes cannot
    fuse over a tensor that is handed out: what they do between layers in service may differ a little.
    """
    left = onnx.load(reference)
    right = left if candidate == reference else onnx.load(candidate)
    there = {layer.tensor: layer.elements for layer in layers_of(right)}
    layers = [layer for layer in layers_of(left) if there.get(layer.tensor) == layer.elements]
    if not layers:
        raise ValueError(f'{candidate.name} and {reference.name} have no layer names in common: make both from one export')
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix='occ-layers-') as folder:
        for number, chunk in enumerate(_chunks(layers)):
            names, outputs = [layer.tensor for layer in chunk], []
            for side, (model, open_session) in enumerate(((left, open_reference), (right, open_candidate))):
                file = Path(folder) / f'{number}-{side}.onnx'
                onnx.save(exposed(model, names), file)
                outputs.append(open_session(file).run(feeds))
                file.unlink()
            found |= {name: difference(outputs[0][name], outputs[1][name]) for name in names}
            on_progress(len(chunk) / len(layers))
    return with_jumps(layers, found, ROUNDING[precision])


def with_jumps(layers: Sequence[Layer], found: Mapping[str, tuple[float, float]], rounding: float) -> list[LayerError]:
    """Layers with their errors (rms, maximum), each told whether the error begins there."""
    errors = []
    for layer in layers:
        rms, maximum = found[layer.tensor]
        before = max((found[name][0] for name in layer.inputs if name in found), default=0.0)
        errors.append(LayerError(layer, rms, maximum, before, rms > JUMP * max(before, rounding)))
    return errors


def difference(reference: np.ndarray, candidate: np.ndarray) -> tuple[float, float]:
    """Root mean square and maximum of the difference, both over the root mean square of the reference; inf where not finite."""
    if not reference.size:
        return 0.0, 0.0
    wanted = np.asarray(reference, np.float32)
    with np.errstate(over='ignore', invalid='ignore'):
        apart = np.asarray(candidate, np.float32).reshape(wanted.shape) - wanted
    apart[candidate.reshape(wanted.shape) == reference] = 0  # infinities that both have
    if not np.isfinite(apart).all():
        return float('inf'), float('inf')
    finite = wanted[np.isfinite(wanted)]
    scale = float(np.sqrt(np.square(finite, dtype=np.float64).mean())) if finite.size else 0.0
    rms, maximum = float(np.sqrt(np.square(apart, dtype=np.float64).mean())), float(np.abs(apart).max())
    if not scale:
        return (0.0, 0.0) if not maximum else (float('inf'), float('inf'))
    return rms / scale, maximum / scale


def worst(errors: Sequence[LayerError], count: int) -> list[LayerError]:
    """The layers with the largest error, the worst first."""
    return sorted(errors, key=lambda error: -error.rms)[:count]


def first_jump(errors: Sequence[LayerError]) -> LayerError | None:
    """The first layer at which an error begins; None where it only grows by rounding."""
    return next((error for error in errors if error.jump), None)


def _chunks(layers: Sequence[Layer]) -> list[list[Layer]]:
    chunks: list[list[Layer]] = [[]]
    size = 0
    for layer in layers:
        if chunks[-1] and size + 4 * layer.elements > CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(layer)
        size += 4 * layer.elements
    return chunks

"""Exported graphs in float16: casts where formats meet, float32 where rounding would be seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KEPT_F32 = ('Softmax', 'Softplus', 'ReduceMean', 'ReduceSum', 'LayerNormalization', 'GridSample')
"""Operators that stay in float32: of depth, of means and variances, of sums over many cells, of places in a picture."""
FLOAT16_LARGEST = float(np.finfo(np.float16).max)
OPSET = 21
"""In which scales of quantised tensors may be float16."""
_MOVES = {'Reshape', 'Transpose', 'Unsqueeze', 'Squeeze', 'Slice', 'Split', 'Expand', 'Gather', 'GatherND', 'Flatten', 'Identity',
          'Tile', 'Concat', 'MaxPool', 'Relu', 'Pad', 'ArgMax', 'ReduceMax', 'Equal', 'Greater', 'Less'}
"""Operators that round nothing: they take what they are given in float32 or float16."""
_FIRST_ALONE = {'Resize', 'Pad'}
"""Operators whose other inputs are sizes and scales, in formats of their own."""


def named(node: onnx.NodeProto, patterns: Iterable[str]) -> bool:
    """Whether a pattern (with *) fits the node's operator or its name, or the name of a tensor that it reads."""
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in (node.op_type, node.name, *node.input))


def in_float16(model: onnx.ModelProto, keep: Sequence[str] = ()) -> onnx.ModelProto:
    """The graph computed in float16, but for KEPT_F32 and the nodes that `keep` names; inputs and outputs stay as they are.

    model: with shapes and types (see folding.folded), also with quantised layers, whose scales then are float16. Constants that
    float16 does not hold (beyond 65504) stay in float32, and so does what reads them.
    """
    model = onnx.version_converter.convert_version(model, OPSET)
    return _Narrower(model, (*KEPT_F32, *keep)).narrowed()


def _nodes_of_places(graph: onnx.GraphProto, constants: set[str]) -> set[str]:
    """First outputs of the nodes that compute where GridSample reads, back to inputs and layers with weights.

    Float16 holds places in a picture of 704 columns to half a column.
    """
    makers = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    behind = [node.input[1] for node in graph.node if node.op_type == 'GridSample']
    while behind:
        node = makers.get(behind.pop())
        weighted = node is not None and node.op_type in ('Conv', 'Gemm', 'MatMul') and node.input[1] in constants
        if node is None or weighted or node.output[0] in found:
            continue
        found.add(node.output[0])
        behind += node.input
    return found


class _Narrower:
    def __init__(self, model: onnx.ModelProto, keep: Sequence[str]) -> None:
        self._model, self._keep = model, keep
        graph = model.graph
        self._constants = {constant.name: constant for constant in graph.initializer}
        self._format = {x.name: x.type.tensor_type.elem_type for x in (*graph.input, *graph.value_info, *graph.output)}
        self._format |= {name: constant.data_type for name, constant in self._constants.items()}
        self._now = {x.name: x.type.tensor_type.elem_type for x in graph.input}
        self._nodes: list[onnx.NodeProto] = []
        self._places = _nodes_of_places(graph, set(self._constants))
        self._made: dict[tuple[str, int], str] = {}

    def narrowed(self) -> onnx.ModelProto:
        graph = self._model.graph
        for node in graph.node:
            self._place(node)
        results = {output.name: output.type.tensor_type.elem_type for output in graph.output}
        renamed = {name: f'{name}_f16' for name, kind in results.items() if kind == TensorProto.FLOAT and self._now[name] != kind}
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [renamed.get(name, name) for name in names]
        self._nodes += [helper.make_node('Cast', [inside], [name], f'{name}/to_f32', to=TensorProto.FLOAT)
                        for name, inside in renamed.items()]
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        read = {name for node in graph.node for name in node.input} | set(results)
        kept = [constant for constant in self._constants.values() if constant.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        return self._model

    def _place(self, original: onnx.NodeProto) -> None:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        floats = [index for index, name in enumerate(node.input) if self._format.get(name) == TensorProto.FLOAT
                  and not (index and node.op_type in _FIRST_ALONE)]
        wanted = self._wanted(node, floats)
        for index in floats:
            node.input[index] = self._as(node.input[index], wanted)
        if node.op_type == 'Cast':
            to = next(field for field in node.attribute if field.name == 'to')
            if to.i == TensorProto.FLOAT:
                to.i = wanted
        self._nodes.append(node)
        for name in node.output:
            kind = self._format.get(name)
            self._now[name] = wanted if kind == TensorProto.FLOAT else kind

    def _wanted(self, node: onnx.NodeProto, floats: Sequence[int]) -> int:
        """The format a node computes in."""
        if named(node, self._keep) or node.output[0] in self._places or any(not self._fits(node.input[index]) for index in floats):
            return TensorProto.FLOAT
        if node.op_type in _MOVES:
            given = {self._now[node.input[index]] for index in floats if node.input[index] in self._now}
            return TensorProto.FLOAT if given == {TensorProto.FLOAT} else TensorProto.FLOAT16
        return TensorProto.FLOAT16

    def _fits(self, name: str) -> bool:
        constant = self._constants.get(name)
        return constant is None or float(np.abs(numpy_helper.to_array(constant)).max(initial=0.0)) <= FLOAT16_LARGEST

    def _as(self, name: str, wanted: int) -> str:
        """Name of a tensor in a format, made when it is not there yet."""
        if name in self._constants:
            if wanted == TensorProto.FLOAT:
                return name
            narrow = f'{name}_f16'
            if narrow not in self._constants:
                values = numpy_helper.to_array(self._constants[name]).astype(np.float16)
                self._constants[narrow] = numpy_helper.from_array(values, narrow)
            return narrow
        if self._now[name] == wanted:
            return name
        if (name, wanted) not in self._made:
            cast = f'{name}_{"f16" if wanted == TensorProto.FLOAT16 else "f32"}'
            self._nodes.append(helper.make_node('Cast', [name], [cast], f'{cast}/Cast', to=wanted))
            self._made[name, wanted] = cast
        return self._made[name, wanted]

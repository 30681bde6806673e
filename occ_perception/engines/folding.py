"""Exported graphs made ready for narrow number formats: kernels do what batch norms did, and stand in the file as they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

LARGEST_FOLDED = 1 << 20
"""Elements of constants that are computed beforehand; larger ones only where the result is no larger than what it is made of."""


def folded(onnx_file: Path) -> onnx.ModelProto:
    """The same function without batch norms behind convolutions, and with kernels that are read as they stand.

    Kernels keep their names, which begin with the module they belong to; shapes of all tensors are in the graph.
    """
    import onnx_ir
    from onnxscript import optimizer

    model = onnx_ir.load(onnx_file)
    optimizer.fold_constants(model, input_size_limit=LARGEST_FOLDED, output_size_limit=LARGEST_FOLDED,
                             should_fold=lambda node: True if node.op_type in ('Cast', 'Transpose') else None)
    proto = onnx_ir.to_proto(model)
    _fold_batch_norms(proto.graph)
    _keep_used(proto.graph)
    return onnx.shape_inference.infer_shapes(proto)


def _fold_batch_norms(graph: onnx.GraphProto) -> None:
    constants = {constant.name: constant for constant in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, int] = {output.name: 1 for output in graph.output}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    gone = []
    for norm in graph.node:
        if norm.op_type != 'BatchNormalization':
            continue
        conv = makers.get(norm.input[0])
        if conv is None or conv.op_type != 'Conv' or readers[norm.input[0]] > 1 or not set(conv.input[1:]) <= set(constants):
            continue
        kernel, *bias = (numpy_helper.to_array(constants[name]) for name in conv.input[1:])
        scale, shift, mean, variance = (numpy_helper.to_array(constants[name]) for name in norm.input[1:])
        epsilon = next((field.f for field in norm.attribute if field.name == 'epsilon'), 1e-5)
        gain = scale / np.sqrt(variance + np.float32(epsilon))
        shifted = shift + ((bias[0] if bias else 0) - mean) * gain
        name = conv.input[1]
        if readers[name] > 1:  # the others go on with the kernel as it is
            name += f'.of.{conv.name}'
        bias_name = f'{name.removesuffix(".weight")}.folded_bias'
        gained = numpy_helper.from_array(kernel * gain.reshape(-1, *[1] * (kernel.ndim - 1)), name)
        if name in constants:
            constants[name].CopyFrom(gained)
        else:
            graph.initializer.append(gained)
        graph.initializer.append(numpy_helper.from_array(shifted.astype(np.float32), bias_name))
        del conv.input[1:]
        conv.input.extend([name, bias_name])
        conv.output[0] = norm.output[0]
        gone.append(norm)
    for norm in gone:
        graph.node.remove(norm)


def _keep_used(graph: onnx.GraphProto) -> None:
    """Leave out constants that nobody reads any more."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [constant for constant in graph.initializer if constant.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)

"""Exported graphs in int8 by explicit Q/DQ: one file that TensorRT, OpenVINO and ONNX Runtime read.

Inputs and kernels of convolutions and matrix products are rounded to 8 bits, symmetric about zero, kernels per output channel; what
they give, and all else, stays float. Ranges come from calibration frames. Layers that would lose much stay as they are: maps of
lifted features, for one, are small almost everywhere and huge in a few cells. So do products that decide between classes, and what
reads joined maps.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from occ_perception.engines.layer_outputs import exposed
from occ_perception.engines.narrowing import named

PERCENTILE = 99.99
"""Share of the values of an input that its range covers; larger ones are cut to the range."""
LARGEST_LOSS = 0.035
"""Mean error of rounding an input to 8 bits, as a share of the input's mean size, beyond which its layers stay in float."""
LAYERS = ('Conv', 'MatMul')
CHUNK_BYTES = 1 << 30
"""Inputs of layers that one run hands out; more runs in place of more memory."""
STEPS = 127
_BINS = 1 << 15


@dataclass(frozen=True)
class Quantised:
    """A graph in int8: names of the layers that are, and of those left in float with the reason."""

    model: onnx.ModelProto
    layers: tuple[str, ...]
    kept: dict[str, str]


class Calibration:
    """A float32 graph on its way to int8: calibration frames in, then the quantised graph out.

    model: of folding.folded. Sizes of the values of every layer's input are kept as histograms whose bins are 1/128 octave wide.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._model, self._frames = model, 0
        constants = {constant.name for constant in model.graph.initializer}
        self._layers = [node for node in model.graph.node if node.op_type in LAYERS and node.input[1] in constants]
        tensors = list(dict.fromkeys(node.input[0] for node in self._layers))
        self._counts = {name: np.zeros(_BINS, np.int64) for name in tensors}
        inputs = {port.name for port in model.graph.input}
        self._given = [name for name in tensors if name in inputs]
        self._sessions = [(names, onnxruntime.InferenceSession(exposed(model, names).SerializeToString(), options,
                                                               providers=['CPUExecutionProvider']))
                          for names in _chunks(model, [name for name in tensors if name not in inputs])]

    def add(self, feed: Mapping[str, np.ndarray]) -> None:
        """Count the values of one more frame."""
        for names, session in self._sessions:
            for name, values in zip(names, session.run(names, dict(feed)), strict=True):
                self._count(name, values)
        for name in self._given:
            self._count(name, feed[name])
        self._frames += 1

    def quantised(self, keep: Sequence[str] = ()) -> Quantised:
        """The graph in int8. keep: patterns of layers that stay in float, see narrowing.named. Raises ValueError without frames."""
        if self._layers and not self._frames:
            raise ValueError('int8 needs calibration frames: at least one')
        kept = {}
        maker = {output: node for node in self._model.graph.node for output in node.output}
        deciding = _deciding(self._model, maker)
        for node in self._layers:
            loss = self._loss(node.input[0])
            if named(node, keep):
                kept[node.name] = 'as asked for'
            elif node.name in deciding:
                kept[node.name] = 'it decides between classes: errors would be wrong labels'
            elif node.input[0] in maker and maker[node.input[0]].op_type == 'Concat':
                kept[node.name] = 'it reads joined maps: OpenVINO would round each of them for itself, coarsely'
            elif loss > LARGEST_LOSS:
                kept[node.name] = f'its input would lose {loss:.1%}'
        chosen = [node for node in self._layers if node.name not in kept]
        limits = {node.input[0]: self._limit(node.input[0]) for node in chosen}
        model = _with_scales(self._model, [node.name for node in chosen], limits) if chosen else self._model
        return Quantised(model, tuple(node.name for node in chosen), kept)

    def _count(self, name: str, values: np.ndarray) -> None:
        sizes = np.ascontiguousarray(values, np.float32).view(np.uint32).ravel() << 1 >> 17  # no sign, exponent, 7 bits
        self._counts[name] += np.bincount(sizes, minlength=_BINS)

    def _limit(self, name: str) -> float:
        """Size that PERCENTILE of the values stay below."""
        counts = self._counts[name]
        at = int(np.searchsorted(np.cumsum(counts), PERCENTILE / 100 * counts.sum()))
        return float(max(_SIZES[min(at + 1, _BINS - 129)], np.finfo(np.float16).tiny * STEPS))

    def _loss(self, name: str) -> float:
        """Mean error of rounding and cutting to the range, as a share of the mean size."""
        counts = self._counts[name][:len(_CENTERS)]
        scale = self._limit(name) / STEPS
        mean = float((counts * _CENTERS).sum())
        # values spread over a bin, or over a step where steps are narrower, are rounded at random
        error = np.abs(np.minimum(np.round(_CENTERS / scale), STEPS) * scale - _CENTERS)
        error = np.where((64 * scale < _CENTERS) & (STEPS * scale > _CENTERS), scale / 4, error)
        return float((counts * error).sum()) / mean if mean else 0.0


def _deciding(model: onnx.ModelProto, maker: Mapping[str, onnx.NodeProto]) -> set[str]:
    """Matrix products behind the last convolution in front of an ArgMax."""
    found, seen = set(), set()
    open_ = [name for node in model.graph.node if node.op_type == 'ArgMax' for name in node.input]
    while open_:
        node = maker.get(open_.pop())
        if node is None or node.name in seen or node.op_type == 'Conv':
            continue
        seen.add(node.name)
        found |= {node.name} if node.op_type == 'MatMul' else set()
        open_ += node.input
    return found


_SIZES = (np.arange(_BINS - 128, dtype=np.uint32) << 16).view(np.float32).astype(np.float64)
"""Lower edge of each bin; those of infinities are left out."""
_CENTERS = np.append((_SIZES[1:] + _SIZES[:-1]) / 2, _SIZES[-1])


def _chunks(model: onnx.ModelProto, tensors: Sequence[str]) -> list[list[str]]:
    """Tensors in groups of at most CHUNK_BYTES, or one that is larger."""
    shapes = {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in model.graph.value_info}
    chunks: list[list[str]] = []
    room = 0
    for name in tensors:
        size = 4 * int(np.prod(shapes[name]))
        if size > room or not chunks:
            chunks.append([])
            room = CHUNK_BYTES
        chunks[-1].append(name)
        room -= size
    return chunks


def _with_scales(model: onnx.ModelProto, nodes: list[str], limits: Mapping[str, float]) -> onnx.ModelProto:
    """Q/DQ in front of nodes, whose kernels become int8. limits: of the values of their inputs."""
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    ranges = TensorsData(CalibrationMethod.MinMax, {
        name: TensorData(lowest=np.float32(-limit), highest=np.float32(limit)) for name, limit in limits.items()})
    options = {'ActivationSymmetric': True, 'WeightSymmetric': True, 'QuantizeBias': False, 'QDQKeepRemovableActivations': True,
               'OpTypesToExcludeOutputQuantization': list(LAYERS), 'QDQOpTypePerChannelSupportToAxis': {'MatMul': 1}}
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            quantizer = QDQQuantizer(model, True, False, QuantType.QInt8, QuantType.QInt8, ranges, nodes, [], list(LAYERS), options)
            quantizer.quantize_model()
            quantizer.model.topological_sort()
    finally:
        logging.getLogger().setLevel(level)
    made = quantizer.model.model
    del made.graph.value_info[:]
    del made.opset_import[:]
    made.opset_import.extend(model.opset_import)
    return onnx.shape_inference.infer_shapes(made)

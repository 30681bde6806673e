"""An exported file beside torch: every output, and the scores behind the labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from occ_perception.engines.graphs import ExportedGraph

MINIMUM_AGREEMENT = 0.9999
"""Share of voxels whose label must be the same in torch and in every runtime that the file is checked with."""
LARGEST_ERROR = 1e-3
"""Largest root mean square of the difference of any other output, and of the scores, as a share of the output's own."""
SCORES = 'scores'


@dataclass(frozen=True)
class Comparison:
    """One runtime beside torch. labels: share of equal ones, None in a graph without labels. errors: relative root-mean-square
    difference of each other output, and of the scores that labels are the largest of (SCORES)."""

    labels: float | None
    errors: dict[str, float]

    @property
    def close(self) -> bool:
        """Within LARGEST_ERROR: what can be asked of random weights, whose labels hang on differences that training makes large."""
        return all(error <= LARGEST_ERROR for error in self.errors.values())

    @property
    def good(self) -> bool:
        """Within MINIMUM_AGREEMENT and LARGEST_ERROR."""
        return self.close and (self.labels is None or self.labels >= MINIMUM_AGREEMENT)


class _ScoresOfLabels(TorchFunctionMode):
    """Keeps what every argmax was given, in the order of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[np.ndarray] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.argmax, Tensor.argmax):
            self.found.append(args[0].numpy())
        return func(*args, **(kwargs or {}))


def torch_outputs(graph: ExportedGraph, feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Every output by name, and the scores behind the labels, strip by strip."""
    with torch.inference_mode(), _ScoresOfLabels() as scores:
        outputs = graph(*(torch.from_numpy(feeds[name]) for name in graph.inputs))
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    return {name: tensor.numpy() for name, tensor in zip(graph.outputs, outputs, strict=True)}, scores.found


def with_scores(model: onnx.ModelProto) -> list[str]:
    """Make the input of every ArgMax an output, too; returns their names. without_scores takes them away again."""
    names = [node.input[0] for node in model.graph.node if node.op_type == 'ArgMax']
    model.graph.output.extend(onnx.ValueInfoProto(name=name, type=onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
                              for name in names)
    return names


def without_scores(model: onnx.ModelProto, names: list[str]) -> None:
    """Undo with_scores."""
    del model.graph.output[len(model.graph.output) - len(names):]


def compare(path: Path, feeds: dict[str, np.ndarray], expected: dict[str, np.ndarray], scores: list[np.ndarray],
            score_names: list[str]) -> dict[str, Comparison]:
    """A file beside torch_outputs, in ONNX Runtime and OpenVINO in float32 as far as they are installed.

    score_names: of with_scores, which the file must have as outputs.
    """
    compared = {}
    for runtime, run in (('onnxruntime', _run_onnxruntime), ('openvino', _run_openvino)):
        try:
            found = run(path, feeds, [*expected, *score_names])
        except ModuleNotFoundError:
            continue
        labels = float((found['labels'] == expected['labels']).mean()) if 'labels' in expected else None
        errors = {name: _error([found[name]], [values]) for name, values in expected.items() if name != 'labels'}
        if scores:
            errors[SCORES] = _error([found[name] for name in score_names], scores)
        compared[runtime] = Comparison(labels, errors)
    return compared


def _error(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Root mean square of the difference over that of what is expected; infinite for other shapes."""
    if [x.shape for x in found] != [x.shape for x in expected]:
        return float('inf')
    unlike = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in zip(found, expected, strict=True))
    size = sum(float(np.square(b, dtype=np.float64).sum()) for b in expected)
    return float(np.sqrt(unlike / size)) if size else float(unlike > 0)


def _run_onnxruntime(path: Path, feeds: dict[str, np.ndarray], outputs: list[str]) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return dict(zip(outputs, session.run(outputs, feeds), strict=True))


def _run_openvino(path: Path, feeds: dict[str, np.ndarray], outputs: list[str]) -> dict[str, np.ndarray]:
    import openvino

    found = openvino.compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})(feeds)
    return {name: found[name].copy() for name in outputs}

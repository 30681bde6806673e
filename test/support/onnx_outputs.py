"""Outputs of an exported module in the runtimes that the product uses."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


def onnx_outputs(module: nn.Module, inputs: Sequence[Tensor], folder: Path) -> dict[str, list[np.ndarray]]:
    """Exports with static shapes and runs in float32: {'onnxruntime': [...], 'openvino': [...]}."""
    import onnxruntime
    import openvino

    path = folder / 'part.onnx'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(module, tuple(inputs), path, dynamo=True, opset_version=18, verbose=False,
                          input_names=[f'input{i}' for i in range(len(inputs))])
    feeds = {f'input{i}': value.numpy() for i, value in enumerate(inputs)}
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    compiled = openvino.compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    return {'onnxruntime': session.run(None, feeds), 'openvino': list(compiled(feeds).to_tuple())}

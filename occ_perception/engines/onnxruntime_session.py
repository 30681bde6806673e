"""ONNX Runtime as a light fallback: the CPU, float32."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from occ_perception.engines.protocol import EngineUnavailable


class OnnxRuntimeSession:
    """Runs an exported network on the CPU; see graph_engine.Session. threads: None for all cores."""

    def __init__(self, onnx_file: Path, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise EngineUnavailable("backend 'onnxruntime' needs the package onnxruntime: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(onnx_file, options, providers=['CPUExecutionProvider'])
        self.shapes: dict[str, tuple[int, ...]] = {port.name: tuple(port.shape) for port in self._session.get_inputs()}
        self._outputs = [port.name for port in self._session.get_outputs()]
        self.description = f'onnxruntime {onnxruntime.__version__}, CPU, f32, {threads or os.cpu_count()} threads'

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See Session.run."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(feeds)), strict=True))

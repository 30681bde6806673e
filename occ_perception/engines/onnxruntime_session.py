"""ONNX Runtime on the CPU as a light fallback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.machine import processor, usable_cores


class OnnxRuntimeSession:
    """Runs an exported network on the CPU; see graph_engine.Session.

    precision: of the file, 'f32' or 'int8'. threads: None for all cores that the process may use.
    """

    def __init__(self, onnx_file: Path, threads: int | None = None, precision: str = 'f32') -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise EngineUnavailable("backend 'onnxruntime' needs the package onnxruntime: pip install onnxruntime") from error
        threads = threads or usable_cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(onnx_file, options, providers=['CPUExecutionProvider'])
        self.shapes: dict[str, tuple[int, ...]] = {port.name: tuple(port.shape) for port in self._session.get_inputs()}
        self._outputs = [port.name for port in self._session.get_outputs()]
        self.description = f'onnxruntime {onnxruntime.__version__}, {processor()}, {precision}, {threads} threads'

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See Session.run."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(feeds)), strict=True))

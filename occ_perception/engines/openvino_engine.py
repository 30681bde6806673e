"""The CPU default: OpenVINO on an exported ONNX file, at the best precision this processor has."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from occ_perception.engines.protocol import EngineUnavailable


class OpenVinoEngine:
    """Runs an exported network on the CPU.

    bf16 where the processor multiplies it natively (AMX or AVX-512 BF16), else f32. threads: None leaves the choice to
    OpenVINO, which takes all cores.
    """

    def __init__(self, onnx_file: Path, threads: int | None = None) -> None:
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise EngineUnavailable("backend 'openvino' needs the package openvino: pip install openvino") from error
        core = openvino.Core()
        native = 'BF16' in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
        precision = 'bf16' if native else 'f32'
        config = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': precision}
        if threads is not None:
            config['INFERENCE_NUM_THREADS'] = str(threads)
        self._compiled = core.compile_model(core.read_model(onnx_file), 'CPU', config)
        self._request = self._compiled.create_infer_request()
        self._inputs = {port.get_any_name() for port in self._compiled.inputs}
        version = openvino.__version__.split('-')[0]
        self.description = f'openvino {version}, CPU, {precision}, {threads or os.cpu_count()} threads'

    def infer(self, images: np.ndarray, tables: dict[str, np.ndarray]) -> np.ndarray:
        """See Engine.infer."""
        feeds = {'images': images, **{name: table for name, table in tables.items() if name in self._inputs}}
        outputs = self._request.infer(feeds, share_inputs=True)
        return outputs['labels'].copy()

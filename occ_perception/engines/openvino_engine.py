"""The CPU default: OpenVINO on an exported ONNX file, at the best precision this processor has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from occ_perception.engines.protocol import EngineUnavailable


class OpenVinoSession:
    """Runs an exported network on the CPU; see graph_engine.Session.

    precision: 'bf16' or 'f32', None for bf16 where the processor multiplies it natively (AMX or AVX-512 BF16). threads: None
    leaves the choice to OpenVINO, which takes all cores.
    """

    def __init__(self, onnx_file: Path, threads: int | None = None, precision: str | None = None) -> None:
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise EngineUnavailable("backend 'openvino' needs the package openvino: pip install openvino") from error
        core = openvino.Core()
        if precision is None:
            precision = 'bf16' if 'BF16' in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES') else 'f32'
        config = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': precision}
        if threads is not None:
            config['INFERENCE_NUM_THREADS'] = str(threads)
        self._compiled = core.compile_model(core.read_model(onnx_file), 'CPU', config)
        self._request = self._compiled.create_infer_request()
        self.shapes: dict[str, tuple[int, ...]] = {port.get_any_name(): tuple(port.get_shape()) for port in self._compiled.inputs}
        # a tensor that is an output and used inside carries two names
        self._outputs = [(port, sorted(port.get_names())) for port in self._compiled.outputs]
        version = openvino.__version__.split('-')[0]
        self.description = f'openvino {version}, CPU, {precision}, {threads or os.cpu_count()} threads'

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See Session.run."""
        outputs = self._request.infer(dict(feeds), share_inputs=True)
        return {name: outputs[port].copy() for port, names in self._outputs for name in names}

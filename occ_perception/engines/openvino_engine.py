"""The CPU default: OpenVINO on an exported ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.machine import multiplies_bf16, processor, usable_cores


class OpenVinoSession:
    """Runs an exported network on the CPU; see graph_engine.Session.

    precision: 'f32', or 'bf16' of the same file, or 'int8' for a quantised file; what is not quantised in it runs in bf16 where the
    processor multiplies that natively. threads: None for all cores that the process may use.
    """

    def __init__(self, onnx_file: Path, threads: int | None = None, precision: str = 'f32') -> None:
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise EngineUnavailable("backend 'openvino' needs the package openvino: pip install openvino") from error
        core = openvino.Core()
        threads = threads or usable_cores()
        between = 'bf16' if precision == 'bf16' or (precision == 'int8' and multiplies_bf16()) else 'f32'
        config = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': between, 'INFERENCE_NUM_THREADS': str(threads)}
        self._compiled = core.compile_model(core.read_model(onnx_file), 'CPU', config)
        self._request = self._compiled.create_infer_request()
        self.shapes: dict[str, tuple[int, ...]] = {port.get_any_name(): tuple(port.get_shape()) for port in self._compiled.inputs}
        # a tensor that is an output and used inside carries two names
        self._outputs = [(port, sorted(port.get_names())) for port in self._compiled.outputs]
        version = openvino.__version__.split('-')[0]
        held = f'int8 and {between}' if precision == 'int8' else precision
        self.description = f'openvino {version}, {processor()}, {held}, {threads} threads'

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See Session.run."""
        outputs = self._request.infer(dict(feeds), share_inputs=True)
        return {name: outputs[port].copy() for port, names in self._outputs for name in names}

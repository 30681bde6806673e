"""Runtimes of exported graphs: what opens an ONNX file in a backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from occ_perception.engines.graph_engine import Session


def session_opener(backend: str, precision: str, threads: int | None = None) -> Callable[[Path], Session]:
    """What opens files of a precision ('f32', 'bf16', 'f16', 'int8') in 'openvino', 'onnxruntime' or 'tensorrt'.

    threads: of the CPU backends, None for all cores. Opening raises EngineUnavailable where the backend cannot run.
    """
    if backend == 'tensorrt':
        from occ_perception.engines.tensorrt_engine import TensorRtSession
        return partial(TensorRtSession, precision=precision)
    if backend == 'onnxruntime':
        from occ_perception.engines.onnxruntime_session import OnnxRuntimeSession
        return partial(OnnxRuntimeSession, threads=threads, precision=precision)
    from occ_perception.engines.openvino_engine import OpenVinoSession
    return partial(OpenVinoSession, threads=threads, precision=precision)

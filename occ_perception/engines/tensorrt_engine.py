"""TensorRT (10 and 11) on an exported ONNX file, float32; the built engine is cached for this file and this GPU."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.engines.cache import cache_folder, cache_key, read_checked, write_checked
from occ_perception.engines.protocol import EngineUnavailable

_LOG = logging.getLogger(__name__)


def missing_for_tensorrt() -> str | None:
    """What keeps TensorRT from running here, as a sentence with its mend; None when nothing does.

    The driver is asked before TensorRT is touched: without a GPU its builder fails with an unclear error.
    """
    try:
        driver = ctypes.CDLL('libcuda.so.1')
    except OSError:
        return "no NVIDIA driver (libcuda.so.1) was found: run on a machine with an NVIDIA GPU, or choose backend 'openvino'"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "the NVIDIA driver reports no usable GPU: check nvidia-smi, or choose backend 'openvino'"
    try:
        import tensorrt  # noqa: F401
    except ImportError as error:
        return (f'the tensorrt package does not import ({error}): pip install --extra-index-url https://pypi.nvidia.com '
                'tensorrt (its libraries are not on PyPI)')
    try:
        import torch
    except ImportError:
        return 'GPU memory is held in torch tensors and torch is not installed: pip install torch (a CUDA build)'
    if not torch.cuda.is_available():
        return f'torch {torch.__version__} cannot use the GPU: install a CUDA build that fits the driver'
    return None


class TensorRtSession:
    """Runs an exported network on the current CUDA device (graph_engine.Session); builds the engine when none is cached."""

    def __init__(self, onnx_file: Path) -> None:
        missing = missing_for_tensorrt()
        if missing:
            raise EngineUnavailable(f"backend 'tensorrt' cannot run here: {missing}")
        import tensorrt
        import torch

        self._torch = torch
        logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        plan = _plan(onnx_file, tensorrt, torch, logger)
        self._runtime = tensorrt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        self._context = self._engine.create_execution_context()
        self._stream = torch.cuda.Stream()
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            tensor = torch.empty(tuple(self._engine.get_tensor_shape(name)),
                                 dtype=_torch_dtypes(torch)[self._engine.get_tensor_dtype(name).name], device='cuda')
            self._context.set_tensor_address(name, tensor.data_ptr())
            is_input = self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
            (self._inputs if is_input else self._outputs)[name] = tensor
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(tensor.shape) for name, tensor in self._inputs.items()}
        self.description = f'tensorrt {tensorrt.__version__}, {torch.cuda.get_device_name()}, f32'

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See Session.run."""
        torch = self._torch
        with torch.cuda.stream(self._stream):
            for name, tensor in self._inputs.items():
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(feeds[name])), non_blocking=True)
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise RuntimeError('TensorRT refused to run the engine; see its log lines above')
            outputs = {name: tensor.to('cpu', non_blocking=True) for name, tensor in self._outputs.items()}
        self._stream.synchronize()
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def _torch_dtypes(torch) -> dict:
    return {'FLOAT': torch.float32, 'HALF': torch.float16, 'INT32': torch.int32, 'INT64': torch.int64,
            'UINT8': torch.uint8, 'INT8': torch.int8, 'BOOL': torch.bool}


def _plan(onnx_file: Path, tensorrt, torch, logger) -> bytes:
    """Serialised engine for this file, TensorRT version and GPU: from the cache, else built now (minutes)."""
    onnx_bytes = onnx_file.read_bytes()
    capability = '.'.join(map(str, torch.cuda.get_device_capability()))
    driver = ctypes.c_int()
    ctypes.CDLL('libcuda.so.1').cuDriverGetVersion(ctypes.byref(driver))
    key = cache_key(onnx_bytes, tensorrt.__version__, torch.cuda.get_device_name(), capability, str(driver.value), 'f32')
    path = cache_folder() / f'{onnx_file.stem}-{key[:24]}.engine'
    cached = read_checked(path)
    if cached is not None:
        return cached
    _LOG.warning('building a TensorRT engine for %s; this takes minutes and is done once', onnx_file.name)
    builder = tensorrt.Builder(logger)
    strongly_typed = getattr(tensorrt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED', None)
    network = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(onnx_bytes):
        errors = '; '.join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise ValueError(f'TensorRT {tensorrt.__version__} cannot read {onnx_file}: {errors}')
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    if plan is None:
        raise ValueError(f'TensorRT {tensorrt.__version__} could not build {onnx_file}; see its log lines above')
    content = bytes(plan)
    write_checked(path, content)
    return content

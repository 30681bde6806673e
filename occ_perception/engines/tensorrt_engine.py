"""TensorRT (10 and 11) on exported ONNX files; plans are kept in the cache for the file, TensorRT, driver and GPU.

`python -m occ_perception.engines.tensorrt_engine PRECISION FILE ...` builds what is not there; progress is printed as JSON lines.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.plan_cache import PlanFile, PlanTarget
from occ_perception.engines.protocol import Engine, EngineUnavailable
from occ_perception.engines.tensorrt_build import DEFAULT_WORKSPACE_BYTES, BuildProgress, Report, build_plan, check_version
from occ_perception.engines.tensorrt_files import tensorrt_file

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
        import tensorrt
    except ImportError as error:
        return (f'the tensorrt package does not import ({error}): pip install --extra-index-url https://pypi.nvidia.com '
                'tensorrt (its libraries are not on PyPI)')
    try:
        check_version(tensorrt)
    except EngineUnavailable as error:
        return str(error)
    try:
        import torch
    except ImportError:
        return 'GPU memory is held in torch tensors and torch is not installed: pip install torch (a CUDA build)'
    if not torch.cuda.is_available():
        return f'torch {torch.__version__} cannot use the GPU: install a CUDA build that fits the driver'
    return None


def local_plan(onnx_file: Path, precision: str) -> PlanFile:
    """Where the plan of a file of a network lies, or will lie, for TensorRT and the GPU of this process.

    Raises EngineUnavailable where TensorRT cannot run.
    """
    missing = missing_for_tensorrt()
    if missing:
        raise EngineUnavailable(f"backend 'tensorrt' cannot run here: {missing}")
    import tensorrt
    import torch

    target = PlanTarget(f'tensorrt {tensorrt.__version__}', _driver_version(), torch.cuda.get_device_name(),
                        '.'.join(map(str, torch.cuda.get_device_capability())))
    return PlanFile.of(tensorrt_file(onnx_file, precision), precision, target)


def obtain_plan(onnx_file: Path, precision: str, report: Report | None = None, workspace_bytes: int = DEFAULT_WORKSPACE_BYTES,
                again: bool = False) -> bytes:
    """The plan of a file of a network: from the cache, else built now (minutes), or by the process that is building it already.

    report: told the progress; the log is, where there is none. again: build also what is in the cache.
    """
    plan = local_plan(onnx_file, precision)
    import tensorrt

    if again:
        plan.path.unlink(missing_ok=True)

    def build(timing_cache: bytes, tell: Report) -> Any:
        _LOG.warning('building a TensorRT engine for %s; this takes minutes and is done once', onnx_file.name)
        return build_plan(tensorrt, plan.onnx_file, tell, workspace_bytes, timing_cache)
    return plan.obtain(build, report or partial(_log_progress, onnx_file.name))


def _log_progress(name: str, progress: BuildProgress) -> None:
    _LOG.info('%s: %.0f %%, %s', name, 100 * progress.fraction, progress.phase)


def _driver_version() -> str:
    """Such as 570.86.15; the CUDA version that it supports where the management library is not there."""
    try:
        management = ctypes.CDLL('libnvidia-ml.so.1')
        version = ctypes.create_string_buffer(80)
        if not management.nvmlInit_v2() and not management.nvmlSystemGetDriverVersion(version, len(version)):
            return version.value.decode()
    except OSError:
        pass
    number = ctypes.c_int()
    ctypes.CDLL('libcuda.so.1').cuDriverGetVersion(ctypes.byref(number))
    return f'CUDA {number.value}'


class TensorRtTensors:
    """An exported graph on the current CUDA device, torch tensors in and out; nothing is copied to the host or waited for.

    shapes: of the inputs, dtypes: theirs. Outputs are the same tensors in every call: copy what has to outlast the next one.
    """

    def __init__(self, onnx_file: Path, precision: str = 'f32') -> None:
        plan = obtain_plan(onnx_file, precision)
        import tensorrt
        import torch

        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise ValueError(f'TensorRT {tensorrt.__version__} does not load its own engine of {onnx_file.name}: '
                             f'build it again (occ build NAME --again)')
        self._context = self._engine.create_execution_context()
        kinds = {'FLOAT': torch.float32, 'HALF': torch.float16, 'INT32': torch.int32, 'INT64': torch.int64,
                 'UINT8': torch.uint8, 'INT8': torch.int8, 'BOOL': torch.bool}
        self.inputs: dict[str, torch.Tensor] = {}
        self.outputs: dict[str, torch.Tensor] = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            # zeros: what lies in empty memory is no row that a table may point at
            tensor = torch.zeros(tuple(self._engine.get_tensor_shape(name)), dtype=kinds[self._engine.get_tensor_dtype(name).name],
                                 device='cuda')
            self._context.set_tensor_address(name, tensor.data_ptr())
            is_input = self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
            (self.inputs if is_input else self.outputs)[name] = tensor
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(tensor.shape) for name, tensor in self.inputs.items()}
        self.description = f'tensorrt {tensorrt.__version__}, {torch.cuda.get_device_name()}, {precision}'

    def launch(self) -> None:
        """Compute outputs from inputs, in the current CUDA stream."""
        import torch

        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError('TensorRT refused to run the engine; see its log lines above')


class TensorRtSession:
    """An exported graph on the current CUDA device, arrays in and out; see graph_engine.Session."""

    def __init__(self, onnx_file: Path, precision: str = 'f32') -> None:
        self._graph = TensorRtTensors(onnx_file, precision)
        self.shapes, self.description = self._graph.shapes, self._graph.description
        import torch

        self._stream = torch.cuda.Stream()
        self._staged = {name: tensor.cpu().pin_memory() for name, tensor in {**self._graph.inputs, **self._graph.outputs}.items()}

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See Session.run."""
        import torch

        with torch.cuda.stream(self._stream):
            for name, tensor in self._graph.inputs.items():
                np.copyto(self._staged[name].numpy(), feeds[name], casting='same_kind')
                tensor.copy_(self._staged[name], non_blocking=True)
            self._graph.launch()
            for name, tensor in self._graph.outputs.items():
                self._staged[name].copy_(tensor, non_blocking=True)
        self._stream.synchronize()
        return {name: self._staged[name].numpy().copy() for name in self._graph.outputs}


def open_on_device(files: Sequence[Path], precision: str, row: NetworkEntry, memory: str) -> Engine:
    """An exported network with frames that stay on the GPU; plans that are missing are built."""
    graphs = [TensorRtTensors(file, precision) for file in files]
    import torch

    from occ_perception.engines.device_engine import DeviceEngine
    return DeviceEngine(graphs, row, torch.device('cuda'), memory)


def building_command(files: Sequence[Path], precision: str) -> list[str]:
    """Command that builds the plans of files in a process of its own, see building.Build."""
    return [sys.executable, '-m', __name__, precision, *map(str, files)]


def _main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument('precision')
    options.add_argument('file', type=Path, nargs='+')
    chosen = options.parse_args()

    def report(number: int, progress: BuildProgress) -> None:
        share = (number + progress.fraction) / len(chosen.file)
        print(json.dumps(asdict(replace(progress, fraction=share))), flush=True)
    try:
        for number, file in enumerate(chosen.file):
            obtain_plan(file, chosen.precision, partial(report, number))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == '__main__':
    _main()

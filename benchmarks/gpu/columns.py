"""What is measured of one network on one device: PyTorch in its forms, `torch.compile` with CUDA graphs, TensorRT.

A column is a call that takes a frame to labels. Every step measures its columns in turn with eager PyTorch float32, so that each
has its denominator from the same minute. `..._host` columns begin with image bytes and geometry in the host's memory and end with
labels there (Engine.infer), `..._host_two` columns do so for several frames, two of them under way, and tell the time of one; the
others have all inputs on the device and leave the labels there.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from benchmarks.full_history import full_memory, network_of
from benchmarks.gpu.frame_step import FrameStep, frame_tensors
from benchmarks.gpu.timing import best_ms, interleaved_ms, summary
from benchmarks.gpu.work_done import WorkDone, floor_ms, flop_rate, measured_peaks
from occ_perception.catalogue import entry
from occ_perception.engines.example_inputs import example_inputs
from occ_perception.engines.torch_engine import TorchEngine
from occ_perception.networks.flashocc.network import FlashOcc

TORCH, COMPILED, TENSORRT = 'torch', 'compile', 'tensorrt'
EAGER = 'torch_f32'
Call = Callable[[], Any]


class RowBench:
    """One network on one device, with its inputs; `measure` does one step. runs: timed calls of each column."""

    def __init__(self, name: str, device: torch.device, runs: int) -> None:
        self.row, self.device, self._runs = entry(name), device, runs
        torch.backends.cudnn.benchmark = True
        self._network = network_of(self.row)
        caps = self.row.frustum.default_caps(len(self.row.cameras))
        self._images, _ = example_inputs(self.row, caps)
        self._slots = caps.slots
        self._engine = TorchEngine(copy.deepcopy(self._network))
        self._places = full_memory(self._engine, self.row, self._images)
        self._eager = FrameStep(copy.deepcopy(self._network).to(device), caps.slots)
        self._tensors = frame_tensors(self._eager, self.row, self._images, self._places, device)
        self._folder: tempfile.TemporaryDirectory | None = None
        self._expected = self._strict_labels()

    @torch.inference_mode()
    def measure(self, step: str) -> dict[str, Any]:
        """Figures of one step: {'columns': {name: figures}}, for 'torch' also {'about': figures of the network}."""
        kind, _, precision = step.partition('_')
        frames: dict[str, int] = {}
        makers: dict[str, Callable[[], Call]] = {EAGER: lambda: partial(self._eager, *self._tensors)}
        if kind == TORCH:
            makers[f'{EAGER}_channels_last'] = self._channels_last
            if self.device.type == 'cuda':
                makers['torch_f16'] = lambda: self._autocast(self._channels_last())
            makers[f'{EAGER}_host'] = self._host
        elif kind == COMPILED:
            makers[step] = lambda: self._compiled(precision)
        else:
            from benchmarks.gpu.tensorrt_columns import FRAMES, tensorrt_calls

            calls = cache(partial(tensorrt_calls, self.row, self._network, self._exported_to(), precision, self._images))
            makers |= {f'{EAGER}_host': self._host, step: lambda: calls()[0], f'{step}_host': lambda: calls()[1],
                       f'{step}_host_two': lambda: calls()[2]}
            frames[f'{step}_host_two'] = FRAMES
        columns = self._columns(makers, frames)
        return {'columns': columns} | ({'about': self._about()} if kind == TORCH else {})

    def close(self) -> None:
        """Give back files and memory."""
        if self._folder is not None:
            self._folder.cleanup()
        torch.compiler.reset()
        self.__dict__.clear()

    def _columns(self, makers: dict[str, Callable[[], Call]], frames: dict[str, int]) -> dict[str, dict[str, Any]]:
        """Figures of every call, for one frame each. frames: of calls that do several."""
        counters.clear()
        calls: dict[str, Call] = {}
        columns: dict[str, dict[str, Any]] = {}
        for name, make in makers.items():
            before, began = self._memory_in_use(), time.perf_counter()
            calls[name] = make()
            labels = _labels(calls[name]())
            columns[name] = {'labels_as_torch_f32': round(float((labels == self._expected).mean()), 5),
                             'first_s': round(time.perf_counter() - began, 2)}
            if before is not None:
                columns[name]['card_mib'] = round(((self._memory_in_use(False) or 0) - before) / 2 ** 20)
        for name, times in interleaved_ms(calls, self.device, self._runs).items():
            columns[name] |= summary([time_ms / frames.get(name, 1) for time_ms in times])
        for name, figures in columns.items():
            if name.startswith(COMPILED):  # parts that run without a CUDA graph; 0 is what is meant
                figures['cuda_graph_skips'] = counters['inductor']['cudagraph_skips']
        return columns

    def _memory_in_use(self, emptied: bool = True) -> int | None:
        """Bytes of the card that are taken, by anybody; None on a CPU."""
        if self.device.type != 'cuda':
            return None
        torch.cuda.synchronize()
        if emptied:
            torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        return total - free

    def _channels_last(self) -> Call:
        step = FrameStep(_in_channels_last(copy.deepcopy(self._network).to(self.device)), self._slots)
        return partial(step, *self._tensors)

    def _autocast(self, call: Call) -> Call:
        def narrow() -> Any:
            with torch.autocast(self.device.type, torch.float16):
                return call()
        return narrow

    def _host(self) -> Call:
        return lambda: self._engine.infer(self._images, self._places).labels

    def _compiled(self, precision: str) -> Call:
        network = _in_channels_last(copy.deepcopy(self._network).to(self.device))
        step = torch.compile(FrameStep(network, self._slots), mode='reduce-overhead', dynamic=False)

        def run() -> Any:
            torch.compiler.cudagraph_mark_step_begin()
            with torch.autocast(self.device.type, torch.float16) if precision == 'f16' else nullcontext():
                return step(*self._tensors)
        for _ in range(3):  # compile, warm up, record the graphs
            run()
        return run

    def _exported_to(self) -> Path:
        """Where the network's ONNX files are, or are to be, for as long as this row is measured."""
        self._folder = self._folder or tempfile.TemporaryDirectory()
        return Path(self._folder.name) / f'{self.row.name}.onnx'

    @torch.inference_mode()
    def _strict_labels(self) -> np.ndarray:
        """Labels of eager PyTorch in true float32, without TF32."""
        allowed = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        try:
            return _labels(self._eager(*self._tensors))
        finally:
            torch.backends.cudnn.allow_tf32 = allowed

    def _about(self) -> dict[str, Any]:
        """What the figures of every column are held against."""
        with WorkDone() as work:
            outputs = self._eager(*self._tensors)
        peaks = measured_peaks(self.device, partial(best_ms, device=self.device))
        border = [*self._eager.parameters(), *self._eager.buffers(), *self._tensors, *outputs]
        floors = {precision: floor_ms(work, border, flop_rate(peaks, precision), 1e9 * peaks['copy'], precision)
                  for precision in (('f32', 'f16', 'int8') if self.device.type == 'cuda' else ('f32',))}
        return {'weights': 'shipped' if self.row.weights else 'random', 'frames': self.row.frames,
                'gflop': round(work.flops / 1e9, 1), 'peaks': peaks, 'floor_ms': floors,
                'tf32_in_convolutions': self.device.type == 'cuda' and torch.backends.cudnn.allow_tf32}


def _in_channels_last(network: FlashOcc) -> FlashOcc:
    """Two-dimensional convolutions in the layout that GPUs prefer; volumes stay as they are (as in TorchEngine)."""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _labels(result: Any) -> np.ndarray:
    """Labels of a call, which are its result or the first of several."""
    found = result[0] if isinstance(result, tuple | list) else result
    return found.cpu().numpy().copy() if isinstance(found, Tensor) else found.copy()

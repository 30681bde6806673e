"""The least time a frame can take: its arithmetic over the measured speed of matrix products, its bytes over that of copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

BYTES = {'f32': 4, 'f16': 2, 'int8': 1}
"""Of one number, by precision."""


class WorkDone(TorchDispatchMode):
    """Counts what runs under it. layers: (floating-point operations, numbers read and written) of every convolution and product."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[tuple[int, int]] = []

    @property
    def flops(self) -> int:
        """Two per multiply-add, of convolutions and matrix products alone."""
        return sum(flops for flops, _ in self.layers)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        counted = flop_registry.get(func._overloadpacket)
        if counted is None and func is not torch.ops.prim.device.default:
            with self:  # under inference mode composite operators arrive whole
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if counted is not None:
            touched = sum(leaf.numel() for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor))
            self.layers.append((counted(*args, **kwargs, out_val=result), touched))
        return result


def floor_ms(work: WorkDone, border: Iterable[Tensor], flop_per_s: float, bytes_per_s: float, precision: str) -> dict[str, float]:
    """Two lower bounds in milliseconds.

    border: weights, inputs and outputs, each moved once. `whole`: all arithmetic at full speed, or the border's bytes, whichever is
    longer: nothing is faster. `layers`: the same layer by layer with every layer's numbers read and written, all else free: what a
    runtime that fuses everything between convolutions could reach.
    """
    size = BYTES[precision]
    moved = sum(tensor.numel() * (size if tensor.is_floating_point() else tensor.element_size()) for tensor in border)
    layers = sum(max(flops / flop_per_s, size * numbers / bytes_per_s) for flops, numbers in work.layers)
    return {'whole': round(1e3 * max(work.flops / flop_per_s, moved / bytes_per_s), 3), 'layers': round(1e3 * layers, 3)}


def measured_peaks(device: torch.device, milliseconds: Callable[[Callable[[], object]], float]) -> dict[str, float]:
    """What this device does at best: `f32`, `tf32`, `f16`, `int8` products in 1e12 operations/s, `copy` in 1e9 bytes/s.

    milliseconds: best time of a call. Products of 8192 x 8192 matrices of random numbers (1024 on a CPU), a copy of 1 GiB (64 MiB),
    read and written bytes both counted. A precision that PyTorch cannot multiply there is left out.
    """
    gpu = device.type == 'cuda'
    side = 8192 if gpu else 1024
    a, b = torch.randn(2, side, side, device=device)
    peaks: dict[str, float] = {}

    def product(name: str, call: Callable[[], object]) -> None:
        try:
            peaks[name] = round(2e-9 * side ** 3 / milliseconds(call), 3)
        except (RuntimeError, NotImplementedError):
            return

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    product('f32', lambda: a @ b)
    if gpu:
        torch.set_float32_matmul_precision('high')
        product('tf32', lambda: a @ b)
        a_half, b_half = a.half(), b.half()
        product('f16', lambda: a_half @ b_half)
        a_byte, b_byte = ((16 * x).clamp(-127, 127).to(torch.int8) for x in (a, b))
        product('int8', lambda: torch._int_mm(a_byte, b_byte.t()))
    torch.set_float32_matmul_precision(before)
    source = torch.randint(0, 255, (2 ** (30 if gpu else 26),), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    peaks['copy'] = round(2e-6 * source.numel() / milliseconds(lambda: target.copy_(source)), 1)
    return peaks


def flop_rate(peaks: Mapping[str, float], precision: str) -> float:
    """Operations per second that a precision may count on; float32 is allowed TF32, as convolutions are by default."""
    names = {'f32': ('f32', 'tf32'), 'f16': ('f16', 'f32'), 'int8': ('int8', 'f16', 'f32')}[precision]
    known = [peaks[name] for name in names if name in peaks]
    return 1e12 * (max(known) if precision == 'f32' else known[0])

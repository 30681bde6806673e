"""How fast this processor multiplies: what floors are told against."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

EDGE, RUNS = 2048, 6


def product_flops(precision: str = 'f32') -> float:
    """Floating-point operations per second (two per multiply-add) of a large matrix product on all cores; precision: f32 or bf16.

    The fastest of several runs, in PyTorch or in OpenVINO, whichever is the faster: PyTorch's own library leaves half of some
    processors unused, and a floor taken from it alone would lie above what OpenVINO really takes.
    """
    a, b = np.random.default_rng(0).random((2, EDGE, EDGE), np.float32)
    kind = {'f32': torch.float32, 'bf16': torch.bfloat16}[precision]
    first, second = torch.from_numpy(a).to(kind), torch.from_numpy(b).to(kind)
    product = _openvino_product(b, precision)
    return 2 * EDGE ** 3 / min(_fastest(lambda: first @ second), _fastest(lambda: product(a)))


def _openvino_product(constant: np.ndarray, precision: str) -> Callable[[np.ndarray], object]:
    import openvino
    from openvino import opset13 as operators

    given = operators.parameter([EDGE, EDGE], np.float32)
    model = openvino.Model([operators.matmul(given, operators.constant(constant), False, False)], [given])
    compiled = openvino.compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': precision})
    return lambda a: compiled([a])


def _fastest(call: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)

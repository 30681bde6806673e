"""Brings camera images to network size on a device, pixel by pixel as Pillow does it on the host (runtime.intake.image.fit)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from occ_perception.catalogue import ImagePreprocessing

FRACTION_BITS = 22
"""Pillow weighs bytes with whole numbers of so many bits behind the point (8 for the pixel, 2 for sums that overshoot)."""


def fit_on_device(images: Tensor, preprocessing: ImagePreprocessing) -> Tensor:
    """(M, H, W, 3) uint8 images of one size -> (M, input_height, input_width, 3) uint8 on the same device.

    Resized with antialiasing as preprocessing.resample says, then the bottom rows are kept; black rows on top where the image is
    too flat. Two passes of 32-bit whole numbers with a rounding to bytes between them, as in Pillow: the same pixels.
    """
    height, width = images.shape[1:3]
    network_height, network_width = preprocessing.input_height, preprocessing.input_width
    if (height, width) == (network_height, network_width):
        return images
    resized_height = height * network_width // width
    top = resized_height - network_height
    rows = _weights(height, resized_height, preprocessing.resample, max(top, 0), images.device)
    columns = _weights(width, network_width, preprocessing.resample, 0, images.device)
    across = _weigh(images[:, rows.start:rows.stop], 2, columns)
    fitted = _weigh(across, 1, rows)
    if top < 0:
        fitted = torch.cat([fitted.new_zeros(len(fitted), -top, network_width, 3), fitted], 1)
    return fitted


class _Weights(NamedTuple):
    """Of one axis. start, stop: source pixels that matter; source: (K, out) int64 counted from start; taps: (K, out) int32."""

    start: int
    stop: int
    source: Tensor
    taps: Tensor


@lru_cache(maxsize=64)
def _weights(size: int, wanted: int, resample: str, skipped: int, device: torch.device) -> _Weights:
    """Pillow's weights of a resize from `size` to `wanted` pixels, without the first `skipped` target pixels."""
    scale = size / wanted
    stretch = max(scale, 1.0)
    reach = {'bicubic': 2.0, 'bilinear': 1.0}[resample] * stretch
    count = math.ceil(reach) * 2 + 1
    first = np.zeros(wanted, np.int64)
    taps = np.zeros((count, wanted), np.int32)
    for target in range(wanted):
        center = (target + 0.5) * scale
        low = max(int(center - reach + 0.5), 0)
        high = min(int(center + reach + 0.5), size)
        weights = [_KERNELS[resample]((source - center + 0.5) * (1 / stretch)) for source in range(low, high)]
        total = sum(weights)
        first[target] = low
        for tap, weight in enumerate(weights):
            share = weight / total * (1 << FRACTION_BITS)
            taps[tap, target] = int(share - 0.5 if share < 0 else share + 0.5)
    source = np.minimum(first + np.arange(count)[:, None], size - 1)[:, skipped:]
    start = int(source.min())
    return _Weights(start, int(source.max()) + 1, torch.from_numpy(source - start).to(device),
                    torch.from_numpy(np.ascontiguousarray(taps[:, skipped:])).to(device))


def _bicubic(x: float, a: float = -0.5) -> float:
    x = abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


def _bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


_KERNELS = {'bicubic': _bicubic, 'bilinear': _bilinear}


def _weigh(images: Tensor, axis: int, weights: _Weights) -> Tensor:
    """Weighted sums along an axis of (M, H, W, 3) bytes, rounded to bytes."""
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    total = torch.full((), 1 << (FRACTION_BITS - 1), dtype=torch.int32, device=images.device)
    for source, tap in zip(weights.source, weights.taps, strict=True):
        total = total + images.index_select(axis, source) * tap.view(shape)
    return (total >> FRACTION_BITS).clamp_(0, 255).to(torch.uint8)

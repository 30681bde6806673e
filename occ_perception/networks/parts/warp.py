"""Remembered maps, moved under the present one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp_map(past: Tensor, warp: Tensor) -> Tensor:
    """(B, C, [Z,] Y, X) maps and (B, 2, 3) of geometry.map_warp -> the same shape; zero where the past map does not reach."""
    height, width = past.shape[-2:]
    v = torch.linspace(-1, 1, height, device=past.device).view(1, -1, 1)
    u = torch.linspace(-1, 1, width, device=past.device).view(1, 1, -1)
    x, y = (warp[:, axis, 0, None, None] * u + warp[:, axis, 1, None, None] * v + warp[:, axis, 2, None, None] for axis in (0, 1))
    flat, grid = past.flatten(1, -3), torch.stack([x, y], -1)
    return F.grid_sample(flat, grid, mode='bilinear', padding_mode='zeros', align_corners=True).reshape(past.shape)

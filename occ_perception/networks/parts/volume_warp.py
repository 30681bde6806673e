"""Remembered volumes, moved under the present one, with the operators of flat maps (ONNX samples volumes from version 20 on)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp_volume(past: Tensor, past_from_present: Tensor) -> Tensor:
    """(C, Z, Y, X) volume and (4, 4) motion in units of half extents about the volume's middle (x, y, z in -1..1), see
    geometry.volume_warp -> the same shape; trilinear between voxel centres, zero where the past volume does not reach."""
    channels, depth, height, width = past.shape
    z, y, x = ((2 * torch.arange(size, device=past.device, dtype=past.dtype) + 1) / size - 1 for size in (depth, height, width))
    move = past_from_present
    at = [move[axis, 0] * x + move[axis, 1] * y[:, None] + move[axis, 2] * z[:, None, None] + move[axis, 3] for axis in range(3)]
    layer = ((at[2] + 1) * depth - 1) / 2
    below = layer.floor()
    # layers one below the other, a row of zeros above and below each: sampling between rows then stays within a layer
    rows = height + 2
    tall = F.pad(past, (0, 0, 1, 1)).flatten(1, 2)[None]
    row = (((at[1] + 1) * height - 1) / 2 + 1).clamp(0, rows - 1)
    total = torch.zeros_like(past)
    for step, share in ((0, 1 - (layer - below)), (1, layer - below)):
        index = below + step
        inside = (index >= 0) & (index < depth)
        line = index.clamp(0, depth - 1) * rows + row
        grid = torch.stack([at[0], (2 * line + 1) / (depth * rows) - 1], -1)
        sampled = F.grid_sample(tall, grid.flatten(0, 1)[None], mode='bilinear', padding_mode='zeros', align_corners=False)[0]
        total = total + sampled.reshape(channels, depth, height, width) * (share * inside)
    return total

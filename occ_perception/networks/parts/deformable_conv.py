"""Deformable convolutions in plain operators: version 2 (ResNet) and version 3 (InternImage).

Zhu et al., "Deformable ConvNets v2" (CVPR 2019); Wang et al., "InternImage" (CVPR 2023).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from occ_perception.networks.parts.deformable_attention import attended, chunks, heads_of

_KERNEL = 3
_TAPS = _KERNEL * _KERNEL


class DeformableConv2d(nn.Module):
    """3 x 3 convolution that keeps the size, its taps moved and weighed by what is seen (modulated, version 2), without bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, _KERNEL, _KERNEL))
        nn.init.kaiming_uniform_(self.weight, a=5 ** 0.5)
        self.conv_offset = nn.Conv2d(in_channels, 3 * _TAPS, _KERNEL, 1, 1)
        for parameter in self.conv_offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, H, W) -> (M, out_channels, H, W)."""
        images, _, height, width = x.shape
        moved = self.conv_offset(x)
        # channels of an offset: y and x of one tap after the other; behind them the taps' weights
        offsets = moved[:, :2 * _TAPS].unflatten(1, (_TAPS, 2))
        weights = moved[:, 2 * _TAPS:].sigmoid()
        rows, columns = (torch.arange(size, device=x.device, dtype=x.dtype) for size in (height, width))
        tap = torch.arange(_TAPS, device=x.device)
        y = rows[:, None] + (tap // _KERNEL - 1)[:, None, None] + offsets[:, :, 0]
        at = columns + (tap % _KERNEL - 1)[:, None, None] + offsets[:, :, 1]
        grid = torch.stack([(2 * at + 1) / width - 1, (2 * y + 1) / height - 1], -1)
        kernel = self.weight.flatten(2)
        out = []
        for image in range(images):
            samples = F.grid_sample(x[image:image + 1], grid[image:image + 1].flatten(2, 3), align_corners=False)[0]
            samples = samples * weights[image].flatten(1)
            out.append((kernel.flatten(1) @ samples.flatten(0, 1)).unflatten(-1, (height, width)))
        return torch.stack(out)


class ToChannelsLast(nn.Module):
    """(M, C, H, W) -> (M, H, W, C), normed over the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1))


class DeformableConv3(nn.Module):
    """Version 3 as PanoOcc's large backbone has it: per group nine taps, weights by softmax, shared by the group's channels.

    offset_scale: how far apart the taps are, in pixels.
    """

    def __init__(self, channels: int, groups: int, offset_scale: float) -> None:
        super().__init__()
        self.groups, self.offset_scale = groups, offset_scale
        self.dw_conv = nn.Sequential(nn.Conv2d(channels, channels, _KERNEL, 1, 1, groups=channels), ToChannelsLast(channels),
                                     nn.GELU())
        self.sampling_offsets = nn.Linear(channels, groups * _TAPS * 2)
        self.attention_weights = nn.Linear(channels, groups * _TAPS)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(M, H, W, C) -> the same shape."""
        images, height, width, channels = x.shape
        # one pixel of zeros around, so that what is sampled beyond it is zero as well
        value = F.pad(self.value_proj(x), (0, 0, 1, 1, 1, 1))
        seen = self.dw_conv(x.permute(0, 3, 1, 2)).flatten(1, 2)
        size = value.shape[1:3]
        reach = x.new_tensor([size[1], size[0]])
        tap = torch.arange(_TAPS, device=x.device)
        grid = torch.stack([tap // _KERNEL - 1, tap % _KERNEL - 1], -1).to(x.dtype)  # x is the slow one, as published
        out = []
        for image in range(images):
            maps = heads_of(value[image].flatten(0, 1), size[0], size[1], self.groups)
            parts = []
            for part in chunks(height * width, _TAPS * channels):
                offsets = self.sampling_offsets(seen[image, part]).unflatten(-1, (self.groups, _TAPS, 2))
                weights = self.attention_weights(seen[image, part]).unflatten(-1, (self.groups, _TAPS)).softmax(-1)
                number = torch.arange(part.start, part.stop, device=x.device)
                own = torch.stack([number % width, number // width], -1) + 1.5
                at = (own[:, None, None] + self.offset_scale * (grid + offsets)) / reach
                parts.append(attended(maps, at, weights))
            out.append(torch.cat(parts))
        return self.output_proj(torch.stack(out)).unflatten(1, (height, width))

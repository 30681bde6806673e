"""SECOND: the two-stage map encoder of LiDAR detectors, and its neck (Yan et al., Sensors 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01), nn.ReLU()]


class Second(nn.Module):
    """Stages of 3x3 convolutions without bias, batch norm, ReLU; the first of each stage carries its stride."""

    def __init__(self, in_channels: int, widths: Sequence[int] = (128, 256), more: Sequence[int] = (5, 5),
                 strides: Sequence[int] = (1, 2)) -> None:
        super().__init__()
        stages = []
        for width, count, stride in zip(widths, more, strides, strict=True):
            layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 3, stride, 1, bias=False), *_norm_relu(width)]
            for _ in range(count):
                layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), *_norm_relu(width)]
            stages.append(nn.Sequential(*layers))
            in_channels = width
        self.blocks = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(M, C, Y, X) -> one map per stage."""
        maps = []
        for stage in self.blocks:
            x = stage(x)
            maps.append(x)
        return maps


class SecondFpn(nn.Module):
    """Every map brought to the size of the first, by a transposed convolution of kernel = stride, and concatenated."""

    def __init__(self, in_channels: Sequence[int] = (128, 256), out_channels: Sequence[int] = (256, 256),
                 strides: Sequence[int] = (1, 2)) -> None:
        super().__init__()
        self.deblocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inward, out, 1, bias=False) if stride == 1
                          else nn.ConvTranspose2d(inward, out, stride, stride, bias=False), *_norm_relu(out))
            for inward, out, stride in zip(in_channels, out_channels, strides, strict=True))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(M, C_i, Y / s_i, X / s_i), ...] -> (M, sum of out_channels, Y, X)."""
        return torch.cat([deblock(x) for deblock, x in zip(self.deblocks, maps, strict=True)], 1)

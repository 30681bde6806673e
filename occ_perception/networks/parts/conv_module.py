"""Convolution, batch norm and ReLU under the keys `conv` and `bn`, as the published checkpoints name them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvModule(nn.Module):
    """2-D or 3-D convolution that keeps the size at stride 1; with norm, a batch norm takes the place of the bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, dimensions: int = 2,
                 norm: bool = False, relu: bool = False) -> None:
        super().__init__()
        convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
        self.conv = convolution(in_channels, out_channels, kernel, stride, kernel // 2, bias=not norm)
        if norm:
            self.bn = nn.BatchNorm2d(out_channels) if dimensions == 2 else nn.BatchNorm3d(out_channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if hasattr(self, 'bn'):
            x = self.bn(x)
        return torch.relu(x) if self.relu else x

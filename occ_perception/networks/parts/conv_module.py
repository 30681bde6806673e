"""A convolution under the key `conv`, as the published checkpoints name it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvModule(nn.Module):
    """Convolution with bias and no norm, optionally followed by ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, relu: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return torch.relu(x) if self.relu else x

"""Coordinate attention: gates a map by what its rows and its columns hold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CoordinateAttention(nn.Module):
    """(M, C, Y, X) -> (M, C, Y, X), gated by one weight per channel and row times one per channel and column."""

    def __init__(self, channels: int, reduction: int = 32) -> None:
        super().__init__()
        middle = max(8, channels // reduction)
        self.conv1 = nn.Conv2d(channels, middle, 1)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv_h = nn.Conv2d(middle, channels, 1)
        self.conv_w = nn.Conv2d(middle, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.mean(3, keepdim=True)
        columns = x.mean(2, keepdim=True).transpose(2, 3)
        both = F.hardswish(self.bn1(self.conv1(torch.cat([rows, columns], 2))))
        row, column = both.split([x.shape[2], x.shape[3]], 2)
        return x * torch.sigmoid(self.conv_w(column.transpose(2, 3))) * torch.sigmoid(self.conv_h(row))

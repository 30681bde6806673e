"""Multi-scale spatial-channel attention fusion, SCOcc's block after every stage of the BEV encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _branch(channels: int, dilation: int) -> nn.Sequential:
    kernel = 3 if dilation else 1
    return nn.Sequential(nn.Conv2d(channels, channels, kernel, padding=dilation, dilation=dilation or 1),
                         nn.BatchNorm2d(channels), nn.ReLU())


class _ChannelGate(nn.Module):
    """One non-negative scalar per sample."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.fc(x.mean((2, 3), keepdim=True)))


class _SpatialGate(nn.Module):
    """One weight in 0..1 per cell."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.Conv1x1 = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.Conv1x1(x))


class _Merge(nn.Module):
    """The larger of the channel-gated and the spatially gated features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = _ChannelGate(channels)
        self.spatial = _SpatialGate(channels)

    def forward(self, x: Tensor) -> Tensor:
        # x >= 0 (it comes from ReLUs), so max(x * c, x * s) = x * max(c, s)
        return x * torch.maximum(self.channel(x), self.spatial(x))


class Mscf(nn.Module):
    """(M, C, H, W) -> (M, C, H, W): five views of the map (1x1, dilated 3x3, global mean), gated and fused."""

    def __init__(self, channels: int, dilations: tuple[int, int, int] = (6, 12, 18)) -> None:
        super().__init__()
        self.branch1 = _branch(channels, 0)
        self.branch2 = _branch(channels, dilations[0])
        self.branch3 = _branch(channels, dilations[1])
        self.branch4 = _branch(channels, dilations[2])
        self.branch5_conv = nn.Conv2d(channels, channels, 1)
        self.branch5_bn = nn.BatchNorm2d(channels)
        self.conv_cat = nn.Sequential(nn.Conv2d(5 * channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU())
        self.merge = _Merge(5 * channels)

    def forward(self, x: Tensor) -> Tensor:
        whole = torch.relu(self.branch5_bn(self.branch5_conv(x.mean((2, 3), keepdim=True)))).expand(x.shape)
        views = torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x), whole], 1)
        return self.conv_cat(self.merge(views) * views)

"""Residual encoder and neck of the voxel feature volume (the BEVDet-Occ line, which keeps its height cells)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from occ_perception.networks.parts.conv_module import ConvModule


class BasicBlock3d(nn.Module):
    """Two 3x3x3 convolutions around a shortcut, which is a 3x3x3 convolution with norm where project is set."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1, project: bool = False) -> None:
        super().__init__()
        self.conv1 = ConvModule(in_channels, channels, 3, stride, dimensions=3, norm=True, relu=True)
        self.conv2 = ConvModule(channels, channels, 3, dimensions=3, norm=True)
        if project:
            self.downsample = ConvModule(in_channels, channels, 3, stride, dimensions=3, norm=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x) if hasattr(self, 'downsample') else x
        return torch.relu(self.conv2(self.conv1(x)) + shortcut)


class CustomResNet3d(nn.Module):
    """Stages of basic blocks; the first block of a stage has a convolution in its shortcut even when it keeps the size."""

    def __init__(self, in_channels: int, widths: Sequence[int], blocks: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        stages = []
        for width, count, stride in zip(widths, blocks, strides, strict=True):
            stages.append(nn.Sequential(BasicBlock3d(in_channels, width, stride, project=True),
                                        *(BasicBlock3d(width, width) for _ in range(count - 1))))
            in_channels = width
        self.layers = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(M, in_channels, Z, Y, X) -> one volume per stage, finest first."""
        volumes = []
        for stage in self.layers:
            x = stage(x)
            volumes.append(x)
        return volumes


class LssFpn3d(nn.Module):
    """Upsamples every volume to the size of the finest, concatenates, and mixes with a 1x1x1 convolution (LSSFPN3D).

    A 1x1x1 convolution commutes with linear upsampling, so each volume is mixed at its own size and the results are added:
    the same sum, with a third of the channels to upsample for BEVDet-Occ.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.in_channels = tuple(in_channels)
        self.conv = ConvModule(sum(in_channels), out_channels, 1, dimensions=3, norm=True, relu=True)

    def forward(self, volumes: Sequence[Tensor]) -> Tensor:
        """[(M, C_i, Z / s_i, Y / s_i, X / s_i), ...], finest first -> (M, out_channels, Z, Y, X)."""
        size = volumes[0].shape[-3:]
        finest, *coarse = (F.conv3d(volume, kernel) for volume, kernel in
                           zip(volumes, self.conv.conv.weight.split(self.in_channels, 1), strict=True))
        for volume in coarse:
            finest = finest + F.interpolate(volume, size=size, mode='trilinear', align_corners=True)
        return torch.relu(self.conv.bn(finest))

"""Residual image backbones with the key names of the published checkpoints (conv1, bn1, layer1.0.conv1 ...)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from occ_perception.networks.parts.deformable_conv import DeformableConv2d


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times the channels, around a shortcut.

    caffe: the first convolution carries the stride, not the second. deformable: the second is a deformable one (caffe only).
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None,
                 caffe: bool = False, deformable: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, stride if caffe else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = (DeformableConv2d(channels, channels) if deformable
                      else nn.Conv2d(channels, channels, 3, 1 if caffe else stride, 1, bias=False))
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Stem, max pooling and four stages; returns the maps of the chosen stages, finest first.

    block: 'basic' or 'bottleneck'. widths: channels of each stage before the block's expansion. outputs: stage indices
    (0: stride 4 ... 3: stride 32). caffe, deformable: see Bottleneck; the latter lists the stages that are so.
    """

    def __init__(self, block: str, stem: int, widths: Sequence[int], blocks: Sequence[int], outputs: Sequence[int],
                 caffe: bool = False, deformable: Sequence[int] = ()) -> None:
        super().__init__()
        kind: type[BasicBlock] | type[Bottleneck] = BasicBlock if block == 'basic' else Bottleneck
        self.outputs = tuple(outputs)
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = stem
        self.out_channels = []
        for index, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            layers = []
            for i in range(count):
                stride = 2 if i == 0 and index else 1
                downsample = None
                if stride != 1 or channels != width * kind.expansion:
                    downsample = nn.Sequential(nn.Conv2d(channels, width * kind.expansion, 1, stride, bias=False),
                                               nn.BatchNorm2d(width * kind.expansion))
                layers.append(BasicBlock(channels, width, stride, downsample) if block == 'basic' else
                              Bottleneck(channels, width, stride, downsample, caffe, index in deformable))
                channels = width * kind.expansion
            self.add_module(f'layer{index + 1}', nn.Sequential(*layers))
            if index in self.outputs:
                self.out_channels.append(channels)
        self.stages = len(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(M, 3, H, W) normalised images -> [(M, C_i, H / s_i, W / s_i), ...]."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        maps = []
        for index in range(self.stages):
            x = getattr(self, f'layer{index + 1}')(x)
            if index in self.outputs:
                maps.append(x)
        return maps

"""Residual encoder of the bird's-eye-view map."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from occ_perception.networks.parts.mscf import Mscf
from occ_perception.networks.parts.resnet import BasicBlock


class CustomResNet(nn.Module):
    """Stages of basic blocks; with mscf, SCOcc's fusion block after each, feeding both the neck and the next stage.

    The first block of a stage has a 3x3 shortcut convolution with bias and no norm, even when it keeps the size.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], blocks: Sequence[int], strides: Sequence[int],
                 mscf: bool = False) -> None:
        super().__init__()
        stages = []
        for width, count, stride in zip(widths, blocks, strides, strict=True):
            shortcut = nn.Conv2d(in_channels, width, 3, stride, 1)
            stages.append(nn.Sequential(BasicBlock(in_channels, width, stride, shortcut),
                                        *(BasicBlock(width, width) for _ in range(count - 1))))
            in_channels = width
        self.layers = nn.Sequential(*stages)
        if mscf:
            self.mscf_layers = nn.ModuleList(Mscf(width) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(M, in_channels, Y, X) -> one map per stage, finest first."""
        maps = []
        for index, stage in enumerate(self.layers):
            x = stage(x)
            if hasattr(self, 'mscf_layers'):
                x = self.mscf_layers[index](x)
            maps.append(x)
        return maps

"""Feature pyramid necks: one that gives only the finest map, and the whole pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from occ_perception.networks.parts.conv_module import ConvModule


class CustomFPN(nn.Module):
    """Lateral 1x1 convolutions, nearest-neighbour top-down sums, one 3x3 convolution on the finest map."""

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvModule(c, out_channels, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList([ConvModule(out_channels, out_channels, 3)])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, finest first -> (M, out_channels, H, W) at the size of the first."""
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, maps, strict=True)]
        top = laterals[-1]
        for lateral in reversed(laterals[:-1]):
            top = lateral + F.interpolate(top, size=lateral.shape[-2:], mode='nearest')
        return self.fpn_convs[0](top)


class FPN(nn.Module):
    """The same with a 3x3 convolution on every level, and coarser levels behind, each by a 3x3 convolution of stride 2."""

    def __init__(self, in_channels: Sequence[int], out_channels: int, levels: int) -> None:
        super().__init__()
        given = len(in_channels)
        self.lateral_convs = nn.ModuleList(ConvModule(c, out_channels, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, 1 if level < given else 2)
                                       for level in range(levels))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps, finest first -> (M, out_channels, H, W) of every level, finest first."""
        pyramid = [conv(x) for conv, x in zip(self.lateral_convs, maps, strict=True)]
        for finer in range(len(pyramid) - 2, -1, -1):
            size = pyramid[finer].shape[-2:]
            pyramid[finer] = pyramid[finer] + F.interpolate(pyramid[finer + 1], size=size, mode='nearest')
        out = [conv(x) for conv, x in zip(self.fpn_convs, pyramid)]  # noqa: B905 - levels may go on beyond the maps
        for conv in self.fpn_convs[len(pyramid):]:
            out.append(conv(out[-1]))
        return out

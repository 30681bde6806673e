"""Feature pyramid neck that gives only the finest map."""

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

"""Two-map neck of the BEVDet line: upsample the coarse map, concatenate, convolve, upsample again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn_relu(in_channels: int, out_channels: int, bias: bool = False) -> list[nn.Module]:
    """3x3 convolution, batch norm, ReLU."""
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias), nn.BatchNorm2d(out_channels), nn.ReLU()]


class FpnLss(nn.Module):
    """Joins a fine and a coarse map (FPN_LSS).

    With extra_upsample the result is upsampled twice more through `up2` and `conv` is twice as wide as the output.
    """

    def __init__(self, in_channels: int, out_channels: int, extra_upsample: bool = True) -> None:
        super().__init__()
        width = 2 * out_channels if extra_upsample else out_channels
        self.conv = nn.Sequential(*conv_bn_relu(in_channels, width), *conv_bn_relu(width, width))
        if extra_upsample:
            self.up2 = nn.Sequential(nn.Upsample(scale_factor=2, mode='bilinear', align_corners=True),
                                     *conv_bn_relu(width, out_channels), nn.Conv2d(out_channels, out_channels, 1))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(M, C1, H, W), (M, C2, H / s, W / s) -> (M, out_channels, H, W), or twice that size with extra_upsample."""
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode='bilinear', align_corners=True)
        x = self.conv(torch.cat([fine, coarse], 1))
        return self.up2(x) if hasattr(self, 'up2') else x

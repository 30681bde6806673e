"""Occupancy head on a voxel feature volume: one class decision per voxel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from occ_perception.networks.parts.conv_module import ConvModule

_STRIPS = 20


class OccupancyHead3d(nn.Module):
    """Feature volume (M, C, Z, Y, X) -> class logits of its voxels (BEVOCCHead3D)."""

    def __init__(self, in_channels: int, channels: int, classes: int) -> None:
        super().__init__()
        self.final_conv = ConvModule(in_channels, channels, 3, dimensions=3, relu=True)
        self.predicter = nn.Sequential(nn.Linear(channels, 2 * channels), nn.Softplus(), nn.Linear(2 * channels, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (M, X, Y, Z, classes)."""
        return self.predicter(self.final_conv(x).permute(0, 4, 3, 2, 1))

    def column_logits(self, x: Tensor, columns: Tensor) -> Tensor:
        """Logits (K, Z, classes) of some columns only, by flat index (K,) into (M, X, Y): what training needs of forward."""
        features = self.final_conv(x).permute(0, 4, 3, 2, 1).flatten(0, 2)
        return self.predicter(features.index_select(0, columns))

    def labels(self, x: Tensor) -> Tensor:
        """Likeliest class per voxel, (M, X, Y, Z) int64; the same decision as argmax over forward, cheaper in a graph."""
        return volume_labels(self.final_conv(x), self.predicter)


def volume_labels(features: Tensor, predicter: nn.Sequential) -> Tensor:
    """Likeliest class per voxel, (M, X, Y, Z) int64, of features (M, C, Z, Y, X) by a linear layer, softplus, a linear layer."""
    first, last = predicter[0], predicter[2]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    kernels = [layer.weight[:, :, None, None, None] for layer in (first, last)]
    # in strips: the hidden features of a whole volume are 164 MB and more, its logits 46 MB
    strips = [F.conv3d(F.softplus(F.conv3d(strip, kernels[0], first.bias)), kernels[1], last.bias).argmax(1)
              for strip in features.chunk(_STRIPS, 3)]
    return torch.cat(strips, 2).permute(0, 3, 2, 1)

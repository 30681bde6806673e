"""Occupancy heads on a BEV map: height and class come out of the channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from occ_perception.networks.parts.conv_module import ConvModule
from occ_perception.networks.parts.coordinate_attention import CoordinateAttention

_STRIPS = 8


class OccupancyHead2d(nn.Module):
    """BEV map (M, C, Y, X) -> class logits of the voxels above each cell (BEVOCCHead2D).

    With coordinate_attention, SCOcc's gate stands in front. The last layer's rows are z * classes + class.
    """

    def __init__(self, in_channels: int, channels: int, heights: int, classes: int, coordinate_attention: bool = False) -> None:
        super().__init__()
        self.heights, self.classes = heights, classes
        if coordinate_attention:
            self.coord_att = CoordinateAttention(in_channels)
        self.final_conv = ConvModule(in_channels, channels, 3, relu=True)
        self.predicter = nn.Sequential(nn.Linear(channels, 2 * channels), nn.Softplus(),
                                       nn.Linear(2 * channels, heights * classes))

    def _features(self, x: Tensor) -> Tensor:
        if hasattr(self, 'coord_att'):
            x = self.coord_att(x)
        return self.final_conv(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (M, X, Y, Z, classes)."""
        logits = self.predicter(self._features(x).permute(0, 3, 2, 1))
        return logits.unflatten(-1, (self.heights, self.classes))

    def column_logits(self, x: Tensor, columns: Tensor) -> Tensor:
        """Logits (K, Z, classes) of some columns only, by flat index (K,) into (M, X, Y): what training needs of forward."""
        features = self._features(x).permute(0, 3, 2, 1).flatten(0, 2)
        return self.predicter(features.index_select(0, columns)).unflatten(-1, (self.heights, self.classes))

    def labels(self, x: Tensor) -> Tensor:
        """Likeliest class per voxel, (M, X, Y, Z) int64; the same decision as argmax over forward, cheaper in a graph."""
        return self._decided(self._features(x))

    def _decided(self, features: Tensor) -> Tensor:
        first, last = self.predicter[0], self.predicter[2]
        assert isinstance(last, nn.Linear)
        hidden = F.softplus(first(features.permute(0, 2, 3, 1)))
        weight = last.weight.unflatten(0, (self.heights, self.classes)).transpose(0, 1).flatten(0, 1)
        bias = last.bias.unflatten(0, (self.heights, self.classes)).transpose(0, 1).flatten(0, 1)
        # in strips: the logits of a whole map are 46 MB, those of a strip stay in a processor's cache
        strips = [F.linear(strip, weight, bias).unflatten(-1, (self.classes, self.heights)).argmax(3)
                  for strip in hidden.chunk(_STRIPS, 1)]
        return torch.cat(strips, 1).transpose(1, 2)

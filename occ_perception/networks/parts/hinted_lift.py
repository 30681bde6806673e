"""Lift-splat whose depth net also sees the LiDAR's points in the pictures (LSSViewTransformer with depth from LiDAR, EFFOcc)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.networks.parts.lift_splat import LiftTensors, lift


class HintedLiftSplat(nn.Module):
    """Depth and context from image features and a sparse depth picture of full size, lifted into the map."""

    def __init__(self, in_channels: int, channels: int, spec: LiftSpec) -> None:
        super().__init__()
        self.spec = spec
        self.lidar_input_net = nn.Sequential(
            nn.Conv2d(1, 8, 1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 32, 5, 4, 2), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 5, spec.stride // 4, 2), nn.BatchNorm2d(64), nn.ReLU())
        self.depth_net = nn.Sequential(
            nn.Conv2d(in_channels + 64, in_channels, 3, padding=1), nn.BatchNorm2d(in_channels), nn.ReLU(),
            nn.Conv2d(in_channels, in_channels, 3, padding=1), nn.BatchNorm2d(in_channels), nn.ReLU(),
            nn.Conv2d(in_channels, spec.bins + channels, 1))

    def hinted(self, hints: Tensor) -> Tensor:
        """Hints (B, N, stride * H, stride * W) in metres, 0 where there is none -> (B, N, 64, H, W)."""
        return self.lidar_input_net(hints.flatten(0, 1).unsqueeze(1)).unflatten(0, hints.shape[:2])

    def forward(self, features: Tensor, hinted: Tensor, tables: LiftTensors) -> tuple[Tensor, Tensor]:
        """Image features (B, N, C, H, W) and what `hinted` gives -> maps (B, channels, Y, X), depth logits (B, N, bins, H, W)."""
        frames = features.shape[:2]
        both = self.depth_net(torch.cat([features, hinted], 2).flatten(0, 1)).unflatten(0, frames)
        logits, context = both.split([self.spec.bins, both.shape[2] - self.spec.bins], 2)
        return lift(logits.softmax(2), context, tables, self.spec.map_shape), logits

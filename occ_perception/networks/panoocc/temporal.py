"""How remembered voxel volumes join the present one: stacked (Occ3D form) or attended to (panoptic form)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from occ_perception.networks.panoocc.config import PanoOccConfig
from occ_perception.networks.parts.deformable_attention import VoxelSelfAttention


class TemporalBottleneck(nn.Module):
    """1x1x1, 3x3x3, 1x1x1 convolutions around a projected shortcut."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(channels)
        self.conv3 = nn.Conv3d(channels, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(channels)
        self.downsample = nn.Sequential(nn.Conv3d(in_channels, channels, 1, bias=False), nn.BatchNorm3d(channels))

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class TemporalEncoder(nn.Module):
    """Fuses the present volume with remembered ones that were moved under it."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        self.config = config
        self.temporal_block: nn.Module
        if config.panoptic:
            self.temporal_block = VoxelSelfAttention(config.channels, config.heads, 4, config.queries)
        else:
            self.temporal_block = nn.Sequential(
                TemporalBottleneck((1 + config.past_frames) * config.channels, config.channels))

    def forward(self, volume: Tensor, position: Tensor, past: Sequence[Tensor]) -> Tensor:
        """volume (C, Z, H, W) and position (Q, C); past: moved volumes, youngest first, those that are known -> (C, Z, H, W).

        Stacked form: where fewer are known than the network stacks, the oldest known one (the present one, when there is none)
        stands in for those before it, as published.
        """
        if self.config.panoptic:
            previous = volume_tokens(past[0]) if past else None
            return tokens_volume(self.temporal_block(volume_tokens(volume), position, previous), self.config)
        known = [volume, *past]
        known += known[-1:] * (1 + self.config.past_frames - len(known))
        return self.temporal_block(torch.cat(known[::-1])[None])[0]


def tokens_volume(tokens: Tensor, config: PanoOccConfig) -> Tensor:
    """(Q, C) -> (C, Z, H, W)."""
    return tokens.reshape(*config.queries, -1).permute(3, 2, 0, 1)


def volume_tokens(volume: Tensor) -> Tensor:
    """(C, Z, H, W) -> (Q, C)."""
    return volume.permute(2, 3, 1, 0).flatten(0, 2)

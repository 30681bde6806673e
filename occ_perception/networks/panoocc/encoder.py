"""Voxel queries and the encoder that fills them from the cameras' feature pyramids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from occ_perception.networks.panoocc.config import PanoOccConfig
from occ_perception.networks.parts.deformable_attention import ImageAttention, VoxelSelfAttention


class ViewTensors(NamedTuple):
    """Where the cameras see the voxel queries, see geometry.voxel_views: seen (N, S) int, places (N, S, 2), slots (Q, V) int."""

    seen: Tensor
    places: Tensor
    slots: Tensor


class FeedForward(nn.Module):
    """Two linear layers around a ReLU, and the shortcut."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(channels, hidden), nn.ReLU()), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x


class SpatialAttention(nn.Module):
    """Every voxel takes the mean of what the cameras that see it show around it."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        self.deformable_attention = ImageAttention(config.channels, config.heads, config.levels, config.image_points)
        self.output_proj = nn.Linear(config.channels, config.channels)

    def forward(self, tokens: Tensor, pyramid: Sequence[Tensor], views: ViewTensors) -> Tensor:
        """tokens (Q, C), pyramid (N, C, h, w) by level -> (Q, C). Unseen voxels get the projection's bias (published)."""
        values = self.deformable_attention.values(pyramid)
        found = [self.deformable_attention(tokens[seen], places, [level[camera] for level in values])
                 for camera, (seen, places) in enumerate(zip(views.seen, views.places, strict=True))]
        rows = torch.cat([*found, torch.zeros_like(tokens[:1])])
        nobody = len(rows) - 1
        total = rows[views.slots[:, 0]]
        for view in range(1, views.slots.shape[1]):
            total = total + rows[views.slots[:, view]]
        count = (views.slots != nobody).sum(-1, keepdim=True).clamp(min=1)
        return self.output_proj(total / count) + tokens


class EncoderLayer(nn.Module):
    """Self attention, attention to the pictures, feed-forward layer, a norm behind each."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        channels = config.channels
        self.attentions = nn.ModuleList([VoxelSelfAttention(channels, config.heads, config.self_points, config.queries),
                                         SpatialAttention(config)])
        self.ffns = nn.ModuleList([FeedForward(channels, config.feed_forward)])
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(self, tokens: Tensor, position: Tensor, pyramid: Sequence[Tensor], views: ViewTensors) -> Tensor:
        tokens = self.norms[0](self.attentions[0](tokens, position))
        tokens = self.norms[1](self.attentions[1](tokens, pyramid, views))
        return self.norms[2](self.ffns[0](tokens))


class VoxelEncoder(nn.Module):
    """All layers, one after the other."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))

    def forward(self, tokens: Tensor, position: Tensor, pyramid: Sequence[Tensor], views: ViewTensors) -> Tensor:
        """tokens, position (Q, C), pyramid (N, C, h, w) by level -> (Q, C)."""
        for layer in self.layers:
            tokens = layer(tokens, position, pyramid, views)
        return tokens


class PositionalEncoding(nn.Module):
    """Learnt embeddings of row, column and height, added up."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        height, width, levels = config.queries
        self.row_embed = nn.Embedding(height, config.channels)
        self.col_embed = nn.Embedding(width, config.channels)
        self.z_embed = nn.Embedding(levels, config.channels)

    def forward(self) -> Tensor:
        """(Q, C)."""
        row, column, level = self.row_embed.weight, self.col_embed.weight, self.z_embed.weight
        return (row[:, None, None] + column[:, None] + level).flatten(0, 2)

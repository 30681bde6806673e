"""The box branch: queries that look at the voxels from above, and what they say of objects."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from occ_perception.networks.panoocc.config import PanoOccConfig
from occ_perception.networks.panoocc.encoder import FeedForward
from occ_perception.networks.parts.deformable_attention import MapAttention

BOX_CLASSES = 10
BOX_CODE = 10


class BoxOutput(NamedTuple):
    """Of every query of the last layer: scores (B, 10) logits by class; codes (B, 10): cx, cy [m], log width, log length, cz [m],
    log height, sine and cosine of the heading, velocity x, y [m/s], in the frame of the voxels."""

    scores: Tensor
    codes: Tensor


class SelfAttention(nn.Module):
    """Box queries attend to each other."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(channels, heads)

    def forward(self, query: Tensor, position: Tensor) -> Tensor:
        asked = (query + position)[:, None]
        return self.attn(asked, asked, query[:, None], need_weights=False)[0][:, 0] + query


class BoxLayer(nn.Module):
    """Self attention, attention to the map, feed-forward layer, a norm behind each."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        channels = config.channels
        self.attentions = nn.ModuleList([SelfAttention(channels, config.heads),
                                         MapAttention(channels, config.heads, config.box_points)])
        self.ffns = nn.ModuleList([FeedForward(channels, config.feed_forward)])
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(self, query: Tensor, position: Tensor, value: Tensor, size: tuple[int, int], places: Tensor) -> Tensor:
        query = self.norms[0](self.attentions[0](query, position))
        query = self.norms[1](self.attentions[1](query, position, value, size, places))
        return self.norms[2](self.ffns[0](query))


class BoxDecoder(nn.Module):
    """All layers; every one looks around the same places (no refinement)."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(BoxLayer(config) for _ in range(config.box_layers))

    def forward(self, query: Tensor, position: Tensor, value: Tensor, size: tuple[int, int], places: Tensor) -> list[Tensor]:
        """query, position (B, C), value (H * W, C), places (B, 2) -> (B, C) of every layer."""
        states = []
        for layer in self.layers:
            query = layer(query, position, value, size, places)
            states.append(query)
        return states


def class_branch(channels: int) -> nn.Module:
    """States to class logits."""
    return nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(),
                         nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(), nn.Linear(channels, BOX_CLASSES))


def code_branch(channels: int) -> nn.Module:
    """States to raw box codes."""
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(),
                         nn.Linear(channels, BOX_CODE))


def placed(raw: Tensor, reference: Tensor, config: PanoOccConfig) -> Tensor:
    """Raw codes (B, 10) around reference places (B, 3) in 0..1 -> codes in metres, see BoxOutput."""
    around = torch.logit(reference, 1e-5)
    origin, extent = (reference.new_tensor(values) for values in (config.origin_m, config.extent_m))
    centre = torch.stack([raw[:, 0], raw[:, 1], raw[:, 4]], -1) + around
    x, y, z = (centre.sigmoid() * extent + origin).unbind(-1)
    return torch.cat([torch.stack([x, y], -1), raw[:, 2:4], z[:, None], raw[:, 5:]], -1)

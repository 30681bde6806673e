"""Deformable attention in plain operators: bilinear samples of maps at learnt places, weighted and summed.

Zhu et al., "Deformable DETR" (ICLR 2021). The published kernels read and add in one go; here `grid_sample` reads and a product
adds, for so many queries at a time that the samples stay small. The same operators are exported to ONNX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLES_AT_ONCE = 1 << 24
"""Numbers sampled before they are added up: 64 MB."""


def chunks(count: int, samples_each: int) -> Iterator[slice]:
    """Slices of `count` queries whose samples, so many numbers each, stay within SAMPLES_AT_ONCE."""
    step = max(1, SAMPLES_AT_ONCE // samples_each)
    return (slice(at, min(at + step, count)) for at in range(0, count, step))


def heads_of(tokens: Tensor, height: int, width: int, heads: int) -> Tensor:
    """(height * width, C) tokens, row by row -> (heads, C / heads, height, width) maps."""
    return tokens.t().reshape(heads, -1, height, width)


def attended(maps: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples: maps (heads, C, H, W), places (M, heads, P, 2) x, y in 0..1 over the map, weights
    (M, heads, P) -> (M, heads * C). Outside the map all is zero."""
    grid = 2 * places.transpose(0, 1) - 1
    samples = F.grid_sample(maps, grid, mode='bilinear', padding_mode='zeros', align_corners=False)
    return (samples * weights.transpose(0, 1)[:, None]).sum(-1).flatten(0, 1).t()


class MapAttention(nn.Module):
    """Queries look at `points` places per head on one map, around a place of their own (the box decoder's cross attention)."""

    def __init__(self, channels: int, heads: int, points: int) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.sampling_offsets = nn.Linear(channels, heads * points * 2)
        self.attention_weights = nn.Linear(channels, heads * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)

    def forward(self, query: Tensor, position: Tensor, value: Tensor, size: tuple[int, int], places: Tensor) -> Tensor:
        """query, position (M, C); value (H * W, C) of a map of that size; places (M, 2) x, y in 0..1 -> (M, C)."""
        height, width = size
        asked = query + position
        offsets = self.sampling_offsets(asked).unflatten(-1, (self.heads, self.points, 2))
        weights = self.attention_weights(asked).unflatten(-1, (self.heads, self.points)).softmax(-1)
        at = places[:, None, None] + offsets / offsets.new_tensor([width, height])
        maps = heads_of(self.value_proj(value), height, width, self.heads)
        return self.output_proj(attended(maps, at, weights)) + query


class VoxelSelfAttention(nn.Module):
    """Voxels look at the voxel volume, and at an earlier one (PanoOcc's OccTemporalAttention).

    size: (H, W, Z) of the volume; tokens are numbered (h * W + w) * Z + z. points: per head and volume; offsets are horizontal.
    """

    def __init__(self, channels: int, heads: int, points: int, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.heads, self.points, self.size = heads, points, size
        self.sampling_offsets = nn.Linear(2 * channels, 2 * heads * points * 2)
        self.attention_weights = nn.Linear(2 * channels, 2 * heads * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, position: Tensor, previous: Tensor | None = None) -> Tensor:
        """tokens, position and previous (H * W * Z, C), previous None for the tokens themselves -> (H * W * Z, C)."""
        height, width, levels = self.size
        # Published checkpoints were trained with a kernel that reads the first H * W of the H * W * Z values as the map, which
        # are the voxels of its first rows: the attention must find the same values there.
        present = heads_of(self.value_proj(tokens[:height * width]), height, width, self.heads)
        before = present if previous is None else heads_of(self.value_proj(previous[:height * width]), height, width, self.heads)
        reach = tokens.new_tensor([width, height])
        out = []
        for part in chunks(len(tokens), 2 * self.points * tokens.shape[-1]):
            own = tokens[part]
            asked = torch.cat([own if previous is None else previous[part], own + position[part]], -1)
            offsets = self.sampling_offsets(asked).unflatten(-1, (self.heads, 2, self.points, 2))
            weights = self.attention_weights(asked).unflatten(-1, (self.heads, 2, self.points)).softmax(-1) / 2
            number = torch.arange(part.start, part.stop, device=tokens.device)
            column, row = number // levels % width, number // (levels * width)
            places = (torch.stack([column, row], -1) + 0.5) / reach
            at = places[:, None, None, None] + offsets / reach
            if previous is None:
                found = attended(present, at.flatten(2, 3), weights.flatten(2))
            else:
                found = attended(before, at[:, :, 0], weights[:, :, 0]) + attended(present, at[:, :, 1], weights[:, :, 1])
            out.append(self.output_proj(found) + own)
        return torch.cat(out)


class ImageAttention(nn.Module):
    """Voxels look at the cameras' feature pyramids, around where they are seen (PanoOcc's MSDeformableAttention3D).

    Without a projection of its own behind it; `points` per head and level.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)

    def values(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """(N, C, h, w) feature maps by level -> as many (N, heads, C / heads, h, w)."""
        kernel = self.value_proj.weight[:, :, None, None]
        return [F.conv2d(level, kernel, self.value_proj.bias).unflatten(1, (self.heads, -1)) for level in pyramid]

    def forward(self, queries: Tensor, places: Tensor, values: Sequence[Tensor]) -> Tensor:
        """queries (M, C), places (M, 2) x, y in 0..1 of one camera's picture, values of that camera, (heads, C, h, w) by level."""
        out = []
        for part in chunks(len(queries), self.points * queries.shape[-1]):
            own = queries[part]
            offsets = self.sampling_offsets(own).unflatten(-1, (self.heads, self.levels, self.points, 2))
            weights = self.attention_weights(own).unflatten(-1, (self.heads, -1)).softmax(-1)
            weights = weights.unflatten(-1, (self.levels, self.points))
            found = torch.zeros_like(own)
            for level, maps in enumerate(values):
                reach = own.new_tensor([maps.shape[-1], maps.shape[-2]])
                at = places[part, None, None] + offsets[:, :, level] / reach
                found = found + attended(maps, at, weights[:, :, level])
            out.append(found)
        return torch.cat(out)

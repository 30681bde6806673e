"""From coarse voxel features to fine ones and their classes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from occ_perception.networks.panoocc.config import PanoOccConfig

VOXELS_AT_ONCE = 1 << 17
"""How many voxels pass the classifier together: 64 MB per hidden layer."""
OCC3D_VOXELS = 200
"""Voxels of Occ3D along x and along y."""


class VoxelDecoder(nn.Module):
    """Occ3D form: transposed convolutions up to 200 x 200 x 16, and the score of being occupied."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size = config.queries[0]
        while size < OCC3D_VOXELS:
            size *= 2
            channels = config.voxel_channels if size == OCC3D_VOXELS else config.channels
            layers += _up(config.channels, channels, (1, 4, 4), (1, 2, 2), (0, 1, 1))
        self.upsample = nn.Sequential(*layers)
        self.semantic_det = nn.Sequential(nn.Conv3d(config.voxel_channels, 1, 3, 1, 1))

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """(C, Z, H, W) -> fine features (C', Z, 200, 200) and logits of being occupied (Z, 200, 200)."""
        fine = self.upsample(volume[None])
        return fine[0], self.semantic_det(fine)[0, 0]


class PanopticVoxelDecoder(nn.Module):
    """Panoptic form: transposed convolutions to four times the size, twice the height, and which coarse voxels hold objects."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        channels = config.channels
        self.upsample = nn.Sequential(*_up(channels, channels, (1, 5, 5), (1, 1, 1), (0, 2, 2)),
                                      *_up(channels, channels, (1, 4, 4), (1, 2, 2), (0, 1, 1)),
                                      *_up(channels, config.voxel_channels, (2, 4, 4), (2, 2, 2), (0, 1, 1)))
        self.semantic_det1 = nn.Sequential(nn.Conv3d(channels, 2, 1))

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """(C, Z, H, W) -> fine features (C', 2 Z, 4 H, 4 W) and logits (2, Z, H, W)."""
        return self.upsample(volume[None])[0], self.semantic_det1(volume[None])[0]


class MlpDecoder(nn.Module):
    """A small network on every voxel by itself."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        channels, hidden = config.voxel_channels, config.mlp_channels
        self.nn_layers = nn.Sequential(
            nn.Sequential(nn.Linear(channels, hidden)), nn.Softplus(),
            nn.Sequential(nn.Linear(hidden, hidden)), nn.Softplus(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.nn_layers(x)


class SegmentationDecoder(nn.Module):
    """Class logits of fine voxels."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        self.mlp_decoder = MlpDecoder(config)
        self.classifier = nn.Linear(config.voxel_channels, config.classes)

    def forward(self, fine: Tensor) -> Tensor:
        """(C', Z, Y, X) -> logits (classes, Z, Y, X)."""
        rows = fine.flatten(1).t()
        logits = [self.classifier(self.mlp_decoder(part)) for part in rows.split(VOXELS_AT_ONCE)]
        return torch.cat(logits).t().unflatten(1, fine.shape[1:])


def doubled(logits: Tensor) -> Tensor:
    """(classes, Z, Y, X) -> (classes, 2 Z, 2 Y, 2 X), trilinear."""
    return F.interpolate(logits[None], scale_factor=2, mode='trilinear', align_corners=False)[0]


def _up(channels: int, out: int, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> list[nn.Module]:
    sizes: tuple[Any, Any, Any] = kernel, stride, padding
    return [nn.ConvTranspose3d(channels, out, *sizes), nn.BatchNorm3d(out), nn.ReLU()]

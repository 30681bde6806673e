"""Depth nets that know the camera: features are gated by calibration before depth is told (BEVDepth, BEVStereo)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from occ_perception.networks.parts.resnet import BasicBlock

CAMERA_NUMBERS = 27
"""Length of a camera vector, see geometry/camera_vector.py."""


class _Atrous(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        kernel, padding = (3, dilation) if dilation > 1 else (1, 0)
        self.atrous_conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.atrous_conv(x)))


class Aspp(nn.Module):
    """Atrous spatial pyramid: four dilations and the global mean, fused back to the given channels."""

    def __init__(self, channels: int, middle: int = 96) -> None:
        super().__init__()
        self.aspp1, self.aspp2, self.aspp3, self.aspp4 = (_Atrous(channels, middle, dilation) for dilation in (1, 6, 12, 18))
        self.global_avg_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, middle, 1, bias=False),
                                             nn.BatchNorm2d(middle), nn.ReLU())
        self.conv1 = nn.Conv2d(5 * middle, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.global_avg_pool(x).expand(-1, -1, *x.shape[2:])
        views = torch.cat([self.aspp1(x), self.aspp2(x), self.aspp3(x), self.aspp4(x), whole], 1)
        return self.dropout(torch.relu(self.bn1(self.conv1(views))))


class CameraMlp(nn.Module):
    """What a camera vector means to the features: two linear layers."""

    def __init__(self, in_features: int, features: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, features)
        self.fc2 = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(x)))


class CameraGate(nn.Module):
    """Squeeze-and-excitation by a vector that comes from outside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, channels, 1)
        self.conv_expand = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv_expand(torch.relu(self.conv_reduce(vector[..., None, None]))))


class DepthNet(nn.Module):
    """Depth logits and context of image features, seen through a camera.

    With stereo, matching costs at a quarter of the image's size enter through two strided convolutions (`matched`), behind
    the gated features. Li et al., BEVDepth (AAAI 2023); Li et al., BEVStereo (AAAI 2023).
    """

    def __init__(self, in_channels: int, bins: int, context_channels: int, stereo: bool = False) -> None:
        super().__init__()
        middle = in_channels
        self.reduce_conv = nn.Sequential(nn.Conv2d(in_channels, middle, 3, padding=1), nn.BatchNorm2d(middle), nn.ReLU())
        self.context_conv = nn.Conv2d(middle, context_channels, 1)
        self.bn = nn.BatchNorm1d(CAMERA_NUMBERS)
        self.depth_mlp, self.context_mlp = CameraMlp(CAMERA_NUMBERS, middle), CameraMlp(CAMERA_NUMBERS, middle)
        self.depth_se, self.context_se = CameraGate(middle), CameraGate(middle)
        first = middle
        shortcut = None
        if stereo:
            first = middle + bins
            shortcut = nn.Conv2d(first, middle, 1)
            self.cost_volumn_net = nn.Sequential(
                nn.Conv2d(bins, bins, 3, 2, 1), nn.BatchNorm2d(bins), nn.Conv2d(bins, bins, 3, 2, 1), nn.BatchNorm2d(bins))
        self.depth_conv = nn.Sequential(BasicBlock(first, middle, downsample=shortcut), BasicBlock(middle, middle),
                                        BasicBlock(middle, middle), Aspp(middle), nn.Conv2d(middle, bins, 1))

    def reduced(self, features: Tensor) -> Tensor:
        """Image features (M, C, H, W) -> the part of the net that no camera enters, the same shape."""
        return self.reduce_conv(features)

    def matched(self, costs: Tensor) -> Tensor:
        """Matching probabilities (M, bins, 4 H, 4 W) -> (M, bins, H, W)."""
        return self.cost_volumn_net(costs)

    def forward(self, reduced: Tensor, cameras: Tensor, matched: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(M, C, H, W), camera vectors (M, 27), with stereo (M, bins, H, W) -> depth logits (M, bins, H, W), context."""
        vector = self.bn(cameras)
        context = self.context_conv(self.context_se(reduced, self.context_mlp(vector)))
        depth = self.depth_se(reduced, self.depth_mlp(vector))
        if matched is not None:
            depth = torch.cat([depth, matched], 1)
        return self.depth_conv(depth), context


MATCH_BIAS = 5.0
"""Cost added where the frame before was not seen."""
MATCH_GROUP = 4
"""Channels whose differences are summed at a time."""


def match_costs(present: Tensor, before: Tensor, sweeps: Tensor, depths: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Plane-sweep matching of image features against those of the frame before, per depth.

    present, before: (M, C, H, W). sweeps: (M, 3, 13) of geometry.camera_vector.plane_sweeps. depths: (bins,) metres. image_size:
    (height, width) of the network's input, corner pixels of which lie on corners of the map.
    Returns probabilities (M, bins, H, W): the softmax over depths of minus the summed absolute differences.
    """
    grid = sweep_grid(sweeps, depths, present.shape[-2:], image_size)
    cost = _exported_cost if torch.compiler.is_compiling() else _cost
    # one depth at a time: the warped maps of all would take gigabytes
    return (-torch.stack(cost(present, before, grid), 1)).softmax(1)


def _exported_cost(present: Tensor, before: Tensor, grid: Tensor) -> list[Tensor]:
    """Cost (M, H, W) per depth, in standard operators."""
    costs = []
    for index in range(grid.shape[1]):
        warped = F.grid_sample(before, grid[:, index], mode='bilinear', padding_mode='zeros', align_corners=True)
        # the published code asks the first channel of the last group alone whether a point was seen
        costs.append((present - warped).abs().sum(1) + MATCH_BIAS * (warped[:, -MATCH_GROUP] == 0).to(warped.dtype))
    return costs


def _cost(present: Tensor, before: Tensor, grid: Tensor) -> list[Tensor]:
    """The same, with a pixel's channels side by side in memory: six times as fast on a CPU."""
    count, channels, height, width = present.shape
    there, here = (x.permute(0, 2, 3, 1).reshape(-1, channels).contiguous() for x in (before, present))
    first = (height * width * torch.arange(count, device=grid.device)).view(-1, 1, 1)
    costs = []
    for index in range(grid.shape[1]):
        x, y = (grid[:, index, :, :, 0] + 1) / 2 * (width - 1), (grid[:, index, :, :, 1] + 1) / 2 * (height - 1)
        left, top = x.floor(), y.floor()
        pixels, weights = [], []
        for down in (0, 1):
            for right in (0, 1):
                column, row = left + right, top + down
                inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
                share = (x - left if right else 1 - (x - left)) * (y - top if down else 1 - (y - top))
                pixels.append(first + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long())
                weights.append(share * inside)
        warped = F.embedding_bag(torch.stack(pixels, -1).view(-1, 4), there, mode='sum',
                                 per_sample_weights=torch.stack(weights, -1).view(-1, 4))
        unlike = torch.cdist(here[:, None], warped[:, None], p=1).view(count, height, width)
        costs.append(unlike + MATCH_BIAS * (warped[:, -MATCH_GROUP] == 0).view_as(unlike).to(unlike.dtype))
    return costs


def sweep_grid(sweeps: Tensor, depths: Tensor, shape: Sequence[int], image_size: tuple[int, int]) -> Tensor:
    """Where frustum points lie in the frame before: (M, bins, H, W, 2), -1 .. 1 from corner pixel to corner pixel; -2 behind it.

    The order of operations is the published one, in float32: a point that just falls off the picture costs MATCH_BIAS.
    """
    height, width = image_size
    v = torch.linspace(0, height - 1, shape[0], device=depths.device).view(1, 1, -1, 1)
    u = torch.linspace(0, width - 1, shape[1], device=depths.device).view(1, 1, 1, -1)
    d = depths.view(1, -1, 1, 1)
    numbers = sweeps[..., None, None, None]

    def row(axis: int, first: int, x: Tensor, y: Tensor) -> Tensor:
        return numbers[:, axis, first] * x + numbers[:, axis, first + 1] * y

    u, v = u - numbers[:, 0, 9], v - numbers[:, 1, 9]
    u, v = row(0, 10, u, v), row(1, 10, u, v)
    u, v = u * d, v * d
    x, y, z = (row(axis, 0, u, v) + numbers[:, axis, 2] * d + numbers[:, axis, 3] for axis in range(3))
    behind = z < 1e-3
    u, v, z = (row(axis, 4, x, y) + numbers[:, axis, 6] * z for axis in range(3))
    z = torch.where(behind, torch.ones_like(z), z)
    u, v = u / z, v / z
    u, v = row(0, 7, u, v) + numbers[:, 0, 9], row(1, 7, u, v) + numbers[:, 1, 9]
    grid = torch.stack([u / (width - 1) * 2 - 1, v / (height - 1) * 2 - 1], -1)
    return torch.where(behind[..., None], torch.full_like(grid, -2.0), grid)

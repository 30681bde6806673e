"""InternImage backbone with the key names of PanoOcc's large configuration (Wang et al., "InternImage", CVPR 2023).

Maps are channels-last (M, H, W, C) inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from occ_perception.networks.parts.deformable_conv import DeformableConv3

_MLP_RATIO = 4


class Stem(nn.Module):
    """Two 3 x 3 convolutions of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(3, channels // 2, 3, 2, 1), nn.BatchNorm2d(channels // 2), nn.GELU(),
                                  nn.Conv2d(channels // 2, channels, 3, 2, 1), nn.BatchNorm2d(channels))

    def forward(self, images: Tensor) -> Tensor:
        """(M, 3, H, W) -> (M, H / 4, W / 4, channels)."""
        return self.proj(images).permute(0, 2, 3, 1)


class Mlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, _MLP_RATIO * channels)
        self.fc2 = nn.Linear(_MLP_RATIO * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class InternBlock(nn.Module):
    """Deformable convolution and MLP, each behind a norm, scaled and around a shortcut."""

    def __init__(self, channels: int, groups: int, offset_scale: float) -> None:
        super().__init__()
        self.gamma1, self.gamma2 = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.ones(channels))
        self.norm1 = nn.LayerNorm(channels)
        self.attn = DeformableConv3(channels, groups, offset_scale)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.gamma1 * self.attn(self.norm1(x))
        return x + self.gamma2 * self.mlp(self.norm2(x))


class Downsample(nn.Module):
    """3 x 3 convolution of stride 2 to twice the channels, and a norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(channels, 2 * channels, 3, 2, 1, bias=False)
        self.norm = nn.LayerNorm(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """(M, H, W, C) -> (M, H / 2, W / 2, 2 C)."""
        return self.norm(self.reduction(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class InternStage(nn.Module):
    """Blocks of one width, and the downsampling that follows them."""

    def __init__(self, channels: int, blocks: int, groups: int, offset_scale: float, downsample: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(InternBlock(channels, groups, offset_scale) for _ in range(blocks))
        if downsample:
            self.downsample = Downsample(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(M, H, W, C) -> the same shape, not downsampled."""
        for block in self.blocks:
            x = block(x)
        return x


class InternImage(nn.Module):
    """Four stages at strides 4 to 32; returns the maps of the chosen stages, finest first.

    channels: width of stage 0, doubled by every further one. blocks, groups: per stage. The defaults are InternImage-XL as PanoOcc
    has it.
    """

    def __init__(self, channels: int = 160, blocks: Sequence[int] = (6, 6, 32, 6), groups: Sequence[int] = (10, 20, 40, 40),
                 outputs: Sequence[int] = (1, 2, 3), offset_scale: float = 1.71) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        widths = [channels << stage for stage in range(len(blocks))]
        self.out_channels = [widths[stage] for stage in self.outputs]
        self.patch_embed = Stem(channels)
        self.levels = nn.ModuleList(
            InternStage(width, count, count_groups, offset_scale, downsample=stage < len(blocks) - 1)
            for stage, (width, count, count_groups) in enumerate(zip(widths, blocks, groups, strict=True)))
        for stage in range(1, len(blocks)):
            self.add_module(f'norm{stage}', nn.LayerNorm(widths[stage]))
        for stage in self.outputs:
            self.add_module(f'final_norm{stage}', nn.LayerNorm(widths[stage]))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(M, 3, H, W) normalised images -> [(M, C_i, H / s_i, W / s_i), ...]."""
        # one by one: the widest layer of one image of 640 x 1600 is 160 MB
        each = [self._maps(image) for image in images.split(1)]
        return [torch.cat(maps) for maps in zip(*each, strict=True)]

    def _maps(self, images: Tensor) -> list[Tensor]:
        x = self.patch_embed(images)
        maps = []
        for index, stage in enumerate(self.levels):
            assert isinstance(stage, InternStage)
            x = stage(x)
            if index in self.outputs:
                maps.append(getattr(self, f'final_norm{index}')(x).permute(0, 3, 1, 2))
            if index < len(self.levels) - 1:
                x = getattr(self, f'norm{index + 1}')(stage.downsample(x))
        return maps

"""Swin Transformer image backbone with the key names of the BEVDet line (Liu et al., ICCV 2021).

Maps are channels-last (M, H, W, C) inside. Compared with the reference implementation of the paper, patches are merged in
the order of an unfold (channel, row, column), and windows that reach over the map's edge attend to zero-padded tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EXCLUDED = -100.0
"""Added to the score of two tokens that the cyclic shift brought together from opposite edges."""
_PATCH = 4
_MLP_RATIO = 4


class PatchEmbed(nn.Module):
    """4 x 4 pixels to one token."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, channels, _PATCH, _PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, images: Tensor) -> Tensor:
        """(M, 3, H, W) -> (M, H / 4, W / 4, channels)."""
        return self.norm(self.projection(images).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """2 x 2 tokens to one of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(M, H, W, C) -> (M, H / 2, W / 2, 2 C)."""
        images, height, width, channels = x.shape
        x = x.view(images, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 5, 2, 4)
        return self.reduction(self.norm(x.flatten(3)))


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows of window x window tokens, with a learnt bias per relative position."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        place = torch.arange(window)
        offset = place[:, None] - place + window - 1
        index = offset[:, None, :, None] * (2 * window - 1) + offset[None, :, None, :]
        self.register_buffer('relative_position_index', index.reshape(window ** 2, window ** 2))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """(M, windows, tokens, C) -> the same shape; mask: None or (windows, tokens, tokens), added to the scores."""
        qkv = self.qkv(windows).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        query, key, value = qkv.unbind()
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + bias
        if mask is not None:
            scores = scores + mask[:, None]
        return self.proj((scores.softmax(-1) @ value).transpose(2, 3).flatten(3))


class ShiftedWindowAttention(nn.Module):
    """Cuts a map into windows, from its corner or shifted by `shift` tokens down and right, and attends within them."""

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.w_msa = WindowAttention(channels, heads, window)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(M, H, W, C) -> the same shape; mask: of shift_mask, used when shifted."""
        _, height, width, _ = x.shape
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded = x.shape[1:3]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        x = join(self.w_msa(cut(x, self.window), mask if self.shift else None), padded, self.window)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :height, :width]


class FeedForward(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = _MLP_RATIO * channels
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(channels, hidden), nn.GELU()), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class SwinBlock(nn.Module):
    """Attention and feed-forward layers, each behind a norm and around a shortcut."""

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = ShiftedWindowAttention(channels, heads, window, shift)
        self.norm2 = nn.LayerNorm(channels)
        self.ffn = FeedForward(channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), mask)
        return x + self.ffn(self.norm2(x))


class SwinStage(nn.Module):
    """Blocks whose windows are shifted by half a window in every other one, and the merging that follows them."""

    def __init__(self, channels: int, blocks: int, heads: int, window: int, merge: bool) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(SwinBlock(channels, heads, window, window // 2 * (i % 2)) for i in range(blocks))
        if merge:
            self.downsample = PatchMerging(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(M, H, W, C) -> the same shape, not merged."""
        mask = shift_mask(x.shape[1], x.shape[2], self.window, x.device)
        for block in self.blocks:
            x = block(x, mask)
        return x


class SwinTransformer(nn.Module):
    """Four stages at strides 4 to 32; returns the maps of the chosen stages, finest first.

    channels: width of stage 0, doubled by every further one. blocks, heads: per stage. window: tokens per side. outputs: stage
    indices; stage 0 is returned as it is (the stereo feature), later ones behind a norm of their own. The defaults are
    Swin-B with windows of 12.
    """

    def __init__(self, channels: int = 128, blocks: Sequence[int] = (2, 2, 18, 2), heads: Sequence[int] = (4, 8, 16, 32),
                 window: int = 12, outputs: Sequence[int] = (2, 3)) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        widths = [channels << stage for stage in range(len(blocks))]
        self.out_channels = [widths[stage] for stage in self.outputs]
        self.stride = _PATCH << len(blocks) - 1
        self.patch_embed = PatchEmbed(channels)
        self.stages = nn.ModuleList(
            SwinStage(width, count, count_heads, window, merge=stage < len(blocks) - 1)
            for stage, (width, count, count_heads) in enumerate(zip(widths, blocks, heads, strict=True)))
        for stage in self.outputs:
            if stage:
                self.add_module(f'norm{stage}', nn.LayerNorm(widths[stage]))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(M, 3, H, W) normalised images -> [(M, C_i, H / s_i, W / s_i), ...]. ValueError unless 32 divides H and W."""
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f'images of {height} x {width}: give SwinTransformer sizes that {self.stride} divides')
        if images.device.type != 'cpu' or torch.compiler.is_compiling():
            return self._maps(images)
        # one by one: the attention scores of stage 0 are 109 MB per image of 512 x 1408
        return [torch.cat(maps) for maps in zip(*(self._maps(image) for image in images.split(1)), strict=True)]

    def _maps(self, images: Tensor) -> list[Tensor]:
        x = self.patch_embed(images)
        maps = []
        for index, stage in enumerate(self.stages):
            assert isinstance(stage, SwinStage)
            x = stage(x)
            if index in self.outputs:
                out = getattr(self, f'norm{index}')(x) if index else x
                maps.append(out.permute(0, 3, 1, 2).contiguous())
            if index < len(self.stages) - 1:
                x = stage.downsample(x)
        return maps


def cut(x: Tensor, window: int) -> Tensor:
    """(M, H, W, C), H and W multiples of window -> (M, windows, tokens, C), both row by row."""
    images, height, width, channels = x.shape
    x = x.reshape(images, height // window, window, width // window, window, channels).transpose(2, 3)
    return x.reshape(images, -1, window * window, channels)


def join(windows: Tensor, size: Sequence[int], window: int) -> Tensor:
    """Inverse of cut for a map of size (H, W)."""
    images, channels = windows.shape[0], windows.shape[-1]
    x = windows.reshape(images, size[0] // window, size[1] // window, window, window, channels).transpose(2, 3)
    return x.reshape(images, *size, channels)


def shift_mask(height: int, width: int, window: int, device: torch.device) -> Tensor:
    """(windows, tokens, tokens) float32: 0 for two tokens that are neighbours in the map, _EXCLUDED where the shift joined them.

    height, width: size of the map before it is padded to whole windows.
    """
    rows, columns = (_side(size + -size % window, window, device) for size in (height, width))
    part = cut((3 * rows[:, None] + columns)[None, :, :, None], window)[0, :, :, 0]
    return torch.where(part[:, None] == part[:, :, None], 0.0, _EXCLUDED)


def _side(size: int, window: int, device: torch.device) -> Tensor:
    """(size,): 0 outside the last window; within it 1, and 2 for the tokens that were shifted in from the other edge."""
    place = torch.arange(size, device=device)
    return (place >= size - window).long() + (place >= size - window // 2).long()

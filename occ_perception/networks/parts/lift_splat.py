"""Lift-splat view transform: image features to a bird's-eye-view map through predicted depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from occ_perception.geometry.column_lift import LiftSpec, LiftTables
from occ_perception.networks.parts.depth_net import DepthNet, match_costs


@dataclass(frozen=True)
class LiftTensors:
    """LiftTables of a batch as tensors: slot (B, N, W, bins, H) uint8, sum_* (B, width, rows), cell (B, cells), integers."""

    slot: Tensor
    sum_1: Tensor
    sum_2: Tensor
    sum_3: Tensor
    cell: Tensor
    slots: int

    @classmethod
    def stack(cls, tables: Sequence[LiftTables], device: torch.device | str = 'cpu') -> LiftTensors:
        """One batch of tables, one per sample. Raises ValueError when they were padded to different caps."""
        if len({(t.slots, t.sum_1.shape, t.sum_2.shape, t.sum_3.shape) for t in tables}) != 1:
            raise ValueError('lift tables of one batch have different shapes: build them all with the same caps')
        return cls._of({name: np.stack([getattr(t, name) for t in tables]) for name in LiftTables.NAMES}, tables[0].slots, device)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], device: torch.device | str = 'cpu') -> LiftTensors:
        """A batch of one from LiftTables.arrays()."""
        return cls._of({name: arrays[name][None] for name in LiftTables.NAMES}, int(arrays['slots']), device)

    def every(self, step: int, first: int) -> LiftTensors:
        """The tables of samples first, first + step, ...: of the frames of one age, where batches hold sequences."""
        return self if step == 1 else LiftTensors(slots=self.slots, **{
            name: getattr(self, name)[first::step] for name in LiftTables.NAMES})

    @classmethod
    def _of(cls, arrays: Mapping[str, np.ndarray], slots: int, device: torch.device | str) -> LiftTensors:
        return cls(slots=slots, **{name: torch.from_numpy(array).to(device) for name, array in arrays.items()})


def _rows_of(table: Tensor, index: Tensor) -> Tensor:
    """Rows (B, R, C) picked by (B, ...) indices -> (B, ..., C)."""
    batch, rows, channels = table.shape
    if batch > 1:
        index = index + rows * torch.arange(batch, device=index.device, dtype=index.dtype).view(-1, *[1] * (index.dim() - 1))
    return F.embedding(index, table.reshape(batch * rows, channels))


def lift(depth: Tensor, features: Tensor, tables: LiftTensors, map_shape: tuple[int, int, int]) -> Tensor:
    """Sum depth * feature over the frustum points of each cell.

    depth: (B, N, bins, H, W) probabilities, features: (B, N, C, H, W), map_shape: (z, y, x).
    Returns (B, z * C, y, x): the channels of the lowest cells first.
    """
    batch, cameras, bins, height, width = depth.shape
    channels = features.shape[2]
    depth = depth.permute(0, 1, 4, 2, 3).unsqueeze(3)
    slot = tables.slot.to(depth.dtype).unsqueeze(3)
    slots = torch.arange(tables.slots, dtype=depth.dtype, device=slot.device).view(-1, 1, 1)
    masked = depth * (slot == slots)
    groups = masked.reshape(batch * cameras * width, tables.slots * bins, height) @ (
        features.permute(0, 1, 4, 3, 2).reshape(batch * cameras * width, height, channels))
    level_0 = groups.reshape(batch, cameras * width * tables.slots * bins, channels)
    level_1 = _rows_of(level_0, tables.sum_1).sum(1)
    level_2 = _rows_of(level_1, tables.sum_2).sum(1)
    level_3 = _rows_of(level_2, tables.sum_3).sum(1)
    cells = _rows_of(torch.cat([level_1, level_2, level_3], 1), tables.cell)
    z, y, x = map_shape
    return cells.reshape(batch, z, y, x, channels).permute(0, 1, 4, 2, 3).reshape(batch, z * channels, y, x)


class LiftSplat(nn.Module):
    """The view transformers of the BEVDet line: depth and context of image features, lifted into the map.

    depth: 'plain' (LSSViewTransformer: one 1x1 convolution), 'camera' (LSSViewTransformerBEVDepth) or 'stereo'
    (LSSViewTransformerBEVStereo).
    """

    depths: Tensor

    def __init__(self, in_channels: int, channels: int, spec: LiftSpec, depth: str = 'plain') -> None:
        super().__init__()
        self.spec = spec
        self.depth_net = (nn.Conv2d(in_channels, spec.bins + channels, 1) if depth == 'plain'
                          else DepthNet(in_channels, spec.bins, channels, depth == 'stereo'))
        self.register_buffer('depths', torch.from_numpy(spec.depths.astype(np.float32)), persistent=False)

    def prepared(self, features: Tensor) -> Tensor:
        """Image features (F, N, C, H, W) -> what of depth and context does not depend on the camera, (F, N, C', H, W)."""
        net = self.depth_net.reduced if isinstance(self.depth_net, DepthNet) else self.depth_net
        return net(features.flatten(0, 1)).unflatten(0, features.shape[:2])

    def matched(self, present: Tensor, before: Tensor, sweeps: Tensor) -> Tensor:
        """Matching costs of one frame, (N, bins, H, W): features (N, C, 4 H, 4 W) of two frames, plane sweeps (N, 3, 13)."""
        assert isinstance(self.depth_net, DepthNet)
        size = self.spec.input_height, self.spec.input_width
        return self.depth_net.matched(match_costs(present, before, sweeps, self.depths, size))

    def forward(self, prepared: Tensor, tables: LiftTensors, cameras: Tensor | None = None,
                matched: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(F, N, C', H, W) prepared features -> (maps (F, channels * z, Y, X), depth logits (F, N, bins, H, W)).

        cameras: (F, N, 27) vectors and matched: (F, N, bins, H, W), for the depth nets that take them.
        """
        frames = prepared.shape[:2]
        if isinstance(self.depth_net, DepthNet):
            assert cameras is not None
            logits, context = self.depth_net(prepared.flatten(0, 1), cameras.flatten(0, 1),
                                             None if matched is None else matched.flatten(0, 1))
            logits, context = logits.unflatten(0, frames), context.unflatten(0, frames)
        else:
            logits, context = prepared.split([self.spec.bins, prepared.shape[2] - self.spec.bins], 2)
        return lift(logits.softmax(2), context, tables, self.spec.map_shape), logits

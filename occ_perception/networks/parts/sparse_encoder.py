"""Sparse 3D encoders of LiDAR voxels (SparseEncoder of mmdetection3d), in their two published forms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from occ_perception.geometry.neighbour_tables import SparseSpec
from occ_perception.networks.lidar_branch import LidarBranch
from occ_perception.networks.parts.sparse_conv import SparseConv3d, dense


def batch_norm(channels: int) -> nn.BatchNorm1d:
    """Over voxels; padding rows give no statistics in evaluation, and training is to have none."""
    return nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)


@dataclass(frozen=True)
class SparseTensors:
    """NeighbourTables of one cloud as tensors: near, steps: (V_level, K) integers per level, cells: (cells,)."""

    near: tuple[Tensor, ...]
    steps: tuple[Tensor, ...]
    cells: Tensor

    @classmethod
    def of(cls, tables: Mapping[str, Tensor], spec: SparseSpec) -> SparseTensors:
        """From tensors by the names of SparseSpec.names."""
        named = [tables[name] for name in spec.names]
        return cls(tuple(named[:spec.submanifold]), tuple(named[spec.submanifold:-1]), named[-1])

    @classmethod
    def from_arrays(cls, tables: Mapping[str, np.ndarray], spec: SparseSpec, device: torch.device | str = 'cpu') -> SparseTensors:
        """From arrays by the names of SparseSpec.names."""
        return cls.of({name: torch.from_numpy(np.ascontiguousarray(tables[name])).to(device) for name in spec.names}, spec)


class SparseBasicBlock(nn.Module):
    """Two submanifold convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = SparseConv3d(channels, channels), SparseConv3d(channels, channels)
        self.bn1, self.bn2 = batch_norm(channels), batch_norm(channels)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """(V, C), (V, 27) -> (V, C)."""
        y = torch.relu(self.bn1(self.conv1(x, table)))
        return torch.relu(self.bn2(self.conv2(y, table)) + x)


class SparseConvBlock(nn.Sequential):
    """Convolution, norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int, int] = (3, 3, 3)) -> None:
        super().__init__(SparseConv3d(in_channels, out_channels, kernel), batch_norm(out_channels))

    def forward(self, x: Tensor, table: Tensor) -> Tensor:  # type: ignore[override]
        """(V, in), (V_out, K) -> (V_out, out)."""
        return torch.relu(self[1](self[0](x, table)))


class SparseEncoder(nn.Module):
    """Voxels (z, y, x) to a bird's-eye-view map: stages of residual blocks, each but the last closed by a strided convolution,
    and a last one along z (EFFOcc)."""

    def __init__(self, branch: LidarBranch) -> None:
        super().__init__()
        widths, spec = branch.widths, branch.sparse
        if len(spec.steps) != len(widths):
            raise ValueError(f'{len(widths)} stages of residual blocks do not fit {len(spec.steps)} steps')
        self.spec = spec
        self.conv_input = SparseConvBlock(branch.columns, widths[0], spec.kernel)
        self.encoder_layers = nn.ModuleDict()
        for level, (width, blocks) in enumerate(zip(widths, branch.blocks, strict=True)):
            stage: list[nn.Module] = [SparseBasicBlock(width) for _ in range(blocks)]
            if level + 1 < len(widths):
                stage.append(SparseConvBlock(width, widths[level + 1], spec.steps[level].kernel))
            self.encoder_layers[f'encoder_layer{level + 1}'] = nn.ModuleList(stage)
        self.conv_out = SparseConvBlock(widths[-1], branch.channels, spec.steps[-1].kernel)

    def forward(self, features: Tensor, tables: SparseTensors) -> Tensor:
        """(V, columns) float32 in the order of the tables -> (B, channels * z, y, x), channel c * z cells + z cell.

        In training the voxels of several clouds follow each other, and so do their cells: tables.cells is (B * cells,) then.
        """
        x = self.conv_input(features, tables.near[0])
        for level, stage in enumerate(self.encoder_layers.values()):
            assert isinstance(stage, nn.ModuleList)
            for layer in stage:
                x = layer(x, tables.near[level] if isinstance(layer, SparseBasicBlock) else tables.steps[level])
        x, shape = self.conv_out(x, tables.steps[-1]), self.spec.shapes[-1]
        return torch.stack([dense(x, cells, shape).flatten(0, 1) for cells in tables.cells.split(math.prod(shape))])


class SparseVolumeEncoder(nn.Module):
    """Voxels (x, y, z) to a coarser volume: stages of plain convolutions, the last of each but the last stage strided; first and
    last of all a convolution of one cell without norm (CustomSparseEncoder of FusionOcc)."""

    def __init__(self, branch: LidarBranch) -> None:
        super().__init__()
        widths, spec = branch.widths, branch.sparse
        if len(spec.steps) != len(widths) - 1:
            raise ValueError(f'{len(widths)} stages of plain convolutions do not fit {len(spec.steps)} steps')
        self.spec = spec
        self.conv_input = nn.Sequential(SparseConv3d(branch.columns, widths[0], (1, 1, 1)))
        self.encoder_layers = nn.ModuleDict()
        for level, (width, blocks) in enumerate(zip(widths, branch.blocks, strict=True)):
            last = widths[min(level + 1, len(widths) - 1)]
            self.encoder_layers[f'encoder_layer{level + 1}'] = nn.ModuleList(
                SparseConvBlock(width, width if block + 1 < blocks else last) for block in range(blocks))
        self.conv_out = nn.Sequential(SparseConv3d(widths[-1], branch.channels, (1, 1, 1)))

    def forward(self, features: Tensor, tables: SparseTensors) -> Tensor:
        """(V, columns) float32 in the order of the tables -> (1, channels, z, y, x)."""
        x = self.conv_input(features)
        for level, stage in enumerate(self.encoder_layers.values()):
            assert isinstance(stage, nn.ModuleList)
            for block, layer in enumerate(stage):
                strides = block + 1 == len(stage) and level < len(tables.steps)
                x = layer(x, tables.steps[level] if strides else tables.near[level])
        return dense(self.conv_out(x), tables.cells, self.spec.shapes[-1]).permute(0, 3, 2, 1)[None]

"""Sparse 3D convolution as gather and matrix product, with neighbour tables that are made outside the network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from occ_perception.geometry.sparse_neighbours import Triple

_GATHERED = {'cpu': 1 << 19, 'cuda': 1 << 26, 'exported': 1 << 25}
"""Numbers gathered at a time: what fits the cache of one CPU core (2 MB each), and what bounds the memory elsewhere."""


class SparseConv3d(nn.Module):
    """Submanifold or strided sparse convolution: which of the two, and all geometry, is in the table.

    weight: (out, K0, K1, K2, in), the layout of spconv 2.x; K0, K1, K2 run along the axes of the table's coordinates. Kernels of
    spconv 1.x and mmcv, (K0, K1, K2, in, out), are turned at import. The kernel of a conv3d is weight.permute(0, 4, 1, 2, 3).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple = (3, 3, 3), bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, *kernel, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight.view(out_channels, -1), a=math.sqrt(5))

    def forward(self, features: Tensor, table: Tensor | None = None) -> Tensor:
        """(V, in) float, (V_out, K) integers of geometry.sparse_neighbours -> (V_out, out).

        Entries of V, and only those, stand for no voxel. Rows of the table that are nothing else (padding) give the bias, zero
        without one. table None: a kernel of one cell, each voxel sees itself.
        """
        matrix = self.weight.flatten(1)
        if table is None:
            return F.linear(features, matrix, self.bias)
        ended = torch.cat([features, features.new_zeros(1, features.shape[1])])
        budget = (_GATHERED['exported'] if torch.compiler.is_compiling() else
                  _GATHERED['cpu'] * torch.get_num_threads() if features.device.type == 'cpu' else _GATHERED['cuda'])
        rows = max(budget // matrix.shape[1], 1)
        if self.training and torch.is_grad_enabled():
            # what was gathered is 27 times the features: gathered once more for the gradient instead of kept
            parts = [checkpoint(_learnt, ended, part, matrix, self.bias, use_reentrant=False) for part in table.split(rows)]
        else:
            parts = [_seen(ended, part, matrix, self.bias) for part in table.split(rows)]
        return torch.cat(parts)


def _seen(features: Tensor, table: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """Products of what each output voxel sees, (R, K), with the kernel (out, K * in): (R, out)."""
    return F.linear(F.embedding(table, features).flatten(1), matrix, bias)


def _learnt(features: Tensor, table: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """The same by index_select, whose gradient takes a CPU a fifth of the time of an embedding's."""
    return F.linear(features.index_select(0, table.flatten()).view(len(table), matrix.shape[1]), matrix, bias)


def dense(features: Tensor, cells: Tensor, shape: Triple) -> Tensor:
    """(V, C) features and geometry.sparse_neighbours.cell_table (cells,) -> the grid they lie in, (C, *shape), zero elsewhere."""
    ended = torch.cat([features, features.new_zeros(1, features.shape[1])])
    return F.embedding(cells, ended).t().unflatten(1, shape)

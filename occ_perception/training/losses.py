"""Losses of occupancy networks."""

from __future__ import annotations

import torch
import torch.nn.functional as functional


def masked_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor,
                         voxel_weights: torch.Tensor) -> torch.Tensor:
    """Cross entropy over visible voxels, weighted by class and voxel, divided by the sum of the weights.

    logits (M, 18) of voxels under the camera mask, labels (M,) int64, class_weights (18,), voxel_weights (M,): how many
    visible voxels each stands for.
    """
    weights = class_weights[labels] * voxel_weights
    return (functional.cross_entropy(logits.float(), labels, reduction='none') * weights).sum() / weights.sum().clamp(min=1e-6)


def soft_jaccard(logits: torch.Tensor, labels: torch.Tensor, voxel_weights: torch.Tensor) -> torch.Tensor:
    """1 - soft intersection over union, averaged over the classes present in labels: a smooth stand-in for mIoU.

    logits (M, C), labels (M,) int64 and voxel_weights (M,) as above (Rahman and Wang, Optimizing intersection-over-union, 2016).
    """
    probability = logits.float().softmax(dim=1)
    zeros = probability.new_zeros(logits.shape[1])
    hit = probability.gather(1, labels[:, None])[:, 0] * voxel_weights
    intersection = zeros.index_add(0, labels, hit)
    truth = zeros.index_add(0, labels, voxel_weights)
    union = voxel_weights @ probability + truth - intersection
    return (1 - intersection / union.clamp(min=1e-6))[truth > 0].mean()


def histogram_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy against a histogram per position, each weighted by the mass it has.

    logits (N, C, H, W); target (N, C, H, W) >= 0 with sums in 0..1 over C: a position without truth has none and does not count.
    Used for depth bins (after Li et al., BEVDepth, 2022, with the pixels' histogram in place of one nearest depth) and for the
    classes of the pixels under a feature cell.
    """
    per_position = -(target * logits.float().log_softmax(dim=1)).sum(dim=1)
    return per_position.sum() / target.sum().clamp(min=1.0)


def flow_error(flow: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean length of the velocity errors, m/s, smooth below 0.5 m/s: those of what moves count as much as those of what stands.

    flow, truth (M, 2): of voxels of things.
    """
    error = torch.nn.functional.smooth_l1_loss(flow.float(), truth, beta=0.5, reduction='none').sum(dim=1)
    moves = truth.abs().amax(dim=1) > 0
    parts = [error[kind].mean() for kind in (moves, ~moves) if bool(kind.any())]
    return torch.stack(parts).mean() if parts else error.sum()

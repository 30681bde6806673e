"""Last step of training: one offset per class on the logits, chosen on streets that nothing else has seen.

Class weights and the Jaccard loss make a network generous with rare classes; how generous pays best is a matter of 18 numbers,
found here by coordinate ascent and folded into the bias of the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from occ_perception.catalogue import NetworkEntry
from occ_perception.labels import FREE
from occ_perception.metrics.miou import ConfusionMatrix
from occ_perception.training.inputs import Trainable, encode
from occ_perception.training.loop import collate
from occ_perception.training.samples import load_sample

STEPS = (0.8, 0.4, 0.2, 0.1)
"""Changes that are tried, in logits; the ascent goes through them from large to small."""


def figure(confusion: ConfusionMatrix) -> float:
    """What is ascended: the mean of mIoU and geometric IoU."""
    return (confusion.miou() + confusion.geometric_iou()) / 2


def choose_offsets(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Offsets (classes,) float32 whose argmax(logits + offsets) has the best figure; logits (M, classes), weights (M,)."""
    classes = logits.shape[1]

    def score(shifted: np.ndarray) -> float:
        cells = classes * labels + shifted.argmax(axis=1)
        return figure(ConfusionMatrix(np.bincount(cells, weights=weights, minlength=classes ** 2).reshape(classes, classes)))

    offsets, shifted = np.zeros(classes, np.float32), logits.astype(np.float32)
    best = score(shifted)
    for step in STEPS:
        for index in (FREE, *range(FREE)):
            for change in (step, -step):
                shifted[:, index] += change
                value = score(shifted)
                if value > best:
                    best = value
                    offsets[index] += change
                    break
                shifted[:, index] -= change
    return offsets


@torch.inference_mode()
def calibrate(network: Trainable, row: NetworkEntry, files: Sequence[Path], bf16: bool) -> np.ndarray:
    """Fold the best offsets over the samples into the network's last bias; returns them, (classes,)."""
    network.eval()
    batches = map(partial(collate, row, random=np.random.default_rng(0)), ([load_sample(path)] for path in files))
    logits, labels, weights = [], [], []
    for batch in batches:
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            bev = encode(network, batch.inputs)[0]
            columns = network.occ_head.column_logits(bev, batch.columns)
        logits.append(columns.flatten(0, 1).index_select(0, batch.voxels).float().numpy())
        labels.append(batch.labels.numpy())
        weights.append(batch.weights.numpy())
    offsets = choose_offsets(np.concatenate(logits), np.concatenate(labels), np.concatenate(weights))
    last = network.occ_head.predicter[-1]
    assert isinstance(last, torch.nn.Linear)
    last.bias.add_(torch.from_numpy(offsets).repeat(len(last.bias) // len(offsets)))
    return offsets

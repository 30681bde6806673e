"""Counts of (true class, predicted class) pairs, the base of every IoU over voxels or points."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

Confusion = TypeVar('Confusion', bound='ConfusionCounts')


class ConfusionCounts:
    """Pair counts, rows truth and columns prediction, (n, n) int64 in `counts`; add frames, add up with +, then read the scores."""

    num_classes: int

    def __init__(self, counts: np.ndarray | None = None) -> None:
        shape = (self.num_classes, self.num_classes)
        self.counts = np.zeros(shape, np.int64) if counts is None else np.array(counts, np.int64)
        if self.counts.shape != shape:
            raise ValueError(f'counts of shape {self.counts.shape}: {type(self).__name__} has {shape}')

    def add(self, prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Count one frame: integer labels of one shape, mask of the same shape (nonzero = scored).

        Truth labels outside 0..n-1 (255 = not annotated) are left out. Raises ValueError for shapes that differ or for a
        predicted label, where it counts, that is no class.
        """
        prediction, truth = np.asarray(prediction), np.asarray(truth)
        if prediction.shape != truth.shape or (mask is not None and np.shape(mask) != truth.shape):
            shapes = f'prediction {prediction.shape}, truth {truth.shape}, mask {None if mask is None else np.shape(mask)}'
            raise ValueError(f'{shapes}: give arrays of one shape, on the same grid')
        scored = (truth >= 0) & (truth < self.num_classes)
        if mask is not None:
            scored &= np.asarray(mask).astype(bool)
        rows, columns = truth[scored].astype(np.int64), self._predicted(prediction[scored].astype(np.int64))
        self.counts += np.bincount(self.num_classes * rows + columns, minlength=self.num_classes ** 2).reshape(self.counts.shape)

    def _predicted(self, labels: np.ndarray) -> np.ndarray:
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            wrong = sorted({int(label) for label in np.unique(labels) if not 0 <= label < self.num_classes})
            raise ValueError(f'predicted labels {wrong} are no classes here: use 0..{self.num_classes - 1}')
        return labels

    def iou(self) -> np.ndarray:
        """(n,) float64 IoU of each class; NaN where a class is neither in the truth nor predicted."""
        return class_iou(self.counts)

    def __iadd__(self: Confusion, other: Confusion) -> Confusion:
        self.counts += other.counts
        return self

    def __add__(self: Confusion, other: Confusion) -> Confusion:
        return type(self)(self.counts + other.counts)


def class_iou(counts: np.ndarray) -> np.ndarray:
    """(n,) float64 h[c, c] / (row_c + column_c - h[c, c]) of an (n, n) confusion; NaN for 0 / 0."""
    hits = np.diag(counts).astype(np.float64)
    union = counts.sum(axis=1) + counts.sum(axis=0) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def mean_of_present(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN, without a warning, when none is left."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float('nan')

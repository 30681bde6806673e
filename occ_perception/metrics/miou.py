"""Occ3D mIoU under the camera mask, and the IoU of plain occupancy, both from one confusion matrix.

Occ3D's rule: IoU_c = h[c, c] / (row_c + column_c - h[c, c]) over the voxels of the whole set (never averaged per frame);
mIoU is the mean over classes 0..16, a class that is neither in the truth nor predicted is left out. Free (17) has no
IoU of its own in the mean, but "predicted c where the truth is free" counts against c.
"""

from __future__ import annotations

import numpy as np

from occ_perception.labels import FREE, OCC3D, UNKNOWN

NUM_CLASSES = len(OCC3D)


class ConfusionMatrix:
    """Voxel counts, rows truth and columns prediction, (18, 18) int64 in `counts`; add frames, then read the scores.

    A predicted voxel that is UNKNOWN counts as free: abstaining is a miss where something stands and gains nothing where
    nothing does, so a network cannot better its score by not answering.
    """

    def __init__(self, counts: np.ndarray | None = None) -> None:
        self.counts = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64) if counts is None else np.array(counts, np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Count one frame: prediction and truth (nx, ny, nz) integer labels, mask of the same shape (nonzero = scored).

        Truth labels outside 0..17 (255 = not annotated) are left out. Raises ValueError for shapes that differ or for a
        predicted label that is neither a class nor UNKNOWN.
        """
        prediction, truth = np.asarray(prediction), np.asarray(truth)
        if prediction.shape != truth.shape or (mask is not None and np.shape(mask) != truth.shape):
            shapes = f'prediction {prediction.shape}, truth {truth.shape}, mask {None if mask is None else np.shape(mask)}'
            raise ValueError(f'{shapes}: give arrays of one shape, on the same grid')
        scored = (truth >= 0) & (truth < NUM_CLASSES)
        if mask is not None:
            scored &= np.asarray(mask).astype(bool)
        rows, columns = truth[scored].astype(np.int64), prediction[scored].astype(np.int64)
        columns[columns == UNKNOWN] = FREE
        if columns.size and not 0 <= columns.min() <= columns.max() < NUM_CLASSES:
            wrong = sorted({int(label) for label in columns if not 0 <= label < NUM_CLASSES})
            raise ValueError(f'predicted labels {wrong} are no Occ3D classes: use 0..{NUM_CLASSES - 1} or {UNKNOWN} (unknown)')
        self.counts += np.bincount(NUM_CLASSES * rows + columns, minlength=NUM_CLASSES ** 2).reshape(self.counts.shape)

    def iou(self) -> np.ndarray:
        """(18,) float64 IoU of each class, free last; NaN where a class is neither in the truth nor predicted."""
        hits = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(axis=1) + self.counts.sum(axis=0) - hits
        return np.divide(hits, union, out=np.full(NUM_CLASSES, np.nan), where=union > 0)

    def miou(self) -> float:
        """Mean IoU of classes 0..16, in 0..1; NaN before any such voxel was counted."""
        present = self.iou()[:FREE]
        present = present[~np.isnan(present)]
        return float(present.mean()) if present.size else float('nan')

    def geometric_iou(self) -> float:
        """IoU of occupied (any class but free) against free, in 0..1; NaN when nothing is occupied in either."""
        total, free = int(self.counts.sum()), int(self.counts[FREE, FREE])
        both = int(self.counts[:FREE, :FREE].sum())
        return both / (total - free) if total > free else float('nan')

    def __iadd__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        self.counts += other.counts
        return self

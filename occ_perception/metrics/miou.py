"""Occ3D mIoU under the camera mask, and the IoU of plain occupancy, both from one confusion matrix.

Occ3D's rule (Tian et al., Occ3D, NeurIPS 2023): IoU_c = h[c, c] / (row_c + column_c - h[c, c]) over the voxels of the whole set
(never averaged per frame); mIoU is the mean over classes 0..16, a class that is neither in the truth nor predicted is left out.
Free (17) has no IoU of its own in the mean, but "predicted c where the truth is free" counts against c.
"""

from __future__ import annotations

import numpy as np

from occ_perception.labels import FREE, OCC3D, UNKNOWN
from occ_perception.metrics.confusion import ConfusionCounts, mean_of_present

NUM_CLASSES = len(OCC3D)


class ConfusionMatrix(ConfusionCounts):
    """Voxel counts of the 18 Occ3D classes, rows truth and columns prediction, (18, 18) int64 in `counts`.

    A predicted voxel that is UNKNOWN counts as free: abstaining is a miss where something stands and gains nothing where
    nothing does, so a network cannot better its score by not answering. The benchmark scores under the camera mask; with the
    LiDAR mask, or with none, give `add` that.
    """

    num_classes = NUM_CLASSES

    def _predicted(self, labels: np.ndarray) -> np.ndarray:
        labels[labels == UNKNOWN] = FREE
        if labels.size and not 0 <= labels.min() <= labels.max() < NUM_CLASSES:
            wrong = sorted({int(label) for label in np.unique(labels) if not 0 <= label < NUM_CLASSES})
            raise ValueError(f'predicted labels {wrong} are no Occ3D classes: use 0..{NUM_CLASSES - 1} or {UNKNOWN} (unknown)')
        return labels

    def miou(self) -> float:
        """Mean IoU of classes 0..16, in 0..1; NaN before any such voxel was counted."""
        return mean_of_present(self.iou()[:FREE])

    def geometric_iou(self) -> float:
        """IoU of occupied (any class but free) against free, in 0..1; NaN when nothing is occupied in either."""
        total, free = int(self.counts.sum()), int(self.counts[FREE, FREE])
        both = int(self.counts[:FREE, :FREE].sum())
        return both / (total - free) if total > free else float('nan')

"""RayIoU: IoU over LiDAR-like rays, a hit being right when its class is and its depth is near enough.

Source: Liu et al., "Fully Sparse 3D Occupancy Prediction" (SparseOcc, ECCV 2024).
"""

from __future__ import annotations

import numpy as np

from occ_perception.metrics.confusion import mean_of_present
from occ_perception.metrics.label_sets import OCC3D_SET, ScoredClasses
from occ_perception.metrics.ray_cast import RayHits

THRESHOLDS_M = (1, 2, 4)


class RayIoU:
    """Ray counts of a data set; add frames, add up with +, then read the scores.

    tp: (3, C) int64, rays of class c in both whose depths differ by less than 1, 2, 4 m; truth, predicted: (C,) int64 rays of class
    c. C = classes with free. Only rays whose true label is not free count at all: hitting something where the truth is free all
    the way costs nothing. There is no visibility mask.
    """

    def __init__(self, label_set: ScoredClasses = OCC3D_SET) -> None:
        self.label_set = label_set
        count = len(label_set.names)
        self.tp = np.zeros((len(THRESHOLDS_M), count), np.int64)
        self.truth, self.predicted = np.zeros(count, np.int64), np.zeros(count, np.int64)

    def add(self, prediction: RayHits, truth: RayHits) -> None:
        """Count one frame: the same rays, all origins together, cast through the predicted and through the true labels."""
        kept = truth_rays(prediction, truth, self.label_set)
        depth_error = np.abs(prediction.distance_m[kept] - truth.distance_m[kept])  # float32, as the depths are
        self._count(prediction.labels[kept], truth.labels[kept], depth_error)

    def _count(self, predicted: np.ndarray, true: np.ndarray, depth_error: np.ndarray) -> None:
        count = len(self.label_set.names)
        self.truth += np.bincount(true, minlength=count)
        self.predicted += np.bincount(predicted, minlength=count)
        for row, threshold in zip(self.tp, THRESHOLDS_M, strict=True):
            row += np.bincount(true[(predicted == true) & (depth_error < threshold)], minlength=count)

    def iou(self) -> np.ndarray:
        """(3, C - 1) float64 IoU by threshold and class without free; NaN where a class is neither true nor predicted."""
        union = self.truth + self.predicted - self.tp
        return np.divide(self.tp, union, out=np.full(self.tp.shape, np.nan), where=union > 0)[:, :self.label_set.free]

    def scores(self) -> dict[str, float]:
        """RayIoU (mean over thresholds and classes) and RayIoU@1, @2, @4, 0..1; NaN when there was nothing to score."""
        iou = self.iou()
        by_threshold = {f'RayIoU@{t}': mean_of_present(row) for t, row in zip(THRESHOLDS_M, iou, strict=True)}
        return {'RayIoU': mean_of_present(iou), **by_threshold}

    def __iadd__(self, other: RayIoU) -> RayIoU:
        self.tp += other.tp
        self.truth += other.truth
        self.predicted += other.predicted
        return self

    def __add__(self, other: RayIoU) -> RayIoU:
        total = RayIoU(self.label_set)
        total += self
        total += other
        return total


def truth_rays(prediction: RayHits, truth: RayHits, label_set: ScoredClasses) -> np.ndarray:
    """Numbers of the rays that count: those whose true label is not free.

    Raises ValueError when the two have not the same rays or hold labels that the set lacks.
    """
    if prediction.labels.shape != truth.labels.shape:
        raise ValueError(f'{prediction.labels.size} predicted rays, {truth.labels.size} true ones: cast both from the same origins')
    for name, hits in (('predicted', prediction), ('true', truth)):
        if hits.labels.size and hits.labels.max() > label_set.free:
            raise ValueError(f'{name} label {hits.labels.max()} is not in 0..{label_set.free}: this metric has '
                             f'{len(label_set.names)} labels, free last')
    return np.flatnonzero(truth.labels != label_set.free)

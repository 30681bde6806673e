"""RayPQ: panoptic quality over LiDAR-like rays.

Source: Liu et al., "Fully Sparse 3D Occupancy Prediction" (SparseOcc, ECCV 2024); Yu et al., "Panoptic-FlashOcc" (2024).
"""

from __future__ import annotations

import numpy as np

from occ_perception.metrics.confusion import mean_of_present
from occ_perception.metrics.label_sets import OCC3D_SET, ScoredClasses
from occ_perception.metrics.panoptic import PanopticCounts, annotated_segments, match_segments, predicted_segments
from occ_perception.metrics.ray_cast import RayHits
from occ_perception.metrics.ray_iou import THRESHOLDS_M, truth_rays

MIN_RAYS = 10


class RayPQ(PanopticCounts):
    """Segment counts (3, C) of a data set by threshold (1, 2, 4 m) and class with free; add frames, then read the scores.

    A segment's area is all its rays; two segments overlap on the rays of both whose depths differ by less than the threshold.
    """

    floor = 1e-5

    def __init__(self, label_set: ScoredClasses = OCC3D_SET) -> None:
        super().__init__((len(THRESHOLDS_M), len(label_set.names)))
        self.label_set = label_set

    def add(self, prediction: RayHits, truth: RayHits, predicted_ids: np.ndarray, true_ids: np.ndarray) -> None:
        """Count one frame: the same rays, all origins together, and the grids of instance ids they are to read.

        predicted_ids, true_ids: integers of the grid's shape. The true ones follow SparseOcc's annotation: 0 = no instance.
        Predicted stuff must carry one id throughout its class, or it is scored as several segments.
        """
        kept = truth_rays(prediction, truth, self.label_set)
        labels, predicted_labels = truth.labels[kept], prediction.labels[kept]
        ids = prediction.read(predicted_ids)[kept]
        segments = annotated_segments(labels, truth.read(true_ids)[kept], self.label_set.things)
        depth_error = np.abs(prediction.distance_m[kept] - truth.distance_m[kept])
        near = [depth_error < threshold for threshold in THRESHOLDS_M]
        self.iou_rows.append(np.zeros(self.tp.shape))
        for label in range(self.label_set.free):
            true = np.where(labels == label, segments, -1)
            results = match_segments(predicted_segments(predicted_labels, ids, label), true, MIN_RAYS, near)
            for row, matches in enumerate(results):
                self._count((row, label), matches)

    def pq(self) -> np.ndarray:
        """(3, C) float64 PQ by threshold and class; NaN for classes without any segment, free among them."""
        return np.where(self.occurring(), self.sq() * self.rq(), np.nan)

    def scores(self) -> dict[str, float]:
        """RayPQ (mean over thresholds and classes) and RayPQ@1, @2, @4, 0..1; NaN when there was nothing to score."""
        pq = self.pq()
        by_threshold = {f'RayPQ@{t}': mean_of_present(row) for t, row in zip(THRESHOLDS_M, pq, strict=True)}
        return {'RayPQ': mean_of_present(pq), **by_threshold}

    def __add__(self, other: RayPQ) -> RayPQ:
        total = RayPQ(self.label_set)
        total += self
        total += other
        return total

"""Panoptic quality of LiDAR points, as the nuScenes devkit computes it.

Source: Fong et al., "Panoptic nuScenes: A Large-Scale Benchmark for LiDAR Panoptic Segmentation and Tracking" (RA-L 2022);
PQ-dagger: Porzi et al., "Seamless Scene Segmentation" (CVPR 2019).
"""

from __future__ import annotations

import numpy as np

from occ_perception.metrics.confusion import ConfusionCounts
from occ_perception.metrics.panoptic import PanopticCounts, match_segments, predicted_segments

NUM_CLASSES = 17
MIN_POINTS = 15
THINGS = slice(1, 11)
STUFF = slice(11, 17)


class _PointCounts(ConfusionCounts):
    num_classes = NUM_CLASSES


class NuScenesPanoptic(PanopticCounts):
    """Segment counts (17,) and point counts of a data set by class, 0 = noise; add frames, add up with +, then read the scores.

    Classes 1..10 are things (barriers and traffic cones among them), 11..16 stuff.
    """

    floor = 1e-15

    def __init__(self) -> None:
        super().__init__((NUM_CLASSES,))
        self.points = _PointCounts()

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Count one sweep: panoptic labels (N,), 1000 * class (0..16) + instance, of every point.

        Points whose true class is 0 are left out. Raises ValueError for shapes that differ and predicted classes above 16.
        """
        prediction, truth = np.asarray(prediction).astype(np.int64), np.asarray(truth).astype(np.int64)
        self.points.add(prediction // 1000, truth // 1000)
        # a prediction of noise on another point stays: it belongs to no segment, and that point is missed
        prediction, truth = prediction[truth >= 1000], truth[truth >= 1000]
        self.iou_rows.append(np.zeros(NUM_CLASSES))
        for label in range(1, NUM_CLASSES):
            # the whole label is the segment: an instance number may come again in another class
            of_label = predicted_segments(prediction // 1000, prediction, label), predicted_segments(truth // 1000, truth, label)
            self._count((label,), match_segments(*of_label, MIN_POINTS)[0])

    def pq(self) -> np.ndarray:
        """(17,) float64 PQ of each class; 0 for classes without any segment."""
        return self.sq() * self.rq()

    def iou(self) -> np.ndarray:
        """(17,) float64 IoU of each class over points that are not noise; 0 for classes that never occur."""
        counts = self.points.counts.copy()
        counts[0] = 0
        hits = np.diag(counts)
        return hits / np.maximum(counts.sum(axis=0) + counts.sum(axis=1) - hits, self.floor)

    def scores(self) -> dict[str, float]:
        """PQ, SQ, RQ, mIoU, PQ of things and of stuff, and PQ_dagger (IoU in place of PQ for stuff), 0..1.

        Plain means over classes, so that one without anything counts 0.
        """
        pq, iou = self.pq(), self.iou()
        means = {'PQ': pq[1:], 'SQ': self.sq()[1:], 'RQ': self.rq()[1:], 'mIoU': iou[1:], 'PQ_things': pq[THINGS],
                 'PQ_stuff': pq[STUFF], 'PQ_dagger': np.concatenate([pq[THINGS], iou[STUFF]])}
        return {name: float(values.mean()) for name, values in means.items()}

    def __iadd__(self, other: NuScenesPanoptic) -> NuScenesPanoptic:
        super().__iadd__(other)
        self.points += other.points
        return self

    def __add__(self, other: NuScenesPanoptic) -> NuScenesPanoptic:
        total = NuScenesPanoptic()
        total += self
        total += other
        return total

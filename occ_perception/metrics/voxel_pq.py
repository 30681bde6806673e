"""Panoptic quality over the voxels of a mask, as SparseOcc's first panoptic metric has it.

Source: the evaluation code released with Liu et al., "Fully Sparse 3D Occupancy Prediction" (SparseOcc, ECCV 2024).
"""

from __future__ import annotations

import numpy as np

from occ_perception.metrics.confusion import mean_of_present
from occ_perception.metrics.label_sets import OCC3D_SET, ScoredClasses
from occ_perception.metrics.panoptic import PanopticCounts, annotated_segments, match_segments, predicted_segments

MIN_VOXELS = 20


class VoxelPQ(PanopticCounts):
    """Segment counts (C,) of a data set by class with free; add frames, add up with +, then read the scores."""

    floor = 1e-5

    def __init__(self, label_set: ScoredClasses = OCC3D_SET) -> None:
        super().__init__((len(label_set.names),))
        self.label_set = label_set

    def add(self, prediction: np.ndarray, truth: np.ndarray, predicted_ids: np.ndarray, true_ids: np.ndarray,
            mask: np.ndarray | None = None) -> None:
        """Count one frame: integer labels and instance ids and the mask (nonzero = scored), all of one shape.

        True id 0 = no instance. Raises ValueError for shapes that differ.
        """
        shapes = [np.shape(a) for a in (prediction, truth, predicted_ids, true_ids)] + ([] if mask is None else [np.shape(mask)])
        if len(set(shapes)) > 1:
            raise ValueError(f'prediction, truth, predicted ids, true ids, mask have the shapes {shapes}: give one grid')
        scored = np.ones(truth.shape, bool) if mask is None else np.asarray(mask).astype(bool)
        labels, predicted_labels, ids = truth[scored], prediction[scored], predicted_ids[scored]
        segments = annotated_segments(labels, true_ids[scored], self.label_set.things)
        self.iou_rows.append(np.zeros(self.tp.shape))
        for label in range(self.label_set.free):
            true = np.where(labels == label, segments, -1)
            self._count((label,), match_segments(predicted_segments(predicted_labels, ids, label), true, MIN_VOXELS)[0])

    def scores(self) -> dict[str, float]:
        """PQ, SQ and RQ, 0..1, each the mean over the classes that occur; NaN when there was nothing to score."""
        present = self.occurring()
        values = {'PQ': self.sq() * self.rq(), 'SQ': self.sq(), 'RQ': self.rq()}
        return {name: mean_of_present(value[present]) for name, value in values.items()}

    def __add__(self, other: VoxelPQ) -> VoxelPQ:
        total = VoxelPQ(self.label_set)
        total += self
        total += other
        return total

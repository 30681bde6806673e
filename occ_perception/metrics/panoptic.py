"""Segment matching and panoptic quality, shared by the panoptic metrics over rays, voxels and points.

Source: Kirillov et al., "Panoptic Segmentation" (CVPR 2019): PQ = SQ * RQ, a predicted and a true segment of one class match when
their IoU is above 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from occ_perception.metrics.frame_sums import exact_sum

Panoptic = TypeVar('Panoptic', bound='PanopticCounts')


class PanopticCounts:
    """Matched, surplus and missed segments by class: tp, fp, fn int64 of `shape` (last axis the class); add up with +.

    iou_rows: for each frame the sum of the matched segments' IoU, of `shape`.
    """

    floor: float
    """Least divisor in SQ and RQ; each benchmark has its own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.tp, self.fp, self.fn = (np.zeros(shape, np.int64) for _ in range(3))
        self.iou_rows: list[np.ndarray] = []

    @property
    def iou_sum(self) -> np.ndarray:
        """Sum of the IoU of matched segments over all frames, float64 of `shape`."""
        return exact_sum(self.iou_rows, self.tp.shape)

    def sq(self) -> np.ndarray:
        """Segmentation quality, the mean IoU of the matches; 0 without any."""
        return self.iou_sum / np.maximum(self.tp, self.floor)

    def rq(self) -> np.ndarray:
        """Recognition quality, the F1 score of the matching; 0 without any match."""
        return self.tp / np.maximum(self.tp + 0.5 * self.fp + 0.5 * self.fn, self.floor)

    def occurring(self) -> np.ndarray:
        """Bool of `shape`: classes that have any counted segment."""
        return self.tp + self.fp + self.fn > 0

    def __iadd__(self: Panoptic, other: Panoptic) -> Panoptic:
        self.tp += other.tp
        self.fp += other.fp
        self.fn += other.fn
        self.iou_rows = self.iou_rows + other.iou_rows
        return self

    def _count(self, at: tuple[int, ...], matches: tuple[int, int, int, float]) -> None:
        """Add (tp, fp, fn, IoU sum) at one place of the arrays, the IoU sum to the newest frame."""
        self.tp[at] += matches[0]
        self.fp[at] += matches[1]
        self.fn[at] += matches[2]
        self.iou_rows[-1][at] += matches[3]


def match_segments(predicted: np.ndarray, true: np.ndarray, min_area: int,
                   overlaps: Sequence[np.ndarray | None] = (None,)) -> list[tuple[int, int, int, float]]:
    """Match the segments of one class, once for each rule of overlap: [(tp, fp, fn, sum of the matches' IoU)].

    predicted, true: (N,) integer segment of each element, negative where it is not of the class. Unmatched segments smaller than
    min_area elements are neither false nor missed. overlaps: (N,) bool, where the two may overlap at all (None: everywhere);
    areas count all elements.
    """
    of_prediction, of_truth = predicted >= 0, true >= 0
    prediction_ids, prediction_areas = np.unique(predicted[of_prediction], return_counts=True)
    truth_ids, truth_areas = np.unique(true[of_truth], return_counts=True)
    both = np.flatnonzero(of_prediction & of_truth)
    pair = np.searchsorted(truth_ids, true[both]) * len(prediction_ids) + np.searchsorted(prediction_ids, predicted[both])
    results = []
    for overlap in overlaps:
        code, intersection = np.unique(pair if overlap is None else pair[overlap[both]], return_counts=True)
        truth_at, prediction_at = np.divmod(code, max(len(prediction_ids), 1))
        iou = intersection / (truth_areas[truth_at] + prediction_areas[prediction_at] - intersection)
        match = iou > 0.5
        surplus, missed = prediction_areas >= min_area, truth_areas >= min_area
        surplus[prediction_at[match]] = missed[truth_at[match]] = False
        results.append((int(match.sum()), int(surplus.sum()), int(missed.sum()), float(iou[match].sum())))
    return results


def annotated_segments(labels: np.ndarray, ids: np.ndarray, things: Sequence[int]) -> np.ndarray:
    """(N,) int64 true segment of each element, unique within its class, as SparseOcc's panoptic metrics form them.

    labels, ids: (N,) integers. Stuff: one segment of the whole class, whatever its ids. Things: one for each id.
    """
    ids, labels = ids.astype(np.int64), labels.astype(np.int64)
    pairs = np.unique(np.stack([ids, labels]), axis=1)
    values, classes = np.unique(pairs[0], return_counts=True)
    # quirk: things without id, and things whose id has elements of several classes, form one common segment of their class
    told_apart = np.isin(ids, values[(classes == 1) & (values > 0)])
    return np.where(np.isin(labels, things) & told_apart, ids, 0)


def predicted_segments(labels: np.ndarray, ids: np.ndarray, label: int) -> np.ndarray:
    """(N,) int64 predicted segment of each element in one class, -1 outside; elements whose id is negative are in no segment."""
    return np.where(labels == label, ids.astype(np.int64), -1)

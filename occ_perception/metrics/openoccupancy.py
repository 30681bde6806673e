"""OpenOccupancy scores: scene completion (SC, "geometric IoU") and semantic scene completion (SSC) IoU.

Source: Wang et al., "OpenOccupancy: A Large Scale Benchmark for Surrounding Semantic Occupancy Perception" (ICCV 2023). Labels:
0 empty, 1..16 the nuScenes LiDAR segmentation classes, 255 noise (left out); no visibility mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from occ_perception.metrics.confusion import ConfusionCounts, class_iou


class OpenOccupancyIoU(ConfusionCounts):
    """Voxel counts of the 17 classes, (17, 17) int64 in `counts`, summed over the data set.

    A coarse-to-fine model is scored with two of these: SSC is read off the coarse prediction and SSC_fine off `fine_labels`; its
    published SC is the fine one's, which replaces the coarse one's.
    """

    num_classes = 17

    def sc_counts(self) -> np.ndarray:
        """(2, 2) int64 confusion of empty and occupied, rows truth."""
        occupied = (np.arange(self.num_classes) > 0).astype(np.int64)
        pooling = np.stack([1 - occupied, occupied])
        return pooling @ self.counts @ pooling.T

    def sc(self) -> float:
        """Scene completion: IoU of occupied, 0..1."""
        return float(class_iou(self.sc_counts())[1])

    def ssc(self) -> float:
        """Semantic scene completion: plain mean of the IoU of classes 1..16, 0..1."""
        # quirk: not a mean over those present; one class that is neither annotated nor predicted makes the score NaN
        return float(self.iou()[1:].mean())

    def scores(self) -> dict[str, float]:
        """SC and SSC by the benchmark's names, 0..1."""
        return {'SC': self.sc(), 'SSC': self.ssc()}


def effocc_total(samples: Sequence[OpenOccupancyIoU]) -> OpenOccupancyIoU:
    """Sum of the samples' counts, in data set order, as EFFOcc's evaluation has it (Shi et al., EFFOcc, 2024)."""
    # quirk: its sum starts as the first sample and then adds all of them, so that the first counts twice
    total = samples[0] + OpenOccupancyIoU()
    for sample in samples:
        total += sample
    return total


def resized_labels(logits: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Class of each voxel of a larger grid, uint8 of `shape`: logits (17, h, w, d) resized trilinearly, then the best class.

    The corners of the two grids coincide (align_corners=False). Done slab by slab in float32, so that memory stays bounded.
    """
    if logits.ndim != 4:
        raise ValueError(f'logits of shape {logits.shape}: give (classes, h, w, d)')
    height, width, depth = logits.shape[1:]
    low_y, high_y, share_y = _taps(width, shape[1])
    low_z, high_z, share_z = _taps(depth, shape[2])
    low_x, high_x, share_x = _taps(height, shape[0])
    plane: dict[int, np.ndarray] = {}
    labels = np.empty(shape, np.uint8)
    for x in range(shape[0]):
        pair = (int(low_x[x]), int(high_x[x]))
        plane = {row: plane[row] if row in plane else _blend(
            _blend(logits[:, row].astype(np.float32), low_z, high_z, share_z, 2), low_y, high_y, share_y, 1) for row in pair}
        mixed = plane[pair[0]] * (1 - share_x[x]) + plane[pair[1]] * share_x[x]
        labels[x] = mixed.argmax(axis=0)
    return labels


def fine_labels(logits: np.ndarray, voxels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Class of each voxel, uint8 of `shape`, of a coarse-to-fine model: logits (n, 17) at voxels (3, n), 0 (empty) elsewhere."""
    labels = np.zeros(shape, np.uint8)
    labels[tuple(np.asarray(voxels))] = np.asarray(logits).argmax(axis=1)
    return labels


def _taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper source index and the upper's float32 share, for each target index."""
    place = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * np.float32(source / target) - np.float32(0.5), 0)
    low = place.astype(np.int64)
    return low, np.minimum(low + 1, source - 1), place - low.astype(np.float32)


def _blend(values: np.ndarray, low: np.ndarray, high: np.ndarray, share: np.ndarray, axis: int) -> np.ndarray:
    share = share.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return values.take(low, axis) * (1 - share) + values.take(high, axis) * share

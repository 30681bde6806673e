"""Point-wise mIoU of nuScenes LiDAR segmentation, as PanoOcc prints it and as the nuScenes devkit defines it.

Source: Fong et al., "Panoptic nuScenes" (RA-L 2022); Wang et al., "PanoOcc" (CVPR 2024). Labels: 0 noise, 1..16 classes.
"""

from __future__ import annotations

import numpy as np

from occ_perception.metrics.confusion import ConfusionCounts, class_iou, mean_of_present


class LidarSegmentationIoU(ConfusionCounts):
    """Point counts of noise and the 16 classes, rows truth and columns prediction, (17, 17) int64 in `counts`."""

    num_classes = 17

    def panoocc_miou(self) -> float:
        """Mean IoU of classes 1..16 as PanoOcc prints it, 0..1."""
        # quirk: noise points stay, a class predicted on one is a false positive; a class that never occurs makes the mean NaN
        return float(self.iou()[1:].mean())

    def devkit_iou(self) -> np.ndarray:
        """(17,) IoU with noise points left out, the devkit's; NaN for noise and for classes that never occur."""
        counts = self.counts.copy()
        counts[0] = counts[:, 0] = 0
        return class_iou(counts)

    def devkit_miou(self) -> float:
        """Mean of `devkit_iou` over the classes that occur, 0..1; the benchmark's mIoU (it asks for predictions in 1..16)."""
        return mean_of_present(self.devkit_iou())

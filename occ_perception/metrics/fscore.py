"""F-score of occupancy: how much of the prediction is near something true, and the other way round, whatever the class.

Source: the evaluation kit of the CVPR 2023 occupancy challenge (Occ3D-nuScenes), optional there; also in PanoOcc and SparseOcc.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import FREE, UNKNOWN

EPSILON = 1e-8


class FScore:
    """Accuracy, completeness and F-score of each frame, in `frames`; add frames, add up with +, then read the scores.

    threshold_m: a voxel counts when a voxel centre of the other grid is strictly nearer than this. PanoOcc and the challenge use
    0.4, the code's own default is 0.6. At 0.4 that means "the same voxel or nothing", but for neighbours whose centres come out
    nearer than 0.4 by rounding.
    """

    def __init__(self, threshold_m: float = 0.4, grid: VoxelGridSpec = OCC3D_GRID) -> None:
        self.threshold_m = threshold_m
        self.grid = grid
        self.frames: list[tuple[float, float, float]] = []

    def add(self, prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Score one frame: Occ3D labels (nx, ny, nz) and the camera mask (nonzero = observed; the rest is void in both).

        FREE and UNKNOWN voxels are void. A frame without any predicted, or without any true voxel scores 0.
        """
        if prediction.shape != truth.shape or (mask is not None and np.shape(mask) != truth.shape):
            shapes = f'prediction {prediction.shape}, truth {truth.shape}, mask {None if mask is None else np.shape(mask)}'
            raise ValueError(f'{shapes}: give arrays of one shape, on the same grid')
        observed = np.ones(truth.shape, bool) if mask is None else np.asarray(mask).astype(bool)
        predicted, true = (self._centers(observed & (labels != FREE) & (labels != UNKNOWN)) for labels in (prediction, truth))
        if not len(predicted) or not len(true):
            self.frames.append((0.0, 0.0, 0.0))
            return
        accuracy = float((cKDTree(true).query(predicted)[0] < self.threshold_m).mean())
        completeness = float((cKDTree(predicted).query(true)[0] < self.threshold_m).mean())
        self.frames.append((accuracy, completeness, 2 / (1 / (accuracy + EPSILON) + 1 / (completeness + EPSILON))))

    def _centers(self, occupied: np.ndarray) -> np.ndarray:
        # quirk: float64 and in this order of sums, which decides whether a neighbour is nearer than the threshold
        edge = self.grid.resolution_m
        return np.stack([index * edge + edge / 2 + lower for index, lower in
                         zip(np.nonzero(occupied), self.grid.origin_m, strict=True)], axis=1)

    def scores(self) -> dict[str, float]:
        """Mean over frames of F-score, accuracy and completeness, 0..1; NaN without frames."""
        names = ('accuracy', 'completeness', 'f_score')
        if not self.frames:
            return dict.fromkeys(names, float('nan'))
        means = (math.fsum(column) / len(self.frames) for column in zip(*self.frames, strict=True))
        return dict(zip(names, means, strict=True))

    def __iadd__(self, other: FScore) -> FScore:
        self.frames = self.frames + other.frames
        return self

    def __add__(self, other: FScore) -> FScore:
        total = FScore(self.threshold_m, self.grid)
        total.frames = self.frames + other.frames
        return total

"""Occupancy and flow score of the CVPR 2024 challenge: RayIoU and the mean velocity error (mAVE) of the things that rays hit.

Source: the evaluation code of OpenDriveLab's OccNet (Tong et al., "Scene as Occupancy", ICCV 2023) for OpenOcc v2: the repository's
own evaluation, and the metric of the challenge's server.
"""

from __future__ import annotations

import numpy as np

from occ_perception.metrics.confusion import mean_of_present
from occ_perception.metrics.frame_sums import exact_sum
from occ_perception.metrics.label_sets import OPENOCC_SET, ScoredClasses
from occ_perception.metrics.ray_cast import RayHits
from occ_perception.metrics.ray_iou import THRESHOLDS_M, RayIoU, truth_rays

FLOW_THRESHOLD = THRESHOLDS_M.index(2)
SUM_BLOCK = 8192


class OccupancyFlowScore(RayIoU):
    """RayIoU counts with velocity errors; add frames, add up with +, then read the scores.

    server: score as the challenge's server does its submission files. Cast the rays with single_precision=True for it. Papers
    quote the repository's evaluation (the default) unless they quote the server.
    flow_rows: for each frame (C,) float64 summed velocity error in m/s; flow_rays: (C,) int64 how many errors went into them.
    """

    def __init__(self, label_set: ScoredClasses = OPENOCC_SET, server: bool = False) -> None:
        super().__init__(label_set)
        self.server = server
        self.flow_rows: list[np.ndarray] = []
        self.flow_rays = np.zeros(len(label_set.names), np.int64)

    def add_flow(self, prediction: RayHits, truth: RayHits, predicted_flow: np.ndarray, true_flow: np.ndarray) -> None:
        """Count one frame: the same rays, all origins together, and the velocity grids they are to read.

        predicted_flow, true_flow: (nx, ny, nz, 2) floating point, vx and vy in m/s.
        """
        kept = truth_rays(prediction, truth, self.label_set)
        (predicted_depth, predicted_velocity), (true_depth, true_velocity) = (
            self._as_stored(hits.distance_m[kept], hits.read(flow)[kept])
            for hits, flow in ((prediction, predicted_flow), (truth, true_flow)))
        predicted, true = prediction.labels[kept], truth.labels[kept]
        depth_error = np.abs(predicted_depth - true_depth)
        self._count(predicted, true, depth_error)
        self.flow_rows.append(np.zeros(len(self.label_set.names)))
        hit = (predicted == true) & (depth_error < THRESHOLDS_M[FLOW_THRESHOLD])
        for label in self.label_set.things:
            rays = hit & (true == label)
            if rays.any():
                if self.server:
                    # quirk: one true positive of the class, and the errors of all rays of the frame go into its mean
                    rays = np.ones(len(kept), bool)
                error = np.linalg.norm(true_velocity[rays] - predicted_velocity[rays], axis=1)
                self.flow_rows[-1][label] = _sum_in_blocks(error)
                self.flow_rays[label] += len(error)

    def _as_stored(self, distance: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depth and velocity as the official code holds them: in one array for the repository, as float16 files for the server."""
        if self.server:
            return distance.astype(np.float16).astype(np.float32), flow.astype(np.float16).astype(np.float32)
        common = np.promote_types(np.float32, flow.dtype)
        return distance.astype(common), flow.astype(common)

    def ave(self) -> np.ndarray:
        """(C - 1,) float64 mean velocity error in m/s of each thing class at 2 m; NaN for stuff and things never hit rightly."""
        out = np.full(len(self.label_set.names), np.nan)
        np.divide(exact_sum(self.flow_rows, out.shape), self.flow_rays, out=out, where=self.flow_rays > 0)
        return out[:self.label_set.free]

    def scores(self) -> dict[str, float]:
        """RayIoU's scores, mAVE in m/s and OccScore = 0.9 RayIoU + 0.1 max(1 - mAVE, 0); NaN when there was nothing to score."""
        scores, mave = super().scores(), mean_of_present(self.ave())
        return {**scores, 'mAVE': mave, 'OccScore': scores['RayIoU'] * 0.9 + max(1 - mave, 0.0) * 0.1}

    def __iadd__(self, other: RayIoU) -> OccupancyFlowScore:
        if not isinstance(other, OccupancyFlowScore) or other.server != self.server:
            raise ValueError('an OccupancyFlowScore adds up only with one of the same flavour (server or not)')
        super().__iadd__(other)
        self.flow_rows = self.flow_rows + other.flow_rows
        self.flow_rays += other.flow_rays
        return self

    def __add__(self, other: RayIoU) -> OccupancyFlowScore:
        total = OccupancyFlowScore(self.label_set, self.server)
        total += self
        total += other
        return total


def _sum_in_blocks(errors: np.ndarray) -> float:
    """Sum in the precision of the errors (float32 as a rule), by blocks, as NumPy 1, under which the official code runs, sums."""
    # quirk: the float32 rounding, in the seventh digit, is part of the published figures; NumPy 2 sums without blocks
    total = errors.dtype.type(0)
    for begin in range(0, len(errors), SUM_BLOCK):
        total += errors[begin:begin + SUM_BLOCK].sum()
    return float(total)

"""What is counted of predictions: kept frame by frame where pictures need it, added up over sequences without any rounding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.labels import FREE
from occ_perception.metrics.label_sets import OCC3D_SET
from occ_perception.metrics.lidar_segmentation import LidarSegmentationIoU
from occ_perception.metrics.miou import NUM_CLASSES, ConfusionMatrix
from occ_perception.metrics.occupancy_flow import OccupancyFlowScore
from occ_perception.metrics.ray_cast import cast_rays
from occ_perception.metrics.ray_iou import RayIoU
from occ_perception.metrics.ray_pq import RayPQ
from occ_perception.runtime.frames import Instance

_RAY_IOU = ('tp', 'truth', 'predicted')
_RAY_PQ = ('tp', 'fp', 'fn')


@dataclass(frozen=True)
class Answer:
    """What was answered for a frame: labels (200, 200, 16) uint8, instance_ids (200, 200, 16) integers, flow (200, 200, 16, 2) m/s,
    points (M,) uint8 classes 0 ... 16 of the LiDAR points.

    UNKNOWN labels count as free in every metric: not answering is a miss where something stands, and gains nothing elsewhere.
    """

    labels: np.ndarray
    instance_ids: np.ndarray | None = None
    flow: np.ndarray | None = None
    points: np.ndarray | None = None


@dataclass
class Counts:
    """Counts of a data set or a part of it; add frames, add up with +.

    confusions: one (2, 18, 18) int64 per frame, over the voxels of the camera mask and over all, rows truth, columns prediction.
    ray_iou: filled by frames that are given ray origins; ray_pq by those of them whose truth has instances; flow by those whose
    truth has flow; points: of LiDAR points. The numbers of such frames are in ray_frames, pq_frames and flow_frames.
    """

    confusions: list[np.ndarray] = field(default_factory=list)
    ray_iou: RayIoU = field(default_factory=RayIoU)
    ray_pq: RayPQ = field(default_factory=RayPQ)
    flow: OccupancyFlowScore = field(default_factory=lambda: OccupancyFlowScore(OCC3D_SET))
    ray_frames: int = 0
    pq_frames: int = 0
    flow_frames: int = 0
    points: LidarSegmentationIoU = field(default_factory=LidarSegmentationIoU)

    def add_points(self, answer: Answer, truth: np.ndarray) -> None:
        """Count the points of a frame; truth (M,) uint8 as in Answer. Raises ValueError for another number of points."""
        assert answer.points is not None
        if len(answer.points) != len(truth):
            raise ValueError(f'{len(answer.points)} labelled points, but truth has {len(truth)}: was part of the sweep left out?')
        self.points.add(answer.points, truth)

    def add(self, answer: Answer, truth: OccupancyTruth, origins_m: np.ndarray | None = None) -> None:
        """Count a frame. origins_m: (n, 3) ray origins, None to leave the ray metrics out."""
        labels = answer.labels if truth.others else np.where(answer.labels == 0, FREE, answer.labels).astype(np.uint8)
        seen, everywhere = ConfusionMatrix(), ConfusionMatrix()
        seen.add(labels, truth.labels, truth.mask_camera)
        everywhere.add(labels, truth.labels)
        self.confusions.append(np.stack([seen.counts, everywhere.counts]))
        if origins_m is None:
            return
        predicted, true = (cast_rays(labels, origins_m, FREE) for labels in (labels, truth.labels))
        self.ray_iou.add(predicted, true)
        self.ray_frames += 1
        if truth.instances is not None:
            ids = np.zeros(truth.labels.shape, np.uint16) if answer.instance_ids is None else answer.instance_ids
            self.ray_pq.add(predicted, true, ids, truth.instances)
            self.pq_frames += 1
        if truth.flow is not None and answer.flow is not None:
            self.flow.add_flow(predicted, true, answer.flow, truth.flow)
            self.flow_frames += 1

    @property
    def frames(self) -> int:
        """Counted frames."""
        return len(self.confusions)

    def confusion(self, seen: bool = True) -> ConfusionMatrix:
        """Over all frames: voxels of the camera mask (seen), or all voxels."""
        return ConfusionMatrix(sum((frame[0 if seen else 1] for frame in self.confusions), np.zeros((NUM_CLASSES,) * 2, np.int64)))

    def frame_miou(self, index: int) -> float:
        """mIoU of one frame under the camera mask over the classes that occur in it, 0..1; NaN when none does."""
        return ConfusionMatrix(self.confusions[index][0]).miou()

    def __iadd__(self, other: Counts) -> Counts:
        self.confusions = self.confusions + other.confusions
        self.ray_iou += other.ray_iou
        self.ray_pq += other.ray_pq
        self.flow += other.flow
        self.ray_frames += other.ray_frames
        self.pq_frames += other.pq_frames
        self.flow_frames += other.flow_frames
        self.points += other.points
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as named arrays, for a file."""
        shape = (0, 2, NUM_CLASSES, NUM_CLASSES)
        out: dict[str, Any] = {'confusions': np.array(self.confusions, np.int64).reshape(-1, *shape[1:])}
        for name in _RAY_IOU:
            out[f'ray_iou_{name}'], out[f'flow_{name}'] = getattr(self.ray_iou, name), getattr(self.flow, name)
        for name in _RAY_PQ:
            out[f'ray_pq_{name}'] = getattr(self.ray_pq, name)
        out['ray_pq_iou_rows'] = np.array(self.ray_pq.iou_rows).reshape(-1, *self.ray_pq.tp.shape)
        out['flow_rows'] = np.array(self.flow.flow_rows).reshape(-1, *self.flow.flow_rays.shape)
        out['flow_rays'] = self.flow.flow_rays
        out['point_counts'] = self.points.counts
        out['frames'] = np.array([self.ray_frames, self.pq_frames, self.flow_frames])
        return out

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Counts:
        """Back from `arrays`, exactly."""
        counts = cls(list(arrays['confusions']))
        for name in _RAY_IOU:
            setattr(counts.ray_iou, name, arrays[f'ray_iou_{name}'])
            setattr(counts.flow, name, arrays[f'flow_{name}'])
        for name in _RAY_PQ:
            setattr(counts.ray_pq, name, arrays[f'ray_pq_{name}'])
        counts.ray_pq.iou_rows = list(arrays['ray_pq_iou_rows'])
        counts.flow.flow_rows, counts.flow.flow_rays = list(arrays['flow_rows']), arrays['flow_rays']
        counts.points = LidarSegmentationIoU(arrays.get('point_counts'))  # absent in older files
        counts.ray_frames, counts.pq_frames, counts.flow_frames = (int(n) for n in arrays['frames'])
        return counts


def flow_of(instance_ids: np.ndarray, instances: tuple[Instance, ...]) -> np.ndarray:
    """(nx, ny, nz, 2) float32 m/s, ego axes: each voxel moves as the object it belongs to, (0, 0) without one."""
    highest = max((one.id for one in instances), default=0)
    velocity = np.zeros((max(highest, int(instance_ids.max(initial=0))) + 1, 2), np.float32)
    for one in instances:
        velocity[one.id] = one.velocity_m_s[:2]
    return velocity[instance_ids]

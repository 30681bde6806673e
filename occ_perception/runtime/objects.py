"""The objects of one frame, in whichever way its network tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.protocol import Inference
from occ_perception.geometry.transforms import apply, inverse
from occ_perception.runtime.boxes import Boxes, decode_boxes, objects_from_boxes
from occ_perception.runtime.frames import Instance, SensorFrame
from occ_perception.runtime.instances import instances_from_labels
from occ_perception.runtime.panoptic import CenterClasses, decode_centers, instances_from_centers


@dataclass(frozen=True)
class FoundObjects:
    """Objects of one frame with its own ids: see OccupancyPrediction. point_ids: of labelled LiDAR points, 0 = none."""

    instance_ids: np.ndarray
    instances: tuple[Instance, ...]
    point_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint16))
    boxes: Boxes | None = None


def find_objects(inference: Inference, row: NetworkEntry, classes: CenterClasses, frame: SensorFrame,
                 ego_from_grid: np.ndarray) -> FoundObjects:
    """From boxes, instance centres or, without either, components of labels; labels are refined where the network finds boxes.

    classes: table of runtime.panoptic for networks with centres. ego_from_grid: (4, 4) at the frame's stamp.
    """
    labels, centers = inference.labels, inference.centers
    if inference.boxes is not None:
        boxes = decode_boxes(inference.boxes.scores, inference.boxes.codes)
        points, point_labels = np.zeros((0, 3), np.float32), np.zeros(0, np.uint8)
        if inference.point_labels is not None:
            points, point_labels = apply(inverse(ego_from_grid), frame.sweeps[0].points[:, :3]), inference.point_labels
        certain = boxes.take(np.flatnonzero(boxes.score >= row.center_threshold))
        made = objects_from_boxes(labels, certain, row.grid, points, point_labels)
        return FoundObjects(made.instance_ids, made.instances, made.point_ids, boxes)
    if centers is None:
        return FoundObjects(*instances_from_labels(labels, row.grid))
    found = decode_centers(centers.heatmap, centers.reg, centers.height, row.center_threshold, row.grid)
    return FoundObjects(*instances_from_centers(labels, found, row.grid, classes))

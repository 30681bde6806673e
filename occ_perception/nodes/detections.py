"""Boxes of a network as vision_msgs/Detection3DArray, where that package is installed (there is no wheel of it)."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Vector3

from occ_perception.geometry.transforms import matrix, rotation_from_quaternion
from occ_perception.labels import OCC3D
from occ_perception.nodes.conversions import header, pose_message
from occ_perception.runtime.frames import OccupancyPrediction

try:
    from vision_msgs import msg as vision_msgs
except ModuleNotFoundError:  # pip machines
    vision_msgs = None


def detection_type() -> Any:
    """The class vision_msgs/Detection3DArray, None where the package is not installed."""
    return None if vision_msgs is None else vision_msgs.Detection3DArray


def detection_array_message(prediction: OccupancyPrediction, frame_id: str, messages: Any = None) -> Any:
    """Detection3DArray of all boxes of a prediction, the most certain first, in the vehicle's frame; class_id is the class name.

    messages: the module that holds vision_msgs' message classes, None for the installed one.
    """
    messages = messages or vision_msgs
    head = header(prediction.stamp_ns, frame_id)
    array = messages.Detection3DArray(header=head)
    for box in prediction.boxes or ():
        half = box.yaw_rad / 2
        own = matrix(rotation_from_quaternion(0, 0, np.sin(half), np.cos(half)), box.center_m)
        pose = pose_message(prediction.ego_from_grid @ own)
        told = messages.ObjectHypothesisWithPose()
        told.hypothesis.class_id, told.hypothesis.score = OCC3D[box.label].name, float(box.score)
        told.pose.pose = pose
        one = messages.Detection3D(header=head, results=[told])
        one.bbox.center, one.bbox.size = pose, Vector3(**dict(zip('xyz', box.size_m, strict=True)))
        array.detections.append(one)
    return array

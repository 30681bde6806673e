"""What of a street's objects the sensors notice at a key frame, for nuScenes annotations."""

from __future__ import annotations

from typing import Any

import numpy as np

from occ_perception.datasets.nuscenes_tables import pose_fields
from occ_perception.datasets.sample_world.frame import WorldFrame
from occ_perception.datasets.sample_world.street import Street, StreetObject
from occ_perception.geometry.transforms import apply, inverse, matrix

_MIN_PIXELS = 12


def noticed_objects(street: Street, frame: WorldFrame) -> list[dict[str, Any]]:
    """Objects that the frame's LiDAR hits or of which its pictures show at least a dozen pixels, as annotation_records wants."""
    assert frame.sweep is not None
    count = len(street.objects) + 1
    pixels = np.sum([np.bincount(view.instance.ravel(), minlength=count) for view in frame.cameras.values()], axis=0)
    points = np.bincount(frame.sweep.instance, minlength=count)
    out = []
    for thing in street.objects:
        if points[thing.id] == 0 and pixels[thing.id] < _MIN_PIXELS:
            continue
        pose = thing.track.pose(frame.time_s)
        box = pose @ matrix(np.eye(3), np.array(thing.center_m))
        length, width, height = thing.size_m
        out.append(
            {
                'id': thing.id,
                'category': thing.category,
                'attribute': thing.attribute,
                **pose_fields(box),
                'size': [width, length, height],
                'seen_share': min(1.0, float(pixels[thing.id]) / _picture_area(thing, pose, frame)),
                'lidar_points': int(points[thing.id]),
            }
        )
    return out


def _picture_area(thing: StreetObject, pose: np.ndarray, frame: WorldFrame) -> float:
    """Pixels that the object would cover if nothing hid it: 0.7 of its box's upright rectangles in all pictures."""
    half = np.array(thing.size_m) / 2
    corners = np.array(thing.center_m) + half * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    world = apply(pose, corners)
    area = 0.0
    for view in frame.cameras.values():
        local = apply(inverse(view.fixed_from_ego @ view.ego_from_camera), world)
        if local[:, 2].min() < 0.3:
            continue
        uv = local[:, :2] / local[:, 2:] * np.diag(view.intrinsics)[:2] + view.intrinsics[:2, 2]
        size = np.array(view.depth.shape[::-1])
        low, high = np.clip(uv.min(axis=0), 0, size), np.clip(uv.max(axis=0), 0, size)
        area += 0.7 * float(np.prod(high - low))
    return max(area, 1.0)

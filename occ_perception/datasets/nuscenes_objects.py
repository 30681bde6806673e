"""Annotated nuScenes boxes as objects of the Occ3D classes, in the ego frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from occ_perception.datasets.bag_writer import TrueObject
from occ_perception.datasets.nuscenes import NuScenes, Sample
from occ_perception.geometry.transforms import inverse

_CLASSES = {'movable_object.barrier': 1, 'vehicle.bicycle': 2, 'vehicle.bus': 3, 'vehicle.car': 4, 'vehicle.construction': 5,
            'vehicle.motorcycle': 6, 'human.pedestrian': 7, 'movable_object.trafficcone': 8, 'vehicle.trailer': 9,
            'vehicle.truck': 10}
"""Beginning of a nuScenes category -> Occ3D class; what is not listed is 0, others."""
_OTHERS = ('human.pedestrian.personal_mobility', 'human.pedestrian.stroller', 'human.pedestrian.wheelchair')
"""Categories that the nuScenes detection classes leave out although their names begin like one of them."""


def occ3d_class(category: str) -> int:
    """Occ3D class of a nuScenes category as the nuScenes detection task groups them; 0 (others) for what it leaves out."""
    if category in _OTHERS:
        return 0
    return next((label for start, label in _CLASSES.items() if category == start or category.startswith(f'{start}.')), 0)


def true_objects(data: NuScenes, sample: Sample, fixed_from_ego: np.ndarray, numbers: dict[str, int]) -> Iterator[TrueObject]:
    """Annotated objects of a key frame in the ego frame.

    numbers: instance token -> id; filled on the way, so that an object keeps its id through a scene.
    """
    ego_from_fixed = inverse(fixed_from_ego)
    for box in data.boxes(sample):
        velocity = ego_from_fixed[:3, :3] @ np.nan_to_num(data.velocity(box))
        yield TrueObject(numbers.setdefault(box.instance_token, len(numbers) + 1), occ3d_class(box.category),
                         ego_from_fixed @ box.fixed_from_box, box.size_m, velocity)

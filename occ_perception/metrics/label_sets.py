"""The label sets that voxel and ray metrics know: class names in label order, free last, and which classes are things."""

from __future__ import annotations

from dataclasses import dataclass

from occ_perception.labels import OCC3D, THINGS


@dataclass(frozen=True)
class ScoredClasses:
    """Class names in label order, the last one free; labels of the classes whose objects are told apart."""

    names: tuple[str, ...]
    things: tuple[int, ...]

    @property
    def free(self) -> int:
        """Label of free space, which is also the number of the other classes."""
        return len(self.names) - 1


OCC3D_SET = ScoredClasses(tuple(info.name for info in OCC3D), THINGS)
"""Occ3D-nuScenes, 18 labels. In the panoptic ray and voxel metrics barriers and traffic cones are stuff."""
OPENOCC_SET = ScoredClasses(
    ('car', 'truck', 'trailer', 'bus', 'construction_vehicle', 'bicycle', 'motorcycle', 'pedestrian', 'traffic_cone', 'barrier',
     'driveable_surface', 'other_flat', 'sidewalk', 'terrain', 'manmade', 'vegetation', 'free'), tuple(range(8)))
"""OpenOcc v2, 17 labels (CVPR 2024 occupancy and flow challenge)."""

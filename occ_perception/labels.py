"""The 18 Occ3D-nuScenes classes: names, colours, which are things, which can be driven on."""

from __future__ import annotations

from dataclasses import dataclass

FREE = 17
"""Label of a voxel that was seen and is empty."""
UNKNOWN = 255
"""Label of a voxel that no valid sensor could see; never the same as free."""


@dataclass(frozen=True)
class ClassInfo:
    """One class of a label set: id, name, RGB colour (0..255), thing (countable) or stuff, drivable."""

    id: int
    name: str
    color: tuple[int, int, int]
    thing: bool = False
    drivable: bool = False


OCC3D = (
    ClassInfo(0, 'others', (0, 0, 0)),
    ClassInfo(1, 'barrier', (255, 120, 50)),
    ClassInfo(2, 'bicycle', (255, 192, 203), thing=True),
    ClassInfo(3, 'bus', (255, 255, 0), thing=True),
    ClassInfo(4, 'car', (0, 150, 245), thing=True),
    ClassInfo(5, 'construction_vehicle', (0, 255, 255), thing=True),
    ClassInfo(6, 'motorcycle', (200, 180, 0), thing=True),
    ClassInfo(7, 'pedestrian', (255, 0, 0), thing=True),
    ClassInfo(8, 'traffic_cone', (255, 240, 150)),
    ClassInfo(9, 'trailer', (135, 60, 0), thing=True),
    ClassInfo(10, 'truck', (160, 32, 240), thing=True),
    ClassInfo(11, 'driveable_surface', (255, 0, 255), drivable=True),
    ClassInfo(12, 'other_flat', (175, 0, 75)),
    ClassInfo(13, 'sidewalk', (75, 0, 75)),
    ClassInfo(14, 'terrain', (150, 240, 80)),
    ClassInfo(15, 'manmade', (230, 230, 250)),
    ClassInfo(16, 'vegetation', (0, 175, 0)),
    ClassInfo(FREE, 'free', (255, 255, 255)),
)
"""Occ3D-nuScenes classes in label order (Tian et al., Occ3D, NeurIPS 2023)."""

FLAT = (11, 12, 13, 14)
"""Occ3D classes that lie on the ground: no obstacle, whether or not they may be driven on."""

THINGS = tuple(c.id for c in OCC3D if c.thing)
"""Occ3D classes whose voxels are grouped to instances: 2, 3, 4, 5, 6, 7, 9, 10."""

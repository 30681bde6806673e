"""Label sets: what each voxel label means; free and unknown are the same in all of them."""

from __future__ import annotations

from dataclasses import dataclass

FREE = 17
"""Label of a voxel that was seen and is empty, in every label set (data sets and networks that number it otherwise are mapped)."""
UNKNOWN = 255
"""Label of a voxel that no valid sensor could see; never the same as free."""


@dataclass(frozen=True)
class ClassInfo:
    """One class of a label set: id, name, RGB colour (0..255), thing (countable) or stuff, drivable, flat.

    flat: lies on the ground and is no obstacle, whether or not it may be driven on.
    """

    id: int
    name: str
    color: tuple[int, int, int]
    thing: bool = False
    drivable: bool = False
    flat: bool = False


@dataclass(frozen=True)
class LabelSet:
    """Classes by ascending id, FREE last. name: as LabelInfo.label_set tells it."""

    name: str
    classes: tuple[ClassInfo, ...]

    @property
    def occupied(self) -> tuple[ClassInfo, ...]:
        """The classes without free."""
        return self.classes[:-1]

    @property
    def things(self) -> tuple[int, ...]:
        """Ids of the classes whose voxels are grouped to instances."""
        return tuple(info.id for info in self.classes if info.thing)

    @property
    def flat(self) -> tuple[int, ...]:
        """Ids of the classes that lie on the ground."""
        return tuple(info.id for info in self.classes if info.flat)


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
    ClassInfo(11, 'driveable_surface', (255, 0, 255), drivable=True, flat=True),
    ClassInfo(12, 'other_flat', (175, 0, 75), flat=True),
    ClassInfo(13, 'sidewalk', (75, 0, 75), flat=True),
    ClassInfo(14, 'terrain', (150, 240, 80), flat=True),
    ClassInfo(15, 'manmade', (230, 230, 250)),
    ClassInfo(16, 'vegetation', (0, 175, 0)),
    ClassInfo(FREE, 'free', (255, 255, 255)),
)
"""Occ3D-nuScenes classes in label order (Tian et al., Occ3D, NeurIPS 2023)."""

OCC3D_NUSCENES = LabelSet('occ3d_nuscenes', OCC3D)
"""What networks trained on nuScenes publish, whatever their own numbering."""

FLAT = OCC3D_NUSCENES.flat
"""Occ3D classes that lie on the ground: no obstacle, whether or not they may be driven on."""

THINGS = OCC3D_NUSCENES.things
"""Occ3D classes whose voxels are grouped to instances: 2, 3, 4, 5, 6, 7, 9, 10."""

WAYMO = LabelSet('occ3d_waymo', (
    ClassInfo(0, 'general_object', (120, 120, 120)),
    ClassInfo(1, 'vehicle', (0, 150, 245), thing=True),
    ClassInfo(2, 'pedestrian', (255, 0, 0), thing=True),
    ClassInfo(3, 'sign', (255, 120, 50)),
    ClassInfo(4, 'cyclist', (255, 192, 203), thing=True),
    ClassInfo(5, 'traffic_light', (255, 240, 0)),
    ClassInfo(6, 'pole', (100, 80, 160)),
    ClassInfo(7, 'construction_cone', (255, 240, 150)),
    ClassInfo(8, 'bicycle', (220, 120, 140), thing=True),
    ClassInfo(9, 'motorcycle', (200, 180, 0), thing=True),
    ClassInfo(10, 'building', (230, 230, 250)),
    ClassInfo(11, 'vegetation', (0, 175, 0)),
    ClassInfo(12, 'tree_trunk', (135, 60, 0)),
    ClassInfo(13, 'road', (255, 0, 255), drivable=True, flat=True),
    ClassInfo(14, 'walkable', (75, 0, 75), flat=True),
    ClassInfo(FREE, 'free', (255, 255, 255)),
))
"""Occ3D-Waymo (same source); its files say 23 for free."""

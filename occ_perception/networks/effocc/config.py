"""EFFOcc configurations as data; imports no torch.

Shi et al., EFFOcc: A Minimal Baseline for Efficient Fusion-based 3D Occupancy Network (arXiv 2406.07042).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from occ_perception.geometry.neighbour_tables import Halving
from occ_perception.geometry.voxelise import VoxelSpec
from occ_perception.labels import FREE
from occ_perception.networks.flashocc.config import BackboneConfig, FlashOccConfig, SwinConfig
from occ_perception.networks.lidar_branch import LidarBranch

STEPS = (Halving(), Halving(), Halving(padding=(0, 1, 1)), Halving((3, 1, 1), (2, 1, 1), (0, 0, 0)))
"""Of the published encoders: three halvings and a convolution along z."""
CAPS = (120_000, 130_000, 80_000, 40_000, 30_000)
"""Voxels per level that exported networks of 5 cm voxels have room for, the first as published."""


@dataclass(frozen=True)
class CameraBranch:
    """backbone and neck ('fpn' or 'fpn_lss') of the pictures, channels of the image features, and context lifted into the map."""

    backbone: BackboneConfig | SwinConfig
    neck: str = 'fpn'
    neck_channels: int = 128
    lift_channels: int = 64

    def __post_init__(self) -> None:
        if self.neck not in ('fpn', 'fpn_lss'):
            raise ValueError(f"neck {self.neck!r} is unknown: use 'fpn' or 'fpn_lss'")


@dataclass(frozen=True)
class EffOccConfig:
    """lidar, camera: the branches; camera None for networks without. fused_channels: of the map where both meet. bev_widths:
    stages of the map's encoder, each of 1 + bev_layers convolutions, the later ones strided; bev_channels: what its neck makes of
    each. head_channels: the head's first layer. labels: label of each class of the head, in the network's label set. flow: whether
    every voxel's velocity is told.
    """

    lidar: LidarBranch
    camera: CameraBranch | None
    fused_channels: int = 256
    bev_widths: tuple[int, ...] = (128, 256)
    bev_layers: tuple[int, ...] = (5, 5)
    bev_channels: tuple[int, ...] = (256, 256)
    head_channels: int = 256
    labels: tuple[int, ...] = tuple(range(18))
    flow: bool = False

    def __post_init__(self) -> None:
        if not len(self.bev_widths) == len(self.bev_layers) == len(self.bev_channels):
            raise ValueError(f'BEV stages do not match: widths {self.bev_widths}, layers {self.bev_layers}, '
                             f'channels {self.bev_channels}')

    @property
    def classes(self) -> int:
        """Of the head."""
        return len(self.labels)

    @property
    def past_frames(self) -> int:
        """No network of this family looks at earlier frames' pictures."""
        return 0


def _branch(voxels: VoxelSpec, caps: tuple[int, ...]) -> LidarBranch:
    return LidarBranch(voxels, caps[0], 5, (16, 32, 64, 128), (2, 2, 2, 2), STEPS, 128, caps, extra_layers=1)


_R18 = CameraBranch(BackboneConfig('basic', 64, (64, 128, 256, 512), (2, 2, 2, 2), (1, 2, 3)))
_R50 = CameraBranch(BackboneConfig(outputs=(1, 2, 3)))
_SWIN = CameraBranch(SwinConfig(), 'fpn_lss', 512, 256)
_FUSION = EffOccConfig(_branch(VoxelSpec((-40.0, -40.0, -1.0), (40.0, 40.0, 5.4), (0.05, 0.05, 0.16), 10), CAPS), _R18)
_WAYMO = replace(_FUSION, labels=(*range(15), FREE))
_OPENOCCUPANCY = replace(
    _FUSION, labels=(FREE, *range(1, 17)),
    lidar=_branch(VoxelSpec((-51.2, -51.2, -5.0), (51.2, 51.2, 3.0), (0.025, 0.025, 0.2), 10),
                  (120_000, 200_000, 160_000, 100_000, 80_000)))
_OPENOCC_LABELS = (4, 10, 9, 3, 5, 2, 6, 7, 8, 1, 11, 12, 13, 14, 15, 16, FREE, FREE)
"""Occ3D's label of OpenOcc's car, truck, trailer, bus, construction_vehicle, bicycle, motorcycle, pedestrian, traffic_cone,
barrier, driveable_surface, other_flat, sidewalk, terrain, manmade, vegetation, free, and of one class that never occurs."""

_SAMPLE = EffOccConfig(
    LidarBranch(VoxelSpec((-40.0, -40.0, -1.0), (40.0, 40.0, 5.4), (0.2, 0.2, 0.4), 10), 28_000, 5, (16, 32), (1, 1),
                (Halving(), STEPS[-1]), 24, (28_000, 20_000, 16_000), 1, (40.0, 40.0, 3.0, 50.0, 0.3)),
    CameraBranch(BackboneConfig('basic', 32, (32, 64, 128, 256), (2, 2, 2, 2), (1, 2, 3)), 'fpn', 96, 32),
    fused_channels=48, bev_widths=(40, 64, 128), bev_layers=(1, 2, 2), bev_channels=(24, 24, 24), head_channels=48, flow=True)

CONFIGS: dict[str, EffOccConfig | FlashOccConfig] = {
    'effocc-fusion-r18': _FUSION,
    'effocc-fusion-r50': replace(_FUSION, camera=_R50),
    'effocc-fusion-swinb-512x1408': replace(_FUSION, camera=_SWIN),
    'effocc-fusion-r18-flow': replace(_FUSION, labels=_OPENOCC_LABELS, flow=True),
    'effocc-openoccupancy-r18': _OPENOCCUPANCY,
    'effocc-openoccupancy-r50-512x1408': replace(_OPENOCCUPANCY, camera=_R50),
    'effocc-fusion-waymo': _WAYMO,
    'effocc-lidar-waymo': replace(_WAYMO, camera=None),
    # trained by distillation: neck and head as wide as its teacher's, so that they begin as the teacher's
    'effocc_sample': _SAMPLE,
    'effocc-student-r50': FlashOccConfig(bev_channels=512),
}

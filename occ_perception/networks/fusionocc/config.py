"""Configurations of FusionOcc as data; imports no torch.

Zhang et al., FusionOcc: Multi-Modal Fusion for 3D Occupancy Prediction (ACM MM 2024).
"""

from __future__ import annotations

from dataclasses import dataclass

from occ_perception.geometry.neighbour_tables import Halving
from occ_perception.geometry.voxelise import VoxelSpec
from occ_perception.networks.flashocc.config import SwinConfig
from occ_perception.networks.lidar_branch import LidarBranch

FINE_VOXELS = VoxelSpec((-40.0, -40.0, -1.0), (40.0, 40.0, 5.4), (0.05, 0.05, 0.05), points_per_voxel=None, axes='xyz')
"""Voxels of 5 cm over the grid of Occ3D-nuScenes: all points count, in the order of the axes x, y, z."""
LIDAR = LidarBranch(FINE_VOXELS, None, 5, (16, 32, 48, 64), (3, 3, 3, 2), (Halving(),) * 3, 32,
                    (200_000, 240_000, 150_000, 70_000))
"""The sparse branch; a stage's blocks count the halving behind it."""

_SWIN_B = SwinConfig()


@dataclass(frozen=True)
class FusionOccConfig:
    """Channels of the network.

    neck_channels: image features. fusion_channels: of each modality where they meet. segment_channels, context_channels: what is
    lifted. segments: classes that pixels are told (0 noise, 1 ... 16 as Occ3D counts, 17 background). past_frames: volumes of
    earlier frames in front of the present one. lidar: the LiDAR branch. volume_widths, volume_blocks: stages of the 3D encoder.
    volume_channels: its neck's output. head_channels: the head's first layer.
    """

    backbone: SwinConfig = _SWIN_B
    neck_channels: int = 256
    fusion_channels: int = 128
    segment_channels: int = 16
    context_channels: int = 16
    segments: int = 18
    past_frames: int = 1
    lidar: LidarBranch = LIDAR
    volume_widths: tuple[int, ...] = (64, 128, 256)
    volume_blocks: tuple[int, ...] = (1, 2, 3)
    volume_channels: int = 64
    head_channels: int = 64
    classes: int = 18

    def __post_init__(self) -> None:
        if len(self.volume_widths) != len(self.volume_blocks):
            raise ValueError(f'volume stages do not match: widths {self.volume_widths}, blocks {self.volume_blocks}')

    @property
    def lift_channels(self) -> int:
        """Channels of a frame's volume."""
        return self.segment_channels + self.context_channels


CONFIGS = {'fusionocc-swinb-512x1408-mask': FusionOccConfig(), 'fusionocc-swinb-512x1408': FusionOccConfig()}
"""One network, trained with and without the camera mask in its loss."""

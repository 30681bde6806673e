"""Configurations of FusionOcc as data; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from occ_perception.geometry.voxelise import VoxelSpec
from occ_perception.networks.flashocc.config import SwinConfig

FINE_VOXELS = VoxelSpec((-40.0, -40.0, -1.0), (40.0, 40.0, 5.4), (0.05, 0.05, 0.05), points_per_voxel=None, axes='xyz')
"""Voxels of 5 cm over the grid of Occ3D-nuScenes: all points count, in the order of the axes x, y, z."""


@dataclass(frozen=True)
class LidarConfig:
    """The sparse LiDAR branch.

    columns: of a point (x, y, z, intensity, ring). voxels: in which points are averaged; those of the
    last stage are the network's. widths: channels of
    each stage, every one but the last followed by a halving of the grid. blocks: convolutions per stage, the halving one
    included. channels: what comes out.
    """

    columns: int = 5
    voxels: VoxelSpec = FINE_VOXELS
    widths: tuple[int, ...] = (16, 32, 48, 64)
    blocks: tuple[int, ...] = (3, 3, 3, 2)
    channels: int = 32

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks):
            raise ValueError(f'LiDAR stages do not match: widths {self.widths}, blocks {self.blocks}')
        step = 1 << len(self.widths) - 1
        if any(cells % step for cells in self.voxels.shape):
            raise ValueError(f'{self.voxels.shape} LiDAR voxels cannot be halved {len(self.widths) - 1} times: the branch takes '
                             f'multiples of {step}')

    @property
    def cells(self) -> tuple[int, int, int]:
        """Cells of the last stage along x, y, z."""
        x, y, z = (cells >> len(self.widths) - 1 for cells in self.voxels.shape)
        return x, y, z


_SWIN_B, _LIDAR = SwinConfig(), LidarConfig()


@dataclass(frozen=True)
class FusionOccConfig:
    """Channels of the network.

    neck_channels: image features. fusion_channels: of each modality where they meet. segment_channels, context_channels: what is
    lifted. segments: classes that pixels are told (0 noise, 1 ... 16 as Occ3D counts, 17 background). past_frames: volumes of
    earlier frames in front of the present one. lidar: the LiDAR branch, fed with the present points and the sweeps of
    `sweep_ages_s`. volume_widths, volume_blocks: stages of the 3D encoder. volume_channels: its neck's output. head_channels: the
    head's first layer.
    """

    backbone: SwinConfig = _SWIN_B
    neck_channels: int = 256
    fusion_channels: int = 128
    segment_channels: int = 16
    context_channels: int = 16
    segments: int = 18
    past_frames: int = 1
    lidar: LidarConfig = _LIDAR
    sweep_ages_s: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
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


_FUSION = FusionOccConfig()

CONFIGS = {'fusionocc-swinb-512x1408-mask': _FUSION, 'fusionocc-swinb-512x1408': _FUSION}
"""One network, trained with and without the camera mask in its loss."""

PUBLISHED = {'fusionocc-swinb-512x1408-mask': 56.62, 'fusionocc-swinb-512x1408': 35.94}
"""mIoU in percent on Occ3D-nuScenes val, README.md of github.com/ShuoZhang-code/FusionOcc at 83ded38. Its column "Mask" has them
the other way round, which is not settled: the gap between other networks' scores suggests that 56.62 was trained and scored with
the camera mask, 35.94 without."""

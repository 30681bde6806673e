"""Configurations of PanoOcc (Wang et al., "PanoOcc", CVPR 2024) as data; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from occ_perception.networks.flashocc.config import BackboneConfig


@dataclass(frozen=True)
class CaffeBackboneConfig(BackboneConfig):
    """Residual backbone in Caffe's form (see parts.resnet.Bottleneck). deformable: stages with deformable convolutions."""

    deformable: tuple[int, ...] = (2, 3)


@dataclass(frozen=True)
class InternImageConfig:
    """InternImage backbone: width of the first stage, blocks and groups per stage, stages given out."""

    channels: int = 160
    blocks: tuple[int, ...] = (6, 6, 32, 6)
    groups: tuple[int, ...] = (10, 20, 40, 40)
    outputs: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        if len(self.groups) != len(self.blocks) or not all(0 <= stage < len(self.blocks) for stage in self.outputs):
            raise ValueError(f'stages do not match: groups {self.groups}, blocks {self.blocks}, outputs {self.outputs}')


@dataclass(frozen=True)
class PanoOccConfig:
    """Sizes and switches of a PanoOcc network.

    levels: of the feature pyramid. queries: voxel queries along y, x, z. origin_m, extent_m: the box that they fill, in the ego
    frame or, with `panoptic`, the LiDAR's. channels, heads, feed_forward: of every attention layer. encoder_layers, box_layers: how
    many. self_points: places that a voxel looks at in each volume. panoptic: the form that labels LiDAR points and finds boxes,
    with a recurrent volume (one key frame back, unless past_frames is 0) and classes 0 noise ... 16; else the Occ3D form, with
    volumes of past_frames key frames, each frame_step key frames apart, stacked, and classes 0 ... 17 free. boxes: queries of the
    box decoder. voxel_channels: of a fine voxel. fine_points: LiDAR points are looked up in a finer grid (published as HR_TEST).
    """

    backbone: BackboneConfig | InternImageConfig = CaffeBackboneConfig(blocks=(3, 4, 23, 3), outputs=(0, 1, 2, 3))
    levels: int = 5
    queries: tuple[int, int, int] = (50, 50, 16)
    origin_m: tuple[float, float, float] = (-40.0, -40.0, -1.0)
    extent_m: tuple[float, float, float] = (80.0, 80.0, 6.4)
    channels: int = 256
    heads: int = 8
    feed_forward: int = 512
    encoder_layers: int = 3
    self_points: int = 8
    image_points: int = 8
    cameras: int = 6
    panoptic: bool = False
    past_frames: int = 3
    frame_step: int = 4
    box_layers: int = 3
    boxes: int = 900
    box_points: int = 4
    voxel_channels: int = 32
    mlp_channels: int = 128
    classes: int = 18
    fine_points: bool = False

    def __post_init__(self) -> None:
        if self.channels % self.heads:
            raise ValueError(f'{self.channels} channels cannot be shared among {self.heads} heads')
        if self.queries[0] != self.queries[1]:
            raise ValueError(f'voxel queries {self.queries}: give as many along y as along x')
        if not self.panoptic and 200 % self.queries[0]:
            raise ValueError(f'{self.queries[0]} voxel queries along y: give a number that divides the 200 voxels of Occ3D')


_SMALL = PanoOccConfig()
_BASE = replace(_SMALL, queries=(100, 100, 16))
_RESNET_101 = CaffeBackboneConfig(blocks=(3, 4, 23, 3), outputs=(1, 2, 3))
_PANOPTIC = PanoOccConfig(BackboneConfig(outputs=(1, 2, 3)), levels=4, origin_m=(-51.2, -51.2, -5.0), extent_m=(102.4, 102.4, 8.0),
                          panoptic=True, past_frames=1, frame_step=1, box_layers=6, classes=17)

CONFIGS = {
    'panoocc-small': _SMALL,
    'panoocc-base': _BASE,
    'panoocc-base-pretrain': _BASE,
    'panoocc-panoptic-small-1f': replace(_PANOPTIC, self_points=4, past_frames=0),
    'panoocc-panoptic-small-4f': _PANOPTIC,
    'panoocc-panoptic-base-4f': replace(_PANOPTIC, backbone=_RESNET_101),
    'panoocc-panoptic-large-4f': replace(_PANOPTIC, backbone=InternImageConfig(), fine_points=True),
}
"""base and base-pretrain are one network, trained from other weights with other weights of the losses."""

PUBLISHED_FILES = {
    'panoocc-small': 'occ3d_PanoOcc_small', 'panoocc-base': 'occ3d_PanoOcc_base',
    'panoocc-base-pretrain': 'occ3d_PanoOcc_base_pretrain', 'panoocc-panoptic-small-1f': 'panoptic_PanoOcc_small_1f',
    'panoocc-panoptic-small-4f': 'panoptic_PanoOcc_small_4f', 'panoocc-panoptic-base-4f': 'panoptic_PanoOcc_base_4f',
    'panoocc-panoptic-large-4f': 'panoptic_PanoOcc_large_4f'}
"""Name -> what its published configuration is called (folder, then file)."""

UNRELEASED = ('PanoOcc_base_4f_cat_test', 'PanoOcc_XL_4f_cat_test')
"""Rows of the authors' README (LiDAR segmentation, test split, mIoU 71.4 and 73.7); their configurations are not released."""

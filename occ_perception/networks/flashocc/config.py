"""Configurations of the BEVDet line (BEVDet-Occ, FlashOcc, Panoptic-FlashOcc) as data; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class BackboneConfig:
    """Residual image backbone: block 'basic' or 'bottleneck', stem and stage widths, blocks per stage, stages given out."""

    block: str = 'bottleneck'
    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    outputs: tuple[int, ...] = (2, 3)

    def __post_init__(self) -> None:
        if self.block not in ('basic', 'bottleneck'):
            raise ValueError(f"residual block {self.block!r} is unknown: use 'basic' or 'bottleneck'")
        if len(self.widths) != len(self.blocks) or not all(0 <= stage < len(self.blocks) for stage in self.outputs):
            raise ValueError(f'stages do not match: widths {self.widths}, blocks {self.blocks}, outputs {self.outputs}')


@dataclass(frozen=True)
class SwinConfig:
    """Swin image backbone: channels of the first stage, blocks and heads per stage, window size, stages given out."""

    channels: int = 128
    blocks: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 12
    outputs: tuple[int, ...] = (2, 3)

    def __post_init__(self) -> None:
        if len(self.heads) != len(self.blocks) or not all(0 <= stage < len(self.blocks) for stage in self.outputs):
            raise ValueError(f'stages do not match: heads {self.heads}, blocks {self.blocks}, outputs {self.outputs}')


@dataclass(frozen=True)
class FlashOccConfig:
    """Channels and switches of a camera network of the BEVDet line.

    neck: 'fpn' (CustomFPN) or 'fpn_lss'. neck_channels: image features. depth: 'plain' (one convolution), 'camera' (gated by
    the camera's calibration, after BEVDepth) or 'stereo' (that, with matching costs of the frame before, after BEVStereo); with
    'stereo' the backbone's first output is what is matched. lift_channels: context lifted into the map. past_frames: maps of
    earlier frames stacked with the present one; oldest_first: in which order. pre_process: whether each map passes a residual
    block first. volume: the map keeps its height (BEVDet-Occ). bev_widths, bev_blocks: stages of the map's encoder.
    bev_channels: its neck's output. head_channels: the head's first layer. mscf and coordinate_attention: SCOcc's additions.
    centers: a head for instance centres (Panoptic-FlashOcc).
    """

    backbone: BackboneConfig | SwinConfig = BackboneConfig()
    neck: str = 'fpn'
    neck_channels: int = 256
    depth: str = 'plain'
    lift_channels: int = 64
    past_frames: int = 0
    oldest_first: bool = False
    pre_process: bool = False
    volume: bool = False
    bev_widths: tuple[int, ...] = (128, 256, 512)
    bev_blocks: tuple[int, ...] = (2, 2, 2)
    bev_channels: int = 256
    head_channels: int = 256
    classes: int = 18
    mscf: bool = False
    coordinate_attention: bool = False
    centers: bool = False

    def __post_init__(self) -> None:
        if len(self.bev_widths) != len(self.bev_blocks):
            raise ValueError(f'BEV stages do not match: widths {self.bev_widths}, blocks {self.bev_blocks}')
        if self.neck not in ('fpn', 'fpn_lss'):
            raise ValueError(f"neck {self.neck!r} is unknown: use 'fpn' or 'fpn_lss'")
        if self.depth not in ('plain', 'camera', 'stereo'):
            raise ValueError(f"depth net {self.depth!r} is unknown: use 'plain', 'camera' or 'stereo'")


def stereo(past_frames: int = 1, swin: bool = False) -> FlashOccConfig:
    """The BEVStereo kind (BEVStereo4DOCC): two or more frames, the oldest first, images matched with those of the frame before."""
    common = FlashOccConfig(BackboneConfig(outputs=(0, 2, 3)), depth='stereo', past_frames=past_frames, oldest_first=True,
                            pre_process=True, lift_channels=80, bev_widths=(160, 320, 640))
    return replace(common, backbone=SwinConfig(outputs=(0, 2, 3)), neck='fpn_lss', neck_channels=512) if swin else common


def _volume(config: FlashOccConfig) -> FlashOccConfig:
    """The BEVDet-Occ form: 32 channels per voxel, 3D encoder and head."""
    return replace(config, volume=True, lift_channels=32, bev_widths=(32, 64, 128), bev_blocks=(1, 2, 4), bev_channels=32,
                   head_channels=32)


def _panoptic(past_frames: int, centers: bool) -> FlashOccConfig:
    """BEVDepth4D family: two or more frames, neck of 512 channels, newest map first."""
    return FlashOccConfig(neck_channels=512, depth='camera', past_frames=past_frames, pre_process=True, centers=centers,
                          lift_channels=80, bev_widths=(160, 320, 640))


_TINY = FlashOccConfig(depth='camera', bev_channels=128, head_channels=128)
_DEPTH = FlashOccConfig(depth='camera', centers=True, lift_channels=80, bev_widths=(160, 320, 640))

CONFIGS = {
    'bevdet-occ-r50': _volume(FlashOccConfig()),
    'bevdet-occ-r50-4d-stereo': _volume(stereo()),
    'bevdet-occ-stbase-4d-stereo-512x1408': _volume(stereo(swin=True)),
    'flashocc-r50-M0': FlashOccConfig(bev_channels=128, head_channels=128),
    'flashocc-r50': FlashOccConfig(),
    'flashocc-r50-4d-stereo': stereo(),
    'flashocc-stbase-4d-stereo-512x1408': stereo(swin=True),
    'panoptic-flashocc-r50-depth-tiny': _TINY,
    'panoptic-flashocc-r50-depth-tiny-pano': replace(_TINY, centers=True),
    'panoptic-flashocc-r50-depth': _DEPTH,
    'panoptic-flashocc-r50-depth-pano': _DEPTH,
    'panoptic-flashocc-r50-depth4d': _panoptic(1, False),
    'panoptic-flashocc-r50-depth4d-pano': _panoptic(1, True),
    'panoptic-flashocc-r50-depth4d-longterm8f': _panoptic(8, False),
    'panoptic-flashocc-r50-depth4d-longterm8f-pano': _panoptic(8, True),
    'panoptic-flashocc-r50-depth4d-longterm16f': _panoptic(16, False),
    'panoptic-flashocc-r50-depth4d-longterm16f-pano': _panoptic(16, True),
}

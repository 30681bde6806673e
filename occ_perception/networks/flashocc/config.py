"""FlashOcc configurations as data; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


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
class FlashOccConfig:
    """Channels and switches of a camera network of the FlashOcc line.

    neck_channels: image features. lift_channels: context lifted into the map. bev_widths: stages of the BEV encoder.
    bev_channels: its neck's output. head_channels: the head's first layer. mscf and coordinate_attention: SCOcc's additions.
    """

    backbone: BackboneConfig = BackboneConfig()
    neck_channels: int = 256
    lift_channels: int = 64
    bev_widths: tuple[int, ...] = (128, 256, 512)
    bev_blocks: tuple[int, ...] = (2, 2, 2)
    bev_channels: int = 256
    head_channels: int = 256
    classes: int = 18
    mscf: bool = False
    coordinate_attention: bool = False

    def __post_init__(self) -> None:
        if len(self.bev_widths) != len(self.bev_blocks):
            raise ValueError(f'BEV stages do not match: widths {self.bev_widths}, blocks {self.bev_blocks}')


CONFIGS = {
    'flashocc-r50-M0': FlashOccConfig(bev_channels=128, head_channels=128),
}

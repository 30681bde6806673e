"""Tells from the shapes of its weights which network of the catalogue a checkpoint is, and in which form. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from occ_perception.catalogue import NETWORKS, NetworkEntry, entry
from occ_perception.checkpoints.lidar_variants import NO_CAMERAS, Shapes, lidar_obstacles, lidar_words
from occ_perception.checkpoints.panoocc_variants import panoocc_obstacles
from occ_perception.networks.configs import config_of
from occ_perception.networks.flashocc.config import BackboneConfig, FlashOccConfig, SwinConfig
from occ_perception.networks.fusionocc.config import FusionOccConfig
from occ_perception.networks.panoocc.config import PanoOccConfig

KNOWN_BINS = {44: (1.0, 45.0, 1.0), 88: (1.0, 45.0, 0.5), 59: (1.0, 60.0, 1.0), 118: (1.0, 60.0, 0.5)}
"""Depth bins -> (first, end, step) [m] of the configurations of the BEVDet line that have so many."""
_LIFT, _BEV, _NECK = 'img_view_transformer.depth_net.', 'img_bev_encoder_backbone.layers.', 'img_bev_encoder_neck.'


@dataclass(frozen=True)
class Variant:
    """A network of the catalogue in the form that shapes tell.

    changes: configuration fields with other values. depth: (first, end, step) of its depth bins where they are others than the
    catalogue's; bins: how many there are. obstacles: what makes the shapes another network, in words; '' none of it.
    words: the changes in words.
    """

    row: NetworkEntry
    changes: Mapping[str, Any] = field(default_factory=dict)
    bins: int = 0
    depth: tuple[float, float, float] | None = None
    obstacles: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def distance(self) -> tuple[int, int]:
        """How far the shapes are from the catalogue's: obstacles first, then changes."""
        return len(self.obstacles), len(self.words)


def variant_of(shapes: Shapes, name: str) -> Variant:
    """A named network in the form of these shapes. Raises ValueError for an unknown name."""
    row, config = entry(name), config_of(name)
    if isinstance(config, PanoOccConfig):
        return Variant(row, obstacles=panoocc_obstacles(shapes, config))
    if not isinstance(config, FlashOccConfig):
        own = config.backbone if isinstance(config, FusionOccConfig) else config.camera and config.camera.backbone
        there = _backbone(shapes) if _has(shapes, 'img_backbone.') else NO_CAMERAS
        backbones = there, _backbone_words(own) if own else NO_CAMERAS
        obstacles = lidar_obstacles(shapes, row, config, backbones)
        return Variant(row, bins=0 if row.lift is None else row.lift.bins, obstacles=obstacles)
    found = _observe(shapes, row, config)
    obstacles = _other_structure(shapes, config)
    bins = found.pop('bins', row.frustum.bins)
    changes = {key: value for key, value in found.items() if value != getattr(config, key)}
    words = [_WORDS[key](value, getattr(config, key)) for key, value in changes.items() if not _follows(key, changes, config)]
    depth = None
    if bins != row.frustum.bins:
        depth = KNOWN_BINS.get(bins)
        words.append(f'{bins} depth bins instead of {row.frustum.bins}')
    return Variant(row, changes, bins, depth, obstacles, tuple(words))


def closest(shapes: Shapes) -> list[Variant]:
    """The networks of the catalogue that these shapes are closest to, without obstacles; several where they are equally close."""
    variants = [variant for variant in (variant_of(shapes, name) for name in NETWORKS) if not variant.obstacles]
    return [variant for variant in variants if variant.distance == min(other.distance for other in variants)]


def _size(shapes: Shapes, key: str, axis: int = 0) -> int | None:
    shape = shapes.get(key)
    return shape[axis] if shape is not None and len(shape) > axis else None


def _count(shapes: Shapes, pattern: str) -> int:
    """How many different numbers stand where the pattern has its group."""
    return len({match[1] for match in (re.match(pattern, key) for key in shapes) if match})


def _has(shapes: Shapes, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in shapes)


def _observe(shapes: Shapes, row: NetworkEntry, config: FlashOccConfig) -> dict[str, Any]:
    """Configuration fields, and 'bins', that the shapes tell; those whose keys are missing are left out."""
    inner = 'conv.weight' if config.volume else 'weight'
    stages = range(_count(shapes, re.escape(_BEV) + r'(\d+)\.'))
    found: dict[str, Any] = {
        'neck_channels': _size(shapes, 'img_neck.fpn_convs.0.conv.weight' if config.neck == 'fpn' else 'img_neck.conv.0.weight'),
        'bev_channels': _size(shapes, _NECK + ('conv.conv.weight' if config.volume else 'up2.4.weight')),
        'head_channels': _size(shapes, 'occ_head.final_conv.conv.weight'),
    }
    widths = [_size(shapes, f'{_BEV}{stage}.0.conv1.{inner}') for stage in stages]
    if widths and None not in widths:
        found['bev_widths'] = tuple(widths)
        found['bev_blocks'] = tuple(_count(shapes, re.escape(f'{_BEV}{stage}.') + r'(\d+)\.') for stage in stages)
    found = {key: value for key, value in found.items() if value is not None}
    stacked = _size(shapes, f'{_BEV}0.0.conv1.{inner}', 1)
    if stacked is not None:
        channels, bins = _lifted(shapes, row, config, inner, stacked)
        if bins:
            found['bins'] = bins
        if channels and stacked % channels == 0:
            found |= {'lift_channels': channels, 'past_frames': stacked // channels - 1}
    found['centers'] = _has(shapes, 'aux_centerness_head.')
    return found


def _lifted(shapes: Shapes, row: NetworkEntry, config: FlashOccConfig, inner: str, stacked: int) -> tuple[int | None, int | None]:
    """(context channels, depth bins). stacked: channels of the maps of all frames together."""
    if config.depth != 'plain':
        return _size(shapes, _LIFT + 'context_conv.weight'), _size(shapes, _LIFT + 'depth_conv.4.weight')
    both = _size(shapes, _LIFT + 'weight')
    if both is None:
        return None, None
    single = _size(shapes, f'pre_process_net.layers.0.0.conv1.{inner}', 1)
    for bins in (row.frustum.bins, *KNOWN_BINS):  # the layer tells their sum only
        channels = both - bins
        if channels > 0 and (single == channels if single else stacked % channels == 0):
            return channels, bins
    channels = single or stacked // (1 + config.past_frames)
    return channels, max(both - channels, 0) or None


def _follows(key: str, changes: Mapping[str, Any], config: FlashOccConfig) -> bool:
    """Whether the map encoder's widths changed only in step with the lifted channels."""
    if key != 'bev_widths' or 'lift_channels' not in changes or len(changes[key]) != len(config.bev_widths):
        return False
    return all(width * config.lift_channels == usual * changes['lift_channels']
               for width, usual in zip(changes[key], config.bev_widths, strict=True))


def _instead(what: str) -> Callable[[Any, Any], str]:
    def words(value: Any, usual: Any) -> str:
        return f'{what} {_text(value)} instead of {_text(usual)}'
    return words


def _text(value: Any) -> str:
    return '-'.join(map(str, value)) if isinstance(value, tuple) else str(value)


_WORDS: dict[str, Callable[[Any, Any], str]] = {
    'neck_channels': _instead('image feature channels'),
    'lift_channels': _instead('C ='),
    'past_frames': _instead('past frames'),
    'bev_widths': _instead('map encoder widths'),
    'bev_blocks': _instead('map encoder blocks'),
    'bev_channels': _instead('map channels'),
    'head_channels': _instead('head channels'),
    'centers': lambda value, _: 'an instance-centre head' if value else 'no instance-centre head',
}


def _other_structure(shapes: Shapes, config: FlashOccConfig) -> tuple[str, ...]:
    """What makes the shapes another network than the configuration's, in words."""
    volume = len(shapes.get('occ_head.final_conv.conv.weight', ())) == 5
    depth = 'plain' if _LIFT + 'weight' in shapes else 'stereo' if _has(shapes, _LIFT + 'cost_volumn_net.') else 'camera'
    classes = _size(shapes, 'occ_head.predicter.2.weight')
    columns = 1 if volume else 16
    choices = [
        (lidar_words(shapes), lidar_words({})),
        (_backbone(shapes), _backbone_words(config.backbone)),
        ('a feature pyramid' if _has(shapes, 'img_neck.lateral_convs.') else 'an LSS neck',
         'a feature pyramid' if config.neck == 'fpn' else 'an LSS neck'),
        (f'a {depth} depth net', f'a {config.depth} depth net'),
        ('a voxel map' if volume else 'a flat map', 'a voxel map' if config.volume else 'a flat map'),
        (f'{classes} head outputs', f'{config.classes * columns} head outputs'),
    ]
    additions = [
        ('block before maps are stacked', 'pre_process_net.', config.pre_process),
        ('multi-scale fusion of SCOcc', 'img_bev_encoder_backbone.mscf_layers.', config.mscf),
        ('coordinate attention of SCOcc', 'occ_head.coord_att.', config.coordinate_attention),
    ]
    return (*(f'{there} instead of {here}' for there, here in choices if there != here),
            *(f'{"no" if wanted else "the"} {what}' for what, prefix, wanted in additions if _has(shapes, prefix) != wanted))


def _backbone(shapes: Shapes) -> str:
    """The image backbone in the words of _backbone_words, without the choice of its outputs."""
    prefix = 'img_backbone.'
    if _has(shapes, prefix + 'patch_embed.'):
        blocks: list[int] = []
        heads: list[int] = []
        while _has(shapes, f'{prefix}stages.{len(blocks)}.'):
            stage = f'{prefix}stages.{len(blocks)}.blocks.'
            blocks.append(_count(shapes, re.escape(stage) + r'(\d+)\.'))
            heads.append(_size(shapes, stage + '0.attn.w_msa.relative_position_bias_table', 1) or 0)
        offsets = _size(shapes, f'{prefix}stages.0.blocks.0.attn.w_msa.relative_position_bias_table') or 0
        channels = _size(shapes, prefix + 'patch_embed.projection.weight') or 0
        return _backbone_words(SwinConfig(channels, tuple(blocks), tuple(heads), (round(offsets ** 0.5) + 1) // 2, ()))
    if prefix + 'conv1.weight' not in shapes:
        return 'an unknown image backbone'
    stages = _count(shapes, re.escape(prefix) + r'layer(\d+)\.')
    widths = tuple(_size(shapes, f'{prefix}layer{stage}.0.conv1.weight') or 0 for stage in range(1, stages + 1))
    counts = tuple(_count(shapes, re.escape(f'{prefix}layer{stage}.') + r'(\d+)\.') for stage in range(1, stages + 1))
    block = 'bottleneck' if prefix + 'layer1.0.conv3.weight' in shapes else 'basic'
    return _backbone_words(BackboneConfig(block, _size(shapes, prefix + 'conv1.weight') or 0, widths, counts, ()))


def _backbone_words(config: BackboneConfig | SwinConfig) -> str:
    blocks = _text(config.blocks)
    if isinstance(config, SwinConfig):
        heads = _text(config.heads)
        return f'a Swin backbone of {config.channels} channels, {blocks} blocks, {heads} heads, window {config.window}'
    return f'a {config.block} ResNet of {config.stem}, {_text(config.widths)} channels, {blocks} blocks'

"""Tells from shapes whether a checkpoint is a given PanoOcc network, which have one form each. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from occ_perception.networks.panoocc.config import CaffeBackboneConfig, InternImageConfig, PanoOccConfig

_HEAD = 'pts_bbox_head.'
_TRANSFORMER = _HEAD + 'transformer.'


def panoocc_obstacles(shapes: Mapping[str, tuple[int, ...]], config: PanoOccConfig) -> tuple[str, ...]:
    """What makes the shapes another network than the configuration's, in words."""
    def rows(key: str) -> int:
        return (shapes.get(key) or (0,))[0]

    attention = rows(_TRANSFORMER + 'cam_encoder.layers.0.attentions.0.attention_weights.weight')
    choices = [
        (_backbone(shapes), _backbone_words(config)),
        (f'{rows(_HEAD + "bev_embedding.weight")} voxel queries', f'{prod(config.queries)} voxel queries'),
        (f'{rows(_TRANSFORMER + "level_embeds")} feature levels', f'{config.levels} feature levels'),
        (f'{attention // (2 * config.heads)} places per voxel', f'{config.self_points} places per voxel'),
        (f'{rows(_TRANSFORMER + "seg_decoder.classifier.weight")} classes', f'{config.classes} classes'),
    ]
    return tuple(f'{there} instead of {here}' for there, here in choices if there != here)


def _backbone(shapes: Mapping[str, tuple[int, ...]]) -> str:
    if 'img_backbone.levels.0.blocks.0.gamma1' in shapes:
        return 'an InternImage backbone'
    if 'img_backbone.conv1.weight' not in shapes:
        return 'an unknown image backbone'
    layers = len({key.split('.')[2] for key in shapes if key.startswith('img_backbone.layer3.')})
    deformable = 'img_backbone.layer3.0.conv2.conv_offset.weight' in shapes
    return f'a ResNet of {layers} blocks in its third stage' + (', deformable' if deformable else '')


def _backbone_words(config: PanoOccConfig) -> str:
    backbone = config.backbone
    if isinstance(backbone, InternImageConfig):
        return 'an InternImage backbone'
    deformable = isinstance(backbone, CaffeBackboneConfig)
    return f'a ResNet of {backbone.blocks[2]} blocks in its third stage' + (', deformable' if deformable else '')

"""PanoOcc: voxel queries filled from camera pictures by attention, fused over time, decoded to occupancy and boxes.

Wang et al., "PanoOcc: Unified Occupancy Representation for Camera-based 3D Panoptic Segmentation" (CVPR 2024, arXiv 2306.10013).
One frame at a time: no batch axis.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from occ_perception.catalogue import ImagePreprocessing
from occ_perception.geometry.ego_motion import MOTION_NUMBERS
from occ_perception.labels import FREE
from occ_perception.networks.panoocc.boxes import BoxDecoder, BoxOutput, class_branch, code_branch, placed
from occ_perception.networks.panoocc.config import CaffeBackboneConfig, InternImageConfig, PanoOccConfig
from occ_perception.networks.panoocc.decoder import PanopticVoxelDecoder, SegmentationDecoder, VoxelDecoder
from occ_perception.networks.panoocc.encoder import PositionalEncoding, ViewTensors, VoxelEncoder
from occ_perception.networks.panoocc.temporal import TemporalEncoder, tokens_volume
from occ_perception.networks.parts.fpn import FPN
from occ_perception.networks.parts.image_input import normalised
from occ_perception.networks.parts.intern_image import InternImage
from occ_perception.networks.parts.resnet import ResNet

LEAST_OCCUPIED = 0.05
"""Voxels that are less likely to be occupied are free, whatever their class scores say (published)."""
PANOPTIC_OCCUPIED = 0.2
"""Probability of its likeliest class from which a voxel of the panoptic form is shown as occupied by the published code."""


class PanoOccOutput(NamedTuple):
    """Of one frame. volume: what has to be remembered, (C, Z, H, W). logits: (classes, Z, Y, X), before panoptic ones are doubled.
    occupied: (Z, Y, X) logits, None in the panoptic form; boxes: of the box branch."""

    volume: Tensor
    logits: Tensor
    occupied: Tensor | None
    boxes: BoxOutput


class Transformer(nn.Module):
    """All that lies between feature pyramid and outputs; keys as published."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        channels = config.channels
        self.level_embeds = nn.Parameter(torch.randn(config.levels, channels))
        self.cams_embeds = nn.Parameter(torch.randn(config.cameras, channels))
        self.cam_encoder = VoxelEncoder(config)
        self.temporal_encoder = TemporalEncoder(config)
        if config.panoptic:
            self.voxel_encoder = PanopticVoxelDecoder(config)
        else:
            self.voxel_decoder = VoxelDecoder(config)
        self.seg_decoder = SegmentationDecoder(config)
        self.decoder = BoxDecoder(config)
        self.reference_points = nn.Linear(channels, 3)
        self.can_bus_mlp = nn.Sequential(OrderedDict([
            ('0', nn.Linear(MOTION_NUMBERS, channels // 2)), ('1', nn.ReLU()), ('2', nn.Linear(channels // 2, channels)),
            ('3', nn.ReLU()), ('norm', nn.LayerNorm(channels))]))


class Head(nn.Module):
    """Queries, transformer and box branches; keys as published."""

    def __init__(self, config: PanoOccConfig) -> None:
        super().__init__()
        height, width, levels = config.queries
        # training's weights of the box codes; nothing here reads them
        self.register_buffer('code_weights', torch.tensor([1.0] * 8 + [0.2, 0.2]))
        self.bev_embedding = nn.Embedding(height * width * levels, config.channels)
        self.query_embedding = nn.Embedding(config.boxes, 2 * config.channels)
        self.positional_encoding = PositionalEncoding(config)
        self.transformer = Transformer(config)
        # Checkpoints repeat one branch for every layer, the values of the last one count: so they are loaded one over the other.
        self.cls_branches = nn.ModuleList([class_branch(config.channels)] * config.box_layers)
        self.reg_branches = nn.ModuleList([code_branch(config.channels)] * config.box_layers)


class PanoOcc(nn.Module):
    """One class for every configuration; keys and shapes are those of the published checkpoints.

    The way of a frame: pyramid -> encode (with geometry) -> fuse, together with volumes of past frames -> decode.
    """

    def __init__(self, config: PanoOccConfig, preprocessing: ImagePreprocessing) -> None:
        super().__init__()
        self.config, self.preprocessing = config, preprocessing
        backbone = config.backbone
        self.img_backbone: nn.Module
        if isinstance(backbone, InternImageConfig):
            self.img_backbone = InternImage(backbone.channels, backbone.blocks, backbone.groups, backbone.outputs)
        else:
            caffe = isinstance(backbone, CaffeBackboneConfig)
            self.img_backbone = ResNet(backbone.block, backbone.stem, backbone.widths, backbone.blocks, backbone.outputs, caffe,
                                       backbone.deformable if isinstance(backbone, CaffeBackboneConfig) else ())
        self.img_neck = FPN(self.img_backbone.out_channels, config.channels, config.levels)
        self.pts_bbox_head = Head(config)

    def normalise(self, images: Tensor) -> Tensor:
        """RGB images (N, H, W, 3) uint8 -> (N, 3, H', W') float as published: scaled, halved where the network wants it, padded."""
        return normalised(images, self.preprocessing)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """RGB images (N, H, W, 3) uint8 at network size -> (N, C, h, w) feature maps by level, finest first."""
        return self.img_neck(self.img_backbone(self.normalise(images)))

    def encode(self, pyramid: Sequence[Tensor], views: ViewTensors, motion: Tensor) -> Tensor:
        """Voxel volume (C, Z, H, W) of one frame; motion: (18,) of geometry.ego_motion."""
        head = self.pts_bbox_head
        transformer = head.transformer
        own = transformer.cams_embeds[:, :, None, None]
        marked = [level + own + transformer.level_embeds[index][:, None, None] for index, level in enumerate(pyramid)]
        tokens = head.bev_embedding.weight + transformer.can_bus_mlp(motion)
        return tokens_volume(transformer.cam_encoder(tokens, head.positional_encoding(), marked, views), self.config)

    def fuse(self, volume: Tensor, past: Sequence[Tensor]) -> Tensor:
        """Volume of encode and those of past frames that are known, youngest first, moved under it -> (C, Z, H, W)."""
        head = self.pts_bbox_head
        return head.transformer.temporal_encoder(volume, head.positional_encoding(), past)

    def decode(self, volume: Tensor, fused: Tensor) -> PanoOccOutput:
        """volume of encode, fused of fuse -> all outputs."""
        transformer = self.pts_bbox_head.transformer
        if self.config.panoptic:
            fine, objects = transformer.voxel_encoder(fused)
            # The map that boxes are found on is the mean of the voxels weighed by channel 0, which is that of voxels WITHOUT
            # objects by the label convention of training (1 = object): checkpoints were trained so.
            seen = (objects.softmax(0)[:1] * fused).mean(1)
            return PanoOccOutput(fused, transformer.seg_decoder(fine), None, self.find(seen))
        fine, occupied = transformer.voxel_decoder(fused)
        return PanoOccOutput(volume, transformer.seg_decoder(fine), occupied, self.find(fused.mean(1)))

    def find(self, seen: Tensor) -> BoxOutput:
        """Boxes on a map (C, H, W) of what stands where."""
        head = self.pts_bbox_head
        position, query = head.query_embedding.weight.chunk(2, -1)
        reference = head.transformer.reference_points(position).sigmoid()
        size = seen.shape[1], seen.shape[2]
        states = head.transformer.decoder(query, position, seen.flatten(1).t(), size, reference[:, :2])
        return BoxOutput(head.cls_branches[-1](states[-1]), placed(head.reg_branches[-1](states[-1]), reference, self.config))

    def forward(self, images: Tensor, views: ViewTensors, motion: Tensor, past: Sequence[Tensor]) -> PanoOccOutput:
        """One frame; see pyramid, encode and fuse."""
        volume = self.encode(self.pyramid(images), views, motion)
        return self.decode(volume, self.fuse(volume, past))


def occupancy_labels(logits: Tensor, occupied: Tensor) -> Tensor:
    """Occ3D labels (X, Y, Z) uint8 of logits (18, Z, Y, X) and the logits of being occupied (Z, Y, X)."""
    labels = logits.argmax(0)
    labels = torch.where(occupied.sigmoid() < LEAST_OCCUPIED, torch.full_like(labels, FREE), labels)
    return labels.permute(2, 1, 0).byte()  # last: TensorRT takes bytes at the border only


def panoptic_labels(logits: Tensor, rows: Sequence[Tensor], heights: int) -> Tensor:
    """Labels (X, Y, Z) uint8 of an even grid, of panoptic logits (classes, Z', Y', X').

    rows: geometry.volume_lookup.axis_matrix of the grid's middles along x, y and of `heights` places per voxel along z. A voxel has
    the class that scores highest in any of its places; it is free below PANOPTIC_OCCUPIED.
    """
    along_x, along_y, along_z = rows
    scores = torch.full((1,), -torch.inf, device=logits.device)
    labels = torch.zeros(1, dtype=torch.int64, device=logits.device)
    for at in range(heights):
        part = torch.einsum('kz,czyx->ckyx', along_z[at::heights], logits)
        best, label = (along_y @ part @ along_x.t()).max(0)
        labels = torch.where(best > scores, label, labels)
        scores = torch.maximum(best, scores)
    labels = torch.where(scores.sigmoid() > PANOPTIC_OCCUPIED, labels, torch.full_like(labels, FREE))
    return labels.permute(2, 1, 0).byte()


def point_labels(logits: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """(M,) uint8 classes 0 (noise) ... 16 of points, of panoptic logits and geometry.volume_lookup.point_sums (M, K)."""
    scores = logits.new_zeros(len(logits), len(index))
    flat = logits.flatten(1)
    for corner in range(index.shape[1]):
        scores = scores + flat[:, index[:, corner]] * share[:, corner]
    return scores.argmax(0).byte()

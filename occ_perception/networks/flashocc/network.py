"""The camera networks of the BEVDet line (BEVDet-Occ, FlashOcc, Panoptic-FlashOcc, SCOcc): one class, configured by data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from occ_perception.catalogue import ImagePreprocessing
from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.networks.flashocc.config import FlashOccConfig, SwinConfig
from occ_perception.networks.parts.bev_encoder import CustomResNet
from occ_perception.networks.parts.center_head import CenterHead, CenterMaps
from occ_perception.networks.parts.fpn import CustomFPN
from occ_perception.networks.parts.fpn_lss import FpnLss
from occ_perception.networks.parts.image_input import normalised
from occ_perception.networks.parts.lift_splat import LiftSplat, LiftTensors
from occ_perception.networks.parts.occupancy_head import OccupancyHead2d
from occ_perception.networks.parts.occupancy_head_3d import OccupancyHead3d
from occ_perception.networks.parts.resnet import ResNet
from occ_perception.networks.parts.swin import SwinTransformer
from occ_perception.networks.parts.volume_encoder import CustomResNet3d, LssFpn3d


class FrameFeatures(NamedTuple):
    """What the images of one frame give, before anything about the cameras' places enters.

    prepared: (B, N, C', H, W), ready to be lifted (all that has to be remembered of a past frame). stereo: (B, N, C, 4 H, 4 W),
    what the next frame is matched against, None without stereo. image: (B, N, C, H, W), the neck's output.
    """

    prepared: Tensor
    stereo: Tensor | None
    image: Tensor


class FlashOccOutput(NamedTuple):
    """What training needs.

    logits: (B, X, Y, Z, classes). depth_logits: (B, N, bins, H, W) and image_features: (B, N, C, H, W) of the present frame.
    """

    logits: Tensor
    depth_logits: Tensor
    image_features: Tensor


class FlashOcc(nn.Module):
    """One class for every configuration; keys and shapes are those of the published checkpoints.

    The way of a frame: frame_features -> frame_map (with geometry) -> encode, together with the maps of past frames -> head.
    """

    def __init__(self, config: FlashOccConfig, preprocessing: ImagePreprocessing, lift: LiftSpec) -> None:
        super().__init__()
        self.config, self.preprocessing, self.lift = config, preprocessing, lift
        backbone = config.backbone
        self.img_backbone: nn.Module
        if isinstance(backbone, SwinConfig):
            self.img_backbone = SwinTransformer(backbone.channels, backbone.blocks, backbone.heads, backbone.window,
                                                backbone.outputs)
        else:
            self.img_backbone = ResNet(backbone.block, backbone.stem, backbone.widths, backbone.blocks, backbone.outputs)
        channels = self.img_backbone.out_channels[1 if config.depth == 'stereo' else 0:]
        self.img_neck = (CustomFPN(channels, config.neck_channels) if config.neck == 'fpn'
                         else FpnLss(sum(channels), config.neck_channels, extra_upsample=False))
        self.img_view_transformer = LiftSplat(config.neck_channels, config.lift_channels, lift, config.depth)
        width = config.lift_channels
        frames = 1 + config.past_frames
        self.pre_process_net: nn.Module
        self.img_bev_encoder_backbone: nn.Module
        self.img_bev_encoder_neck: nn.Module
        self.occ_head: OccupancyHead2d | OccupancyHead3d
        if config.volume:
            if config.pre_process:
                self.pre_process_net = CustomResNet3d(width, (width,), (1,), (1,))
            self.img_bev_encoder_backbone = CustomResNet3d(width * frames, config.bev_widths, config.bev_blocks, (1, 2, 2))
            self.img_bev_encoder_neck = LssFpn3d(config.bev_widths, config.bev_channels)
            self.occ_head = OccupancyHead3d(config.bev_channels, config.head_channels, config.classes)
        else:
            if config.pre_process:
                self.pre_process_net = CustomResNet(width, (width,), (1,), (1,), config.mscf)
            strides = (2,) * len(config.bev_widths)
            self.img_bev_encoder_backbone = CustomResNet(width * frames, config.bev_widths, config.bev_blocks, strides, config.mscf)
            self.img_bev_encoder_neck = FpnLss(config.bev_widths[0] + config.bev_widths[-1], config.bev_channels)
            self.occ_head = OccupancyHead2d(config.bev_channels, config.head_channels, lift.grid.shape[2], config.classes,
                                            config.coordinate_attention)
        if config.centers:
            self.aux_centerness_head = CenterHead(config.bev_channels)

    def normalise(self, images: Tensor) -> Tensor:
        """RGB images (..., H, W, 3) uint8 -> (..., 3, H, W) float, channels reversed to B, G, R and scaled as published."""
        return normalised(images, self.preprocessing)

    def frame_features(self, images: Tensor) -> FrameFeatures:
        """RGB images (B, N, H, W, 3) uint8 at network size -> what can be said of a frame without geometry."""
        shape = images.shape[:2]
        maps = self.img_backbone(self.normalise(images).flatten(0, 1))
        stereo = maps.pop(0).unflatten(0, shape) if self.config.depth == 'stereo' else None
        neck = self.img_neck(maps) if self.config.neck == 'fpn' else self.img_neck(*maps)
        features = neck.unflatten(0, shape)
        return FrameFeatures(self.img_view_transformer.prepared(features), stereo, features)

    def frame_map(self, prepared: Tensor, tables: LiftTensors, cameras: Tensor | None = None,
                  matched: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """A frame's map as the present ego frame sees it.

        prepared: (B, N, C', H, W) of FrameFeatures; tables: from its exposures into the present ego frame; cameras: (B, N, 27) and
        matched: (B, N, bins, H, W), for depth nets that take them. Returns (B, C, Y, X), or (B, C, Z, Y, X) for volume networks,
        and the depth logits (B, N, bins, H, W).
        """
        lifted, depth_logits = self.img_view_transformer(prepared, tables, cameras, matched)
        if self.config.volume:
            lifted = lifted.unflatten(1, (self.lift.z_cells, -1)).transpose(1, 2)
        if self.config.pre_process:
            lifted = self.pre_process_net(lifted)[0]
        return lifted, depth_logits

    def encode(self, maps: list[Tensor]) -> Tensor:
        """Maps of frame_map, the present frame's first, then the past ones, youngest first -> the encoded map (B, C, [Z,] Y, X)."""
        if self.config.oldest_first:
            maps = maps[::-1]
        stages = self.img_bev_encoder_backbone(torch.cat(maps, 1))
        return self.img_bev_encoder_neck(stages) if self.config.volume else self.img_bev_encoder_neck(stages[0], stages[-1])

    def decide(self, maps: list[Tensor]) -> tuple[Tensor, CenterMaps | None]:
        """Likeliest class per voxel, (B, X, Y, Z) int64, and the maps of instance centres where there is a head for them."""
        encoded = self.encode(maps)
        centers = self.aux_centerness_head.predict(encoded) if self.config.centers else None
        return self.occ_head.labels(encoded), centers

    def encoded_sequence(self, images: Tensor, tables: LiftTensors) -> tuple[Tensor, Tensor, Tensor]:
        """Whole sequences at once, as training sees them: (encoded map, depth logits, image features) of the present frames.

        images: (B, F, N, H, W, 3) uint8, the present frame first; tables: of B * F frames, those of a sample together. Past frames
        give no gradient, as published. For networks with plain depth.
        """
        frames = images.shape[1]
        present = self.frame_features(images[:, 0])
        own, depth_logits = self.frame_map(present.prepared, tables.every(frames, 0))
        maps = [own]
        with torch.no_grad():
            for age in range(1, frames):
                maps.append(self.frame_map(self.frame_features(images[:, age]).prepared, tables.every(frames, age))[0])
        return self.encode(maps), depth_logits, present.image

    def forward(self, images: Tensor, tables: LiftTensors) -> FlashOccOutput:
        """Logits and what auxiliary losses need; see encoded_sequence."""
        encoded, depth_logits, features = self.encoded_sequence(images, tables)
        return FlashOccOutput(self.occ_head(encoded), depth_logits, features)

"""The camera networks of the FlashOcc line (FlashOcc, SCOcc): image encoder, lift-splat, 2D BEV encoder, channel-to-height."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from occ_perception.catalogue import ImagePreprocessing
from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.networks.flashocc.config import FlashOccConfig
from occ_perception.networks.parts.bev_encoder import CustomResNet
from occ_perception.networks.parts.fpn import CustomFPN
from occ_perception.networks.parts.fpn_lss import FpnLss
from occ_perception.networks.parts.lift_splat import LiftSplat, LiftTensors
from occ_perception.networks.parts.occupancy_head import OccupancyHead2d
from occ_perception.networks.parts.resnet import ResNet


class FlashOccOutput(NamedTuple):
    """What training needs.

    logits: (B, X, Y, Z, classes). depth_logits: (B, N, bins, H, W). image_features: (B, N, C, H, W), at the lift's stride.
    """

    logits: Tensor
    depth_logits: Tensor
    image_features: Tensor


class FlashOcc(nn.Module):
    """One class for every configuration; keys and shapes are those of the published checkpoints."""

    def __init__(self, config: FlashOccConfig, preprocessing: ImagePreprocessing, lift: LiftSpec) -> None:
        super().__init__()
        self.config, self.preprocessing, self.lift = config, preprocessing, lift
        backbone = config.backbone
        self.img_backbone = ResNet(backbone.block, backbone.stem, backbone.widths, backbone.blocks, backbone.outputs)
        self.img_neck = CustomFPN(self.img_backbone.out_channels, config.neck_channels)
        self.img_view_transformer = LiftSplat(config.neck_channels, config.lift_channels, lift)
        strides = (2,) * len(config.bev_widths)
        self.img_bev_encoder_backbone = CustomResNet(config.lift_channels * lift.z_cells, config.bev_widths, config.bev_blocks,
                                                     strides, config.mscf)
        self.img_bev_encoder_neck = FpnLss(config.bev_widths[0] + config.bev_widths[-1], config.bev_channels)
        self.occ_head = OccupancyHead2d(config.bev_channels, config.head_channels, lift.grid.shape[2], config.classes,
                                        config.coordinate_attention)

    def normalise(self, images: Tensor) -> Tensor:
        """RGB images (..., H, W, 3) uint8 -> (..., 3, H, W) float, channels reversed to B, G, R and scaled as published."""
        mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1)
                     for values in (self.preprocessing.mean, self.preprocessing.std))
        return (images.float().movedim(-1, -3).flip(-3) - mean) / std

    def bev_features(self, normalised: Tensor, tables: LiftTensors) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, 3, H, W) normalised images -> (BEV map (B, C, Y, X), depth logits, image features)."""
        features = self.img_neck(self.img_backbone(normalised.flatten(0, 1))).unflatten(0, normalised.shape[:2])
        lifted, depth_logits = self.img_view_transformer(features, tables)
        maps = self.img_bev_encoder_backbone(lifted)
        return self.img_bev_encoder_neck(maps[0], maps[-1]), depth_logits, features

    def forward(self, images: Tensor, tables: LiftTensors) -> FlashOccOutput:
        """RGB images (B, N, H, W, 3) uint8 at network size, and where they look -> logits and what auxiliary losses need."""
        bev, depth_logits, features = self.bev_features(self.normalise(images), tables)
        return FlashOccOutput(self.occ_head(bev), depth_logits, features)

    def predict(self, images: Tensor, tables: LiftTensors) -> Tensor:
        """Likeliest class per voxel, (B, X, Y, Z) uint8, for images as in forward."""
        return self.class_indices(images, tables).byte()

    def class_indices(self, images: Tensor, tables: LiftTensors) -> Tensor:
        """The same as int64, for graphs in which bytes may only stand at the very end."""
        return self.occ_head.labels(self.bev_features(self.normalise(images), tables)[0])

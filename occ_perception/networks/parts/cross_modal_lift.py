"""Camera features and LiDAR depth hints made one, then lifted into the voxel volume (CrossModalLSS of FusionOcc).

Zhang et al., FusionOcc: Multi-Modal Fusion for 3D Occupancy Prediction (ACM MM 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.networks.parts.depth_net import CAMERA_NUMBERS, Aspp, CameraGate, CameraMlp
from occ_perception.networks.parts.fpn_lss import conv_bn_relu
from occ_perception.networks.parts.lift_splat import LiftTensors, lift
from occ_perception.networks.parts.resnet import BasicBlock


def hint_volume(hints: Tensor, spec: LiftSpec) -> Tensor:
    """Depth hints (M, H, W), metres, 0 where there is none -> (M, bins, H, W), one in the bin of each hint and else zeros.

    A hint lies in bin trunc((depth - start) / step), as the bins are counted in the published code from 1, with one step less
    of start, and one bin lower.
    """
    # the published sum, in its order: depths on a bin's border fall to the same side
    number = ((hints - (spec.depth_start - spec.depth_step)) / spec.depth_step).floor()
    bins = torch.arange(1, spec.bins + 1, device=hints.device, dtype=hints.dtype).view(-1, 1, 1)
    return (number.unsqueeze(1) == bins).to(hints.dtype)


class CrossModalFusion(nn.Module):
    """Image and depth features, each gated by what the other one says (CrossModalFusion)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel_mlp_c = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())
        self.channel_mlp_d = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())
        self.fuse_conv = nn.Sequential(*conv_bn_relu(2 * channels, 2 * channels, bias=True))
        self.spatial_c, self.spatial_d = (
            nn.Sequential(nn.Conv2d(1, 64, 1), nn.ReLU(), nn.Conv2d(64, 1, 1), nn.ReLU()) for _ in range(2))

    def forward(self, image: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """(M, C, H, W) each -> the same shapes."""
        of_image = self.channel_mlp_c(image.mean((2, 3)))[..., None, None]
        of_depth = self.channel_mlp_d(depth.mean((2, 3)))[..., None, None]
        # crossed on purpose: depth says which channels of the image count, and the other way round
        joined = self.fuse_conv(torch.cat([of_depth * image, of_image * depth], 1))
        near_image, near_depth = joined.chunk(2, 1)
        # and crossed again: places are told by the half of the joined features that began as the other one
        return (image + self.spatial_d(near_depth.mean(1, keepdim=True)) * image,
                depth + self.spatial_c(near_image.mean(1, keepdim=True)) * depth)


class DepthSegmentNet(nn.Module):
    """Depth logits, features to lift and class logits of pixels, seen through a camera (depth_seg_net)."""

    def __init__(self, in_channels: int, channels: int, bins: int, segment_channels: int, context_channels: int,
                 classes: int) -> None:
        super().__init__()
        self.reduce_conv_depth, self.reduce_conv_seg, self.reduce_conv_context = (
            nn.Sequential(*conv_bn_relu(in_channels, channels, bias=True)) for _ in range(3))
        self.bn = nn.BatchNorm1d(CAMERA_NUMBERS)
        self.depth_mlp, self.seg_mlp, self.context_mlp = (CameraMlp(CAMERA_NUMBERS, channels) for _ in range(3))
        self.depth_se, self.seg_se, self.context_se = (CameraGate(channels) for _ in range(3))
        # two blocks, where the BEVDepth net has three
        self.depth_conv = nn.Sequential(BasicBlock(channels, channels), BasicBlock(channels, channels), Aspp(channels),
                                        nn.Conv2d(channels, bins, 1))
        self.seg_conv = nn.Sequential(nn.Conv2d(channels, segment_channels, 3, padding=1),
                                      BasicBlock(segment_channels, segment_channels))
        self.seg_out = nn.Conv2d(segment_channels, classes, 1)
        self.context_conv = nn.Conv2d(channels, context_channels, 3, padding=1)

    def forward(self, features: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(M, C, H, W), camera vectors (M, 27) -> depth logits (M, bins, H, W), features to lift (M, segment + context channels,
        H, W), class logits (M, classes, H, W)."""
        vector = self.bn(cameras)
        depth = self.depth_conv(self.depth_se(self.reduce_conv_depth(features), self.depth_mlp(vector)))
        segment = self.seg_conv(self.seg_se(self.reduce_conv_seg(features), self.seg_mlp(vector)))
        context = self.context_conv(self.context_se(self.reduce_conv_context(features), self.context_mlp(vector)))
        return depth, torch.cat([segment, context], 1), self.seg_out(segment)


class CrossModalLift(nn.Module):
    """The view transformer of FusionOcc (CrossModalLSS).

    The published code zeroes half of the hints at random, even in eval mode unless a constructor flag says otherwise; they all
    count here.
    """

    def __init__(self, in_channels: int, channels: int, spec: LiftSpec, segment_channels: int, context_channels: int,
                 classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.depth_encoder = nn.Sequential(*conv_bn_relu(spec.bins, channels, bias=True),
                                           *conv_bn_relu(channels, channels, bias=True))
        self.img_reduce_conv = nn.Sequential(*conv_bn_relu(in_channels, channels, bias=True))
        self.cross_model_fusion = CrossModalFusion(channels)
        self.further_fuse = BasicBlock(2 * channels, 2 * channels)
        self.depth_seg_net = DepthSegmentNet(2 * channels, channels, spec.bins, segment_channels, context_channels, classes)

    def prepared(self, features: Tensor) -> Tensor:
        """Image features (F, N, C, H, W) -> all of the way that neither hints nor cameras enter, (F, N, channels, H, W)."""
        return self.img_reduce_conv(features.flatten(0, 1)).unflatten(0, features.shape[:2])

    def hinted(self, hints: Tensor) -> Tensor:
        """Depth hints (F, N, H, W), metres, 0 where there is none -> depth features (F, N, channels, H, W)."""
        return self.depth_encoder(hint_volume(hints.flatten(0, 1), self.spec)).unflatten(0, hints.shape[:2])

    def forward(self, prepared: Tensor, hinted: Tensor, tables: LiftTensors, cameras: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(F, N, channels, H, W) of prepared and hinted, camera vectors (F, N, 27) -> (volumes (F, segment + context channels, Z,
        Y, X), depth logits (F, N, bins, H, W), class logits (F, N, classes, H, W))."""
        frames = prepared.shape[:2]
        joined = torch.cat(self.cross_model_fusion(prepared.flatten(0, 1), hinted.flatten(0, 1)), 1)
        logits, features, classes = (x.unflatten(0, frames) for x in
                                     self.depth_seg_net(self.further_fuse(joined), cameras.flatten(0, 1)))
        lifted = lift(logits.softmax(2), features, tables, self.spec.map_shape)
        return lifted.unflatten(1, (self.spec.z_cells, -1)).transpose(1, 2), logits, classes

"""FusionOcc: cameras with LiDAR depth hints, lifted into a voxel volume, beside a sparse LiDAR branch (Zhang et al., ACM MM 2024).

What of a past frame has to be remembered so that nothing changes: FrameFeatures.prepared, the image features reduced to
fusion_channels (8.7 MB for six cameras of 512 x 1408). Everything behind them depends on the present frame, as the published
code feeds the past images with the depth hints and the camera vectors of the present frame: so a past frame's fusion, depth and
volume are computed again from there, which is 4 % of what its backbone takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from occ_perception.catalogue import ImagePreprocessing
from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.networks.flashocc.network import FrameFeatures
from occ_perception.networks.fusionocc.config import FusionOccConfig
from occ_perception.networks.parts.conv_module import ConvModule
from occ_perception.networks.parts.cross_modal_lift import CrossModalLift
from occ_perception.networks.parts.fpn_lss import FpnLss
from occ_perception.networks.parts.image_input import normalised
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.occupancy_head_3d import volume_labels
from occ_perception.networks.parts.sparse_encoder import SparseTensors, SparseVolumeEncoder
from occ_perception.networks.parts.swin import SwinTransformer
from occ_perception.networks.parts.volume_encoder import CustomResNet3d, LssFpn3d


class FrameMap(NamedTuple):
    """map: (B, C, Z, Y, X), a frame's volume. depth_logits: (B, N, bins, H, W). segments: (B, N, classes, H, W), of its pixels."""

    map: Tensor
    depth_logits: Tensor
    segments: Tensor


class FusionOcc(nn.Module):
    """Keys and shapes are those of the published checkpoints.

    The way of a frame: frame_features -> frame_map (with geometry and hint_features of the present frame); the LiDAR's:
    lidar_map; both, with the volumes of past frames -> decide. lift: must have the grid of the LiDAR branch's last stage.
    """

    def __init__(self, config: FusionOccConfig, preprocessing: ImagePreprocessing, lift: LiftSpec) -> None:
        super().__init__()
        self.config, self.preprocessing, self.lift = config, preprocessing, lift
        lidar = config.lidar
        cells = lidar.sparse.shapes[-1]
        if cells != lift.map_shape[::-1]:
            raise ValueError(f'the LiDAR branch ends with {cells} cells (x, y, z), the lift with {lift.map_shape[::-1]}')
        backbone, width = config.backbone, config.lift_channels
        self.img_backbone = SwinTransformer(backbone.channels, backbone.blocks, backbone.heads, backbone.window, backbone.outputs)
        self.img_neck = FpnLss(sum(self.img_backbone.out_channels), config.neck_channels, extra_upsample=False)
        self.img_view_transformer = CrossModalLift(config.neck_channels, config.fusion_channels, lift, config.segment_channels,
                                                   config.context_channels, config.segments)
        self.pre_process_net = CustomResNet3d(width, (width,), (1,), (1,))
        self.lidar_encoder = SparseVolumeEncoder(lidar)
        self.img_bev_encoder_backbone = CustomResNet3d(width * (1 + config.past_frames) + lidar.channels, config.volume_widths,
                                                       config.volume_blocks, (1, 2, 2))
        self.img_bev_encoder_neck = LssFpn3d(config.volume_widths, config.volume_channels)
        channels = config.head_channels
        self.final_conv = ConvModule(config.volume_channels, channels, 3, dimensions=3, relu=True)
        self.predicter = nn.Sequential(nn.Linear(channels, 2 * channels), nn.Softplus(), nn.Linear(2 * channels, config.classes))

    def frame_features(self, images: Tensor) -> FrameFeatures:
        """RGB images (B, N, H, W, 3) uint8 at network size -> what can be said of a frame without geometry and hints."""
        maps = self.img_backbone(normalised(images, self.preprocessing).flatten(0, 1))
        features = self.img_neck(*maps).unflatten(0, images.shape[:2])
        return FrameFeatures(self.img_view_transformer.prepared(features), None, features)

    def hint_features(self, hints: Tensor) -> Tensor:
        """Depth hints of the PRESENT points (B, N, H, W) at feature size, metres, 0 where there is none -> (B, N, C, H, W)."""
        return self.img_view_transformer.hinted(hints)

    def frame_map(self, prepared: Tensor, tables: LiftTensors, cameras: Tensor | None, hinted: Tensor) -> FrameMap:
        """A frame's volume as the present ego frame sees it.

        prepared: (B, N, C, H, W) of FrameFeatures; tables: from its exposures into the present ego frame. cameras: (B, N, 27)
        vectors and hinted: (B, N, C, H, W) of hint_features, both of the PRESENT frame also for past ones, as published.
        """
        assert cameras is not None
        lifted, depth_logits, segments = self.img_view_transformer(prepared, hinted, tables, cameras)
        return FrameMap(self.pre_process_net(lifted)[0], depth_logits, segments)

    def lidar_map(self, voxels: Tensor, tables: SparseTensors) -> Tensor:
        """Voxel means (V, columns) float32 in the order of the tables -> (1, C, Z, Y, X)."""
        return self.lidar_encoder(voxels, tables)

    def encode(self, maps: Sequence[Tensor], lidar: Tensor) -> Tensor:
        """Volumes of frame_map, the present frame's first, then past ones, youngest first, and of lidar_map -> (B, C, Z, Y, X)."""
        # the oldest frame's channels come first, the LiDAR's last
        return self.img_bev_encoder_neck(self.img_bev_encoder_backbone(torch.cat([*maps[::-1], lidar], 1)))

    def decide(self, maps: Sequence[Tensor], lidar: Tensor) -> tuple[Tensor, None]:
        """Likeliest class per voxel, (B, X, Y, Z) int64, and no velocities; see encode."""
        return volume_labels(self.final_conv(self.encode(maps, lidar)), self.predicter), None

    def logits(self, encoded: Tensor) -> Tensor:
        """Class logits (B, X, Y, Z, classes) of an encoded volume, for losses."""
        return self.predicter(self.final_conv(encoded).permute(0, 4, 3, 2, 1))

"""EFFOcc: LiDAR voxels and pictures to one bird's-eye-view map, from which height and class come out of the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from occ_perception.catalogue import ImagePreprocessing
from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.networks.effocc.config import CameraBranch, EffOccConfig
from occ_perception.networks.effocc.flow_head import FlowOccupancyHead2d
from occ_perception.networks.flashocc.config import SwinConfig
from occ_perception.networks.flashocc.network import FrameFeatures
from occ_perception.networks.parts.fpn import CustomFPN
from occ_perception.networks.parts.fpn_lss import FpnLss
from occ_perception.networks.parts.hinted_lift import HintedLiftSplat
from occ_perception.networks.parts.image_input import normalised
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.occupancy_head import OccupancyHead2d
from occ_perception.networks.parts.resnet import ResNet
from occ_perception.networks.parts.second import Second, SecondFpn
from occ_perception.networks.parts.sparse_encoder import SparseEncoder, SparseTensors
from occ_perception.networks.parts.swin import SwinTransformer


class ConvFuser(nn.Module):
    """Maps of several sensors, concatenated and mixed by one convolution (ConvFuser2D)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.occ_enc = nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
                                     nn.BatchNorm2d(out_channels), nn.ReLU())

    def forward(self, *maps: Tensor) -> Tensor:
        return self.occ_enc(torch.cat(maps, 1))


class EffOcc(nn.Module):
    """One class for every configuration; keys and shapes are those of the published checkpoints.

    The way of a frame: frame_features (pictures) and hint_features (depth hints) -> frame_map; lidar_map (voxels); both ->
    encode -> decide. Networks without cameras have lidar_map, encode and decide only.
    """

    published_labels: Tensor

    def __init__(self, config: EffOccConfig, preprocessing: ImagePreprocessing, lift: LiftSpec | None, grid: VoxelGridSpec) -> None:
        super().__init__()
        self.config, self.preprocessing, self.lift = config, preprocessing, lift
        self.pts_middle_encoder = SparseEncoder(config.lidar)
        height, *map_size = config.lidar.sparse.shapes[-1]
        if map_size != [grid.shape[1], grid.shape[0]]:
            raise ValueError(f'the LiDAR map has {map_size} cells (y, x), the grid {grid.shape} (x, y, z)')
        channels = height * config.lidar.channels
        if config.camera is not None:
            if lift is None:
                raise ValueError('the camera branch lifts its pictures: it needs a LiftSpec')
            self._add_cameras(config.camera, lift, channels)
            channels = config.fused_channels
        self.pts_backbone = Second(channels, config.bev_widths, config.bev_layers, _strides(config))
        self.pts_neck = SecondFpn(config.bev_widths, config.bev_channels, [2 ** i for i in range(len(config.bev_widths))])
        head = FlowOccupancyHead2d if config.flow else OccupancyHead2d
        self.occ_head = head(sum(config.bev_channels), config.head_channels, grid.shape[2], config.classes)
        self.register_buffer('published_labels', torch.tensor(config.labels, dtype=torch.int64), persistent=False)

    def _add_cameras(self, camera: CameraBranch, lift: LiftSpec, lidar_channels: int) -> None:
        backbone = camera.backbone
        self.img_backbone = (
            SwinTransformer(backbone.channels, backbone.blocks, backbone.heads, backbone.window, backbone.outputs)
            if isinstance(backbone, SwinConfig) else
            ResNet(backbone.block, backbone.stem, backbone.widths, backbone.blocks, backbone.outputs))
        channels = self.img_backbone.out_channels
        self.img_neck = (CustomFPN(channels, camera.neck_channels) if camera.neck == 'fpn'
                         else FpnLss(sum(channels), camera.neck_channels, extra_upsample=False))
        self.img_view_transformer = HintedLiftSplat(camera.neck_channels, camera.lift_channels, lift)
        self.occ_fuser = ConvFuser(camera.lift_channels + lidar_channels, self.config.fused_channels)

    def frame_features(self, images: Tensor) -> FrameFeatures:
        """RGB images (B, N, H, W, 3) uint8 at network size -> what can be said of a frame without geometry and hints."""
        maps = self.img_backbone(normalised(images, self.preprocessing).flatten(0, 1))
        features = self.img_neck(maps) if isinstance(self.img_neck, CustomFPN) else self.img_neck(*maps)
        features = features.unflatten(0, images.shape[:2])
        return FrameFeatures(features, None, features)

    def hint_features(self, hints: Tensor) -> Tensor:
        """Depth hints (B, N, H, W) of runtime.intake.depth_hint at network size, metres, 0 where there is none -> (B, N, C, h,
        w)."""
        return self.img_view_transformer.hinted(hints)

    def frame_map(self, prepared: Tensor, tables: LiftTensors, cameras: Tensor | None, hinted: Tensor) -> tuple[Tensor, Tensor]:
        """What the cameras see, on the map: (B, C, Y, X), and the depth logits (B, N, bins, h, w).

        prepared: of frame_features, hinted: of hint_features; tables: of the rig. cameras: not asked for.
        """
        return self.img_view_transformer(prepared, hinted, tables)

    def lidar_map(self, voxels: Tensor, tables: SparseTensors) -> Tensor:
        """Voxel means (V, columns) float32 in the order of the tables -> (B, C, Y, X), see SparseEncoder."""
        scales = self.config.lidar.scales
        return self.pts_middle_encoder(voxels / voxels.new_tensor(scales) if scales else voxels, tables)

    def encode(self, maps: Sequence[Tensor], lidar: Tensor) -> Tensor:
        """The map of frame_map, none without cameras, and that of lidar_map -> the encoded map (B, C, Y, X)."""
        return self.pts_neck(self.pts_backbone(self.occ_fuser(*maps, lidar) if maps else lidar))

    def decide(self, maps: Sequence[Tensor], lidar: Tensor) -> tuple[Tensor, Tensor | None]:
        """Likeliest label per voxel (B, X, Y, Z) int64, in the numbers of the network's label set, and, of networks that tell it,
        velocity (B, X, Y, Z, 2) in m/s; see encode."""
        encoded = self.encode(maps, lidar)
        if isinstance(self.occ_head, FlowOccupancyHead2d):
            classes, flow = self.occ_head.labels_and_flow(encoded)
            return self._named(classes), flow
        return self._named(self.occ_head.labels(encoded)), None

    def _named(self, classes: Tensor) -> Tensor:
        if self.config.labels == tuple(range(self.config.classes)):
            return classes
        return self.published_labels.index_select(0, classes.flatten()).view_as(classes)

    def forward(self, images: Tensor | None, hints: Tensor | None, lift_tables: LiftTensors | None, voxels: Tensor,
                neighbours: SparseTensors) -> Tensor:
        """Class logits (1, X, Y, Z, classes); images, hints and lift_tables are None for a network without cameras."""
        maps = []
        if self.config.camera is not None:
            assert images is not None and hints is not None and lift_tables is not None
            maps = [self.frame_map(self.frame_features(images).prepared, lift_tables, None, self.hint_features(hints))[0]]
        return self.occ_head(self.encode(maps, self.lidar_map(voxels, neighbours)))


def _strides(config: EffOccConfig) -> tuple[int, ...]:
    return (1, *(2,) * (len(config.bev_widths) - 1))

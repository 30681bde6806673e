"""Networks of the catalogue made small: every switch as it is, but few channels and blocks, small pictures and a small grid."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from occ_perception.catalogue import NETWORKS, HistorySpec, ImagePreprocessing, NetworkEntry, entry
from occ_perception.engines.example_inputs import ExampleDrive
from occ_perception.engines.graphs import EncodeGraph, ExportedGraph, FuseGraph, MatchGraph, WholeGraph
from occ_perception.engines.lidar_graph import LidarDrive
from occ_perception.engines.protocol import MEMORY_FORMS
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.geometry.voxelise import VoxelSpec
from occ_perception.networks.build import LidarNetwork
from occ_perception.networks.configs import config_of
from occ_perception.networks.effocc.config import EffOccConfig
from occ_perception.networks.effocc.network import EffOcc
from occ_perception.networks.flashocc.config import BackboneConfig, FlashOccConfig, SwinConfig
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.fusionocc.config import FusionOccConfig
from occ_perception.networks.fusionocc.network import FusionOcc

GRID = VoxelGridSpec((-20.0, -16.0, -1.0), 0.8, (48, 40, 8))
MOST_PAST = 2


def _small_backbone(backbone: BackboneConfig | SwinConfig) -> BackboneConfig | SwinConfig:
    if isinstance(backbone, SwinConfig):
        return SwinConfig(16, (2, 2, 2, 2), (1, 2, 4, 4), 4, backbone.outputs)
    return BackboneConfig(backbone.block, 16, (8, 16, 16, 16), (1, 1, 1, 1), backbone.outputs)


def small_config(name: str) -> FlashOccConfig:
    """The configuration of a network of the BEVDet line, narrowed."""
    config = config_of(name)
    return replace(config, backbone=_small_backbone(config.backbone), neck_channels=32, lift_channels=16,
                   bev_widths=(16, 16, 32), bev_blocks=(1, 1, 1), bev_channels=32, head_channels=32,
                   past_frames=min(config.past_frames, MOST_PAST))


def small_row(name: str) -> NetworkEntry:
    """Its row of the catalogue, with small pictures, few depths, a small grid and at most MOST_PAST past frames."""
    row = entry(name)
    lift = None if row.lift is None else replace(row.lift, input_height=128, input_width=352, depth_stop=21.0, depth_step=4.0,
                                                 grid=GRID, z_cells=GRID.shape[2] if row.lift.z_cells > 1 else 1)
    history = HistorySpec(row.history.offsets_s[:MOST_PAST], row.history.tolerance_s, row.history.stereo)
    return replace(row, preprocessing=ImagePreprocessing(input_height=128, input_width=352), lift=lift, grid=GRID, history=history)


def small_network(name: str) -> tuple[FlashOcc, ExampleDrive]:
    """The network with lively weights, and a drive to feed it with."""
    row = small_row(name)
    torch.manual_seed(0)
    network = FlashOcc(small_config(name), row.preprocessing, row.frustum).eval()
    drive = ExampleDrive(network, row, row.frustum.default_caps(len(row.cameras)))
    drive.enliven()
    return network, drive


def small_lidar_config(name: str) -> EffOccConfig | FusionOccConfig:
    """The configuration of a network with a LiDAR branch, narrowed; its voxels eight times as fine as the small grid."""
    config = config_of(name)
    branch = config.lidar
    size = (0.1, 0.1, 0.16 if isinstance(config, EffOccConfig) else 0.1)
    voxels = VoxelSpec(GRID.origin_m, GRID.upper_m, size, branch.voxels.points_per_voxel, branch.voxels.axes)
    lidar = replace(branch, voxels=voxels, most=None if branch.most is None else 20_000, widths=(8, 8, 16, 16), channels=16,
                    caps=(20_000, 25_000, 15_000, 8_000, 6_000)[:len(branch.caps)])
    if isinstance(config, FusionOccConfig):
        return replace(config, backbone=_small_backbone(config.backbone), neck_channels=32, fusion_channels=16, segment_channels=8,
                       context_channels=8, lidar=lidar, volume_widths=(16, 16, 32), volume_blocks=(1, 1, 1), volume_channels=16,
                       head_channels=16)
    camera = config.camera and replace(config.camera, backbone=_small_backbone(config.camera.backbone), neck_channels=32,
                                       lift_channels=16)
    return replace(config, lidar=lidar, camera=camera, fused_channels=32, bev_widths=(16, 32), bev_layers=(1, 1),
                   bev_channels=(16, 16), head_channels=32)


def small_lidar_network(name: str) -> tuple[LidarNetwork, LidarDrive]:
    """The same as small_network for a network with a LiDAR branch."""
    row, config = small_row(name), small_lidar_config(name)
    torch.manual_seed(0)
    network = (FusionOcc(config, row.preprocessing, row.frustum) if isinstance(config, FusionOccConfig)
               else EffOcc(config, row.preprocessing, row.lift, row.grid)).eval()
    drive = LidarDrive(network, row, None if row.lift is None else row.frustum.default_caps(len(row.cameras)))
    drive.enliven()
    return network, drive


def lines_with_lidar() -> list[str]:
    """Names of the networks with a LiDAR branch, one of those that are alike when made small; without the one that ships."""
    kinds: dict[tuple, str] = {}
    for name, row in NETWORKS.items():
        if row.sees_by_lidar and not row.weights:
            kinds.setdefault((small_lidar_config(name), row.cameras), name)
    return list(kinds.values())


def line_of_bevdet() -> list[str]:
    """Names of the networks that FlashOcc's class builds."""
    return [name for name in NETWORKS if isinstance(config_of(name), FlashOccConfig)]


class Case(NamedTuple):
    """One exported graph: of which network, in which form of memory, whole or which of a stereo network's three."""

    name: str
    memory: str
    kind: type[ExportedGraph]


def unlike_graphs() -> list[Case]:
    """One case for each small graph that differs from all others in more than sizes.

    Where there are networks with instance centres and without, those with them; matching is the same in all. The networks that ship
    are exported as they are in test_export.py.
    """
    seen: dict[tuple, Case] = {}
    names = [name for name in line_of_bevdet() if not NETWORKS[name].weights]
    for name in sorted(names, key=lambda name: (-config_of(name).centers, names.index(name))):
        config = replace(small_config(name), centers=False)
        if config.past_frames:
            config = replace(config, past_frames=MOST_PAST)
        for memory in MEMORY_FORMS if config.past_frames else MEMORY_FORMS[:1]:
            if config.depth != 'stereo':
                seen.setdefault((WholeGraph, config, memory), Case(name, memory, WholeGraph))
                continue
            seen.setdefault((EncodeGraph, config.backbone), Case(name, memory, EncodeGraph))
            seen.setdefault((MatchGraph,), Case(name, memory, MatchGraph))
            fused = replace(config, backbone=BackboneConfig(), neck='fpn')
            seen.setdefault((FuseGraph, fused, memory), Case(name, memory, FuseGraph))
    return list(seen.values())

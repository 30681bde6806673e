"""Every network by its official configuration name: inputs, preprocessing, grid, classes, published score.

A plain table that imports no torch, so nodes and the command line can read it anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec

NUSCENES_CAMERAS = ('CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_LEFT', 'CAM_BACK', 'CAM_BACK_RIGHT')
"""Camera order of the BEVDet line: the order of the network's image axis."""


@dataclass(frozen=True)
class ImagePreprocessing:
    """How a source image becomes a network input (BEVDet test-time rule).

    Resize so that the width is input_width, keeping the aspect (sizes truncated to int), then keep the bottom
    input_height rows, horizontally centred. resample: 'bicubic' (Pillow, antialiased; what the checkpoints were trained with).
    Normalisation, done inside the network: channels are REVERSED to B, G, R, then (x - mean) / std in that order.
    """

    input_height: int = 256
    input_width: int = 704
    resample: str = 'bicubic'
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class NetworkEntry:
    """One row of the catalogue.

    family: package under networks/ that builds it. parameters: learnable ones. lift: frustum of networks that lift image
    features through depth, else None. published_miou: Occ3D-nuScenes val, camera mask, percent; None where none was published.
    weights: name of the shipped weights under occ_perception/weights/ without suffix, or None (the user brings a checkpoint).
    """

    name: str
    family: str
    summary: str
    preprocessing: ImagePreprocessing
    parameters: int
    cameras: tuple[str, ...] = NUSCENES_CAMERAS
    frames: int = 1
    grid: VoxelGridSpec = OCC3D_GRID
    lift: LiftSpec | None = None
    published_miou: float | None = None
    weights: str | None = None


_SAMPLE_IMAGES = ImagePreprocessing(input_height=128, input_width=352)

NETWORKS: dict[str, NetworkEntry] = {row.name: row for row in (
    NetworkEntry('flashocc-r50-M0', 'flashocc', 'FlashOcc M0: ResNet-50, one frame, 2D BEV encoder, channel-to-height head',
                 ImagePreprocessing(), 39_938_892, lift=LiftSpec(256, 704), published_miou=31.95),
    NetworkEntry('scocc-r50', 'scocc', 'SCOcc, one frame: FlashOcc R50 with multi-scale fusion and coordinate attention',
                 ImagePreprocessing(), 56_474_256, lift=LiftSpec(256, 704, depth_step=0.5), published_miou=33.95),
    NetworkEntry('scocc_sample', 'scocc', 'SCOcc made small, trained on the sample world: live on two CPU cores',
                 _SAMPLE_IMAGES, 6_581_092, lift=LiftSpec(128, 352, stride=8), weights='scocc_sample'),
)}
"""Catalogue name -> row."""


def entry(name: str) -> NetworkEntry:
    """Row of a network. Raises ValueError that lists the known names."""
    try:
        return NETWORKS[name]
    except KeyError:
        raise ValueError(f'no network is called {name!r}; known: {", ".join(NETWORKS)}') from None

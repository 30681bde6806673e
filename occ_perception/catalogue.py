"""Every network by its official configuration name: inputs, preprocessing, grid, classes, published score.

A plain table that imports no torch, so nodes and the command line can read it anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.geometry.voxel_grid import OCC3D_GRID, OPENOCCUPANCY_GRID, PANOOCC_GRID, VoxelGridSpec
from occ_perception.labels import OCC3D_NUSCENES, WAYMO, LabelSet

NUSCENES_CAMERAS = ('CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_LEFT', 'CAM_BACK', 'CAM_BACK_RIGHT')
"""Camera order of the BEVDet line: the order of the network's image axis."""
PANOOCC_CAMERAS = ('CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_BACK_RIGHT')
"""Camera order of BEVFormer and PanoOcc, which have learnt something of each."""
NUSCENES_LIDAR_XYZ_YAW = (0.943, 0.0, 1.840, -90.0)
"""Where the LiDAR stands on nuScenes' cars, ego frame [m, degrees]: taken for grids in its frame while no sweep tells another."""
WAYMO_CAMERAS = ('FRONT', 'FRONT_LEFT', 'FRONT_RIGHT', 'SIDE_LEFT', 'SIDE_RIGHT')
"""Cameras of Waymo, by the numbers of their views."""


@dataclass(frozen=True)
class ImagePreprocessing:
    """How a source image becomes a network input (BEVDet test-time rule).

    Resize so that the width is input_width, keeping the aspect (sizes truncated to int), then keep the bottom
    input_height rows, horizontally centred. resample: 'bicubic' (Pillow, antialiased; what the checkpoints were trained with).
    Normalisation, done inside the network: channels in the order of `channels`, 'bgr' or 'rgb', then (x - mean) / std in that
    order; halved: then each 2 x 2 pixels become their mean; pad_to: then zero rows below and columns on the right, up to multiples
    of that.
    """

    input_height: int = 256
    input_width: int = 704
    resample: str = 'bicubic'
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    channels: str = 'bgr'
    halved: bool = False
    pad_to: int = 1

    def __post_init__(self) -> None:
        if self.channels not in ('bgr', 'rgb'):
            raise ValueError(f"channel order {self.channels!r} is unknown: use 'bgr' or 'rgb'")
        if self.halved and (self.input_height % 2 or self.input_width % 2):
            raise ValueError(f'pictures of {self.input_height}x{self.input_width} cannot be halved')

    @property
    def scale(self) -> float:
        """Pixels of the tensor that enters the network per pixel of a picture at network size."""
        return 0.5 if self.halved else 1.0

    @property
    def tensor_size(self) -> tuple[int, int]:
        """Height and width of the tensor that enters the network."""
        height, width = (int(self.scale * size) for size in (self.input_height, self.input_width))
        return height + -height % self.pad_to, width + -width % self.pad_to


@dataclass(frozen=True)
class HistorySpec:
    """Which earlier frames a network looks at, beside the present one.

    offsets_s: their ages in seconds, the youngest first (key frames of nuScenes are 0.5 s apart). tolerance_s: how far a
    remembered frame may be from that age. stereo: images are also matched against the frame before, one key frame earlier.
    """

    offsets_s: tuple[float, ...] = ()
    tolerance_s: float = 0.15
    stereo: bool = False

    def __post_init__(self) -> None:
        _check_ages('frames', self.offsets_s)


EGO, LIDAR = 'ego', 'lidar'
"""Frames in which a network's grid may lie."""
NEVER, AT_START, EACH = 'never', 'at_start', 'each'
"""When the present sweep stands in for earlier ones: not at all, where none of them is there, for each that is not there."""
POINT_COLUMNS = 'intensity', 'ring', 'time_lag_s', 'tanh_intensity', 'tanh_elongation'
"""What networks may take of a point behind x, y, z; 'tanh_...': squeezed by the hyperbolic tangent."""


@dataclass(frozen=True)
class LidarSpec:
    """Which LiDAR points a network looks at.

    columns: of each point behind x, y, z, out of POINT_COLUMNS. ages_s: of the earlier sweeps beside the present one, the youngest
    first. tolerance_s: how far a sweep may be from that age. stand_in: NEVER, AT_START or EACH. close_m: returns of earlier sweeps
    nearer than this to their own LiDAR, along its x and its y, are left out. thinned: lower rings are thinned (see
    networks.fusionocc.points). frame: EGO or LIDAR (the present sweep's), that of points and grid. hint_stride: pixels along the
    edge of a cell of the depth hints, None where none are taken; hint_sweeps: whether earlier sweeps count in them; hint_motion:
    whether they are made with the ego motion between reference and exposure.
    """

    columns: tuple[str, ...] = ('intensity', 'time_lag_s')
    ages_s: tuple[float, ...] = ()
    tolerance_s: float = 0.03
    stand_in: str = NEVER
    close_m: float = 0.0
    thinned: bool = False
    frame: str = EGO
    hint_stride: int | None = None
    hint_sweeps: bool = False
    hint_motion: bool = True

    def __post_init__(self) -> None:
        _check_ages('LiDAR sweeps', self.ages_s)
        for name, value, known in (('stand_in', self.stand_in, (NEVER, AT_START, EACH)), ('frame', self.frame, (EGO, LIDAR)),
                                   *(('columns', column, POINT_COLUMNS) for column in self.columns)):
            if value not in known:
                raise ValueError(f'{name} {value!r} of LiDAR points is unknown: use {", ".join(known)}')


def _check_ages(what: str, ages_s: tuple[float, ...]) -> None:
    if list(ages_s) != sorted(set(ages_s)) or any(age <= 0 for age in ages_s):
        raise ValueError(f'ages of past {what} must grow and be positive: {ages_s}')


KEY_FRAME_INTERVAL_S = 0.5
"""Distance of the key frames that the published networks were trained on."""


def key_frames(count: int, stereo: bool = False) -> HistorySpec:
    """History of so many nuScenes key frames."""
    return HistorySpec(tuple(KEY_FRAME_INTERVAL_S * (k + 1) for k in range(count)), stereo=stereo)


@dataclass(frozen=True)
class NetworkEntry:
    """One row of the catalogue.

    family: package under networks/ that builds it. parameters: learnable ones. lift: frustum of networks that lift image features
    through depth, else None. cameras: in the order of its image axis, empty without. lidar: the points it looks at, None without.
    history: past frames it looks at. grid: in the frame grid_frame. labels: what its voxel labels mean. instances: whether it finds
    instance centres. published: score on Occ3D-nuScenes val in percent, mIoU under the camera mask unless `published_as` says
    otherwise; None where none was published. published_pq: RayPQ in percent, of networks that find instances. maskable: whether its
    cameras or its LiDAR may be masked, since training did so at times. stand_in: network of cameras alone that serves by default
    while there is no LiDAR, '' for none. changes: fields of its configuration that weights at hand have otherwise (rows of a
    manifest; the catalogue's have none). rate_hz: sets per second it is asked for by default. weights: name of the shipped weights
    under occ_perception/weights/ without suffix, or None (the user brings a checkpoint).
    """

    name: str
    family: str
    summary: str
    preprocessing: ImagePreprocessing
    parameters: int
    lift: LiftSpec | None
    cameras: tuple[str, ...] = NUSCENES_CAMERAS
    lidar: LidarSpec | None = None
    history: HistorySpec = HistorySpec()
    grid: VoxelGridSpec = OCC3D_GRID
    labels: LabelSet = OCC3D_NUSCENES
    instances: bool = False
    center_threshold: float = 0.3
    published: float | None = None
    published_as: str = 'mIoU'
    published_pq: float | None = None
    maskable: bool = False
    stand_in: str = ''
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rate_hz: float = 2.0
    weights: str | None = None

    @property
    def frames(self) -> int:
        """Frames whose maps are fused, the present one included."""
        return 1 + len(self.history.offsets_s)

    @property
    def sees_by_lidar(self) -> bool:
        """Whether LiDAR points are an input, not only places to be labelled."""
        return self.lidar is not None and bool(self.lidar.columns)

    @property
    def grid_frame(self) -> str:
        """Frame of the grid, EGO or LIDAR."""
        return EGO if self.lidar is None else self.lidar.frame

    @property
    def frustum(self) -> LiftSpec:
        """The lift. Raises ValueError for a network that lifts nothing."""
        if self.lift is None:
            raise ValueError(f'{self.name} lifts no images')
        return self.lift


_SMALL, _LARGE = ImagePreprocessing(), ImagePreprocessing(input_height=512, input_width=1408)
_SAMPLE = ImagePreprocessing(input_height=128, input_width=352)
_COARSE = LiftSpec(256, 704)
_FINE = LiftSpec(256, 704, depth_step=0.5)
_SID = LiftSpec(256, 704, depth_step=0.5, spacing='sid')
_WIDE = LiftSpec(512, 1408, depth_step=0.5)
_SAMPLE_LIFT = LiftSpec(128, 352, stride=8)


_HINTED, _OPENOCCUPANCY = replace(_FINE, stride=8), LiftSpec(256, 704, stride=8, depth_stop=60.0, grid=OPENOCCUPANCY_GRID)
_NINE_SWEEPS = LidarSpec(ages_s=tuple(round(0.05 * (k + 1), 2) for k in range(9)), stand_in=AT_START, close_m=1.0, hint_stride=1,
                         hint_sweeps=True, hint_motion=False)
"""Training draws nine of the last ten sweeps at random, as the published test does; here the youngest nine."""
_TEN_SWEEPS = replace(_NINE_SWEEPS, ages_s=(*_NINE_SWEEPS.ages_s, 0.5), frame=LIDAR, hint_motion=True)
_WAYMO_SWEEP = LidarSpec(('tanh_intensity', 'tanh_elongation'), hint_stride=1)
_KEY_SWEEPS = LidarSpec(('intensity', 'ring'), tuple(KEY_FRAME_INTERVAL_S * (k + 1) for k in range(7)), 0.15, EACH, thinned=True,
                        hint_stride=16)
_CAFFE = ImagePreprocessing(864, 1600, mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), pad_to=32)
_LOW = replace(_CAFFE, input_height=640)
_RGB = ImagePreprocessing(640, 1600, channels='rgb', pad_to=32)
_EVERY_FOURTH = HistorySpec(tuple(4 * KEY_FRAME_INTERVAL_S * (k + 1) for k in range(3)))
_LABELLED_SWEEP = LidarSpec((), frame=LIDAR)
"""The present sweep is no input: its points are labelled, and the grid lies in its frame."""


def _panoocc(name: str, summary: str, parameters: int, preprocessing: ImagePreprocessing, published: float,
             past: HistorySpec = _EVERY_FOURTH) -> NetworkEntry:
    """Figures: README.md of github.com/Robertwyq/PanoOcc at f723299; its test-split rows have no released configuration."""
    row = NetworkEntry(f'panoocc-{name}', 'panoocc', f'PanoOcc: {summary}', preprocessing, parameters, None, PANOOCC_CAMERAS,
                       history=past, published=published)
    if 'panoptic' not in name:
        return row
    return replace(row, lidar=_LABELLED_SWEEP, grid=PANOOCC_GRID, instances=True, published_as='lidarseg mIoU')


def _volume(lift: LiftSpec) -> LiftSpec:
    return replace(lift, z_cells=16)


NETWORKS: dict[str, NetworkEntry] = {row.name: row for row in (
    # figures: tables "FlashOCC" and "Panoptic-FlashOCC" in README.md of github.com/Yzichen/FlashOCC at 4084861; no 16f rows there
    NetworkEntry('bevdet-occ-r50', 'flashocc', 'BEVDet-Occ: voxel features, 3D encoder', _SMALL, 29_021_482, _volume(_FINE),
                 published=31.60),
    NetworkEntry('bevdet-occ-r50-4d-stereo', 'flashocc', 'BEVDet-Occ, two frames, stereo depth', _SMALL, 34_969_712, _volume(_FINE),
                 history=key_frames(1, stereo=True), published=36.10),
    NetworkEntry('bevdet-occ-stbase-4d-stereo-512x1408', 'flashocc', 'BEVDet-Occ, Swin-B, two frames, stereo depth', _LARGE,
                 121_278_120, _volume(_WIDE), history=key_frames(1, stereo=True), published=42.0),
    NetworkEntry('flashocc-r50-M0', 'flashocc', 'FlashOcc M0: ResNet-50, 2D BEV encoder, channel-to-height head', _SMALL,
                 39_938_892, _COARSE, published=31.95),
    NetworkEntry('flashocc-r50', 'flashocc', 'FlashOcc M1: finer depth, wider head', _SMALL, 44_744_312, _FINE, published=32.08),
    NetworkEntry('flashocc-r50-4d-stereo', 'flashocc', 'FlashOcc M2: two frames, stereo depth', _SMALL, 58_668_414, _SID,
                 history=key_frames(1, stereo=True), published=37.84),
    NetworkEntry('flashocc-stbase-4d-stereo-512x1408', 'flashocc', 'FlashOcc M3: Swin-B, two frames, stereo depth', _LARGE,
                 144_989_110, _WIDE, history=key_frames(1, stereo=True), published=43.52),
    *(NetworkEntry(f'panoptic-flashocc-r50-{name}', 'flashocc', f'Panoptic-FlashOcc: {summary}', _SMALL, parameters,
                   _COARSE if 'tiny' in name else _FINE, history=key_frames(past), instances=centers,
                   center_threshold=0.1 if name.endswith('16f-pano') else 0.3, published=ray_iou, published_as='RayIoU',
                   published_pq=ray_pq)
      for name, summary, parameters, past, centers, ray_iou, ray_pq in (
          ('depth-tiny', 'depth net, small', 45_317_698, 0, False, 34.57, None),
          ('depth-tiny-pano', 'depth net, small, instance centres', 45_625_046, 0, True, 34.81, 12.9),
          ('depth', 'depth net, instance centres', 58_214_898, 0, True, 34.93, None),
          ('depth-pano', 'depth net, instance centres', 58_214_898, 0, True, 35.22, 13.2),
          ('depth4d', 'two frames', 75_258_862, 1, False, 35.99, None),
          ('depth4d-pano', 'two frames, instance centres', 75_639_938, 1, True, 36.76, 14.5),
          ('depth4d-longterm8f', 'nine frames', 76_871_662, 8, False, 38.51, None),
          ('depth4d-longterm8f-pano', 'nine frames, instance centres', 77_252_738, 8, True, 38.50, 16.0),
          ('depth4d-longterm16f', '17 frames', 78_714_862, 16, False, None, None),
          ('depth4d-longterm16f-pano', '17 frames, instance centres', 79_095_938, 16, True, None, None))),
    NetworkEntry('scocc-r50', 'scocc', 'SCOcc: FlashOcc with multi-scale fusion and coordinate attention', _SMALL, 56_474_256,
                 _FINE, published=33.95),
    NetworkEntry('scocc-r50-4d-stereo', 'scocc', 'SCOcc, two frames, stereo depth', _SMALL, 77_204_694, _SID,
                 history=key_frames(1, stereo=True), published=38.91),
    NetworkEntry('scocc-r50-6f', 'scocc', 'SCOcc, seven frames, stereo depth', _SMALL, 78_356_694, _SID,
                 history=key_frames(6, stereo=True), published=40.51),
    NetworkEntry('scocc-stbase-4d-stereo-512x1408', 'scocc', 'SCOcc, Swin-B, two frames, stereo depth', _LARGE, 163_525_390, _WIDE,
                 history=key_frames(1, stereo=True), published=43.76),
    NetworkEntry('scocc-stbase-4f', 'scocc', 'SCOcc, Swin-B, five frames, stereo depth', _LARGE, 164_216_590, _WIDE,
                 history=key_frames(4, stereo=True), published=45.01),
    # figures: comments in the configuration files of github.com/synsin0/EFFOcc at 13aeb78
    NetworkEntry('effocc-fusion-r18', 'effocc', 'EFFOcc: LiDAR voxels and ResNet-18 pictures, one 2D map', _SMALL, 21_354_248,
                 _HINTED, lidar=_NINE_SWEEPS, published=51.49),
    NetworkEntry('effocc-fusion-r50', 'effocc', 'EFFOcc, ResNet-50', _SMALL, 34_029_832, _HINTED, lidar=_NINE_SWEEPS),
    NetworkEntry('effocc-fusion-swinb-512x1408', 'effocc', 'EFFOcc, Swin-B', _LARGE, 111_480_320, _WIDE, lidar=_NINE_SWEEPS,
                 published=54.08),
    NetworkEntry('effocc-fusion-r18-flow', 'effocc', 'EFFOcc, trained on OpenOcc, with a velocity per voxel', _SMALL, 21_502_248,
                 _HINTED, lidar=_NINE_SWEEPS, published=39.7, published_as='OpenOcc score'),
    NetworkEntry('effocc-openoccupancy-r18', 'effocc', 'EFFOcc on the OpenOccupancy grid, in the LiDAR frame', _SMALL, 21_551_603,
                 _OPENOCCUPANCY, lidar=_TEN_SWEEPS, grid=OPENOCCUPANCY_GRID, published=22.9, published_as='OpenOccupancy mIoU'),
    NetworkEntry('effocc-openoccupancy-r50-512x1408', 'effocc', 'The same, ResNet-50', _LARGE, 34_227_187,
                 replace(_OPENOCCUPANCY, input_height=512, input_width=1408), lidar=_TEN_SWEEPS, grid=OPENOCCUPANCY_GRID),
    NetworkEntry('effocc-fusion-waymo', 'effocc', 'EFFOcc on Occ3D-Waymo', _SMALL, 21_337_832, _HINTED, WAYMO_CAMERAS,
                 lidar=_WAYMO_SWEEP, labels=WAYMO, rate_hz=10.0),
    NetworkEntry('effocc-lidar-waymo', 'effocc', 'EFFOcc on Occ3D-Waymo, LiDAR only', _SMALL, 8_713_936, None, (),
                 lidar=replace(_WAYMO_SWEEP, hint_stride=None), labels=WAYMO, rate_hz=10.0),
    NetworkEntry('effocc-student-r50', 'effocc', 'FlashOcc with a wider map, distilled from EFFOcc', _SMALL, 59_099_512,
                 _FINE, published=34.3),
    # README.md of github.com/ShuoZhang-code/FusionOcc at 83ded38; its column "Mask" has the two the other way round, which other
    # networks' gaps between scores with and without the mask speak against
    *(NetworkEntry(f'fusionocc-swinb-512x1408{name}', 'fusionocc', f'FusionOcc: voxels of cameras and LiDAR, two frames, {how}',
                   _LARGE, 109_090_524, _volume(_WIDE), lidar=_KEY_SWEEPS, history=key_frames(1), published=score,
                   published_as=metric)
      for name, how, score, metric in (('-mask', 'trained under the camera mask', 56.62, 'mIoU'),
                                       ('', 'trained everywhere', 35.94, 'mIoU, no mask'))),
    _panoocc('small', 'voxel queries, ResNet-101, four frames in 6 s', 67_812_520, replace(_CAFFE, halved=True), 36.63),
    _panoocc('base', 'the same, larger', 97_508_776, _CAFFE, 41.60),
    _panoocc('base-pretrain', 'the same, trained from a segmentation network', 97_508_776, _CAFFE, 42.13),
    _panoocc('panoptic-small-1f', 'LiDAR points and boxes, ResNet-50', 47_606_218, replace(_RGB, halved=True), 66.7, HistorySpec()),
    _panoocc('panoptic-small-4f', 'LiDAR points and boxes, ResNet-50, recurrent', 47_901_706, replace(_RGB, halved=True), 68.2,
             key_frames(1)),
    _panoocc('panoptic-base-4f', 'LiDAR points and boxes, ResNet-101, recurrent', 68_698_568, _LOW, 71.2, key_frames(1)),
    _panoocc('panoptic-large-4f', 'LiDAR points and boxes, InternImage-XL, recurrent', 303_444_630, _RGB, 74.0, key_frames(1)),
    NetworkEntry('scocc_sample', 'scocc', 'SCOcc made small, trained on the sample world: live on two CPU cores', _SAMPLE,
                 6_581_092, _SAMPLE_LIFT, rate_hz=5.0, weights='scocc_sample'),
    NetworkEntry('scocc_sample_2f', 'scocc', 'The same with two frames', _SAMPLE, 6_608_740, _SAMPLE_LIFT,
                 history=key_frames(1), rate_hz=4.0, weights='scocc_sample_2f'),
    NetworkEntry('effocc_sample', 'effocc', 'EFFOcc made small, with velocities, trained on the sample world; cameras or LiDAR '
                 'may be missing', _SAMPLE, 3_981_804, _SAMPLE_LIFT, lidar=LidarSpec(
                     ages_s=(0.25, 0.5), tolerance_s=0.06, hint_stride=1, hint_sweeps=True), maskable=True,
                 stand_in='scocc_sample', rate_hz=4.0, weights='effocc_sample'),
)}
"""Catalogue name -> row."""


ALIASES = {alias: name for name, aliases in {
    'effocc-fusion-r18': [f'flashocc_fusion_r18_base_{share}%_seqs' for share in (5, 10, 20, 40, 60, 80, 100)],
    'effocc-fusion-r50': ['flashocc_fusion_r50_base_100%_seq'],
    'effocc-fusion-swinb-512x1408': ['flashocc_fusion_swinb_base_100%_seq'],
    'effocc-fusion-r18-flow': ['flashocc-fusion-r18_flow'],
    'effocc-fusion-waymo': ['flashocc-fusion-waymoD1-1f', 'flashocc-fusion-waymoD5-1f'],
    'effocc-lidar-waymo': ['flashocc-lidar-waymoD1-1f', 'flashocc-lidar-waymoD5-1f'],
}.items() for alias in aliases}
"""Published configuration files -> catalogue name; one network where they differ in the share of the data it was trained on."""


def entry(name: str) -> NetworkEntry:
    """Row of a network, by its name or an alias. Raises ValueError that lists the known names."""
    try:
        return NETWORKS[ALIASES.get(name, name)]
    except KeyError:
        raise ValueError(f'no network is called {name!r}; known: {", ".join(NETWORKS)}') from None

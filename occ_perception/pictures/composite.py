"""One picture per frame: the camera images, prediction and truth in 3D and from above, legend, time, score and latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import FREE, OCC3D, UNKNOWN
from occ_perception.pictures.birds_eye import render_birds_eye
from occ_perception.pictures.colors import CLASS_COLORS, EGO_BODY, EGO_GLASS, INK, LINE, MUTED, PAPER, SKY, UNSEEN, color_table
from occ_perception.pictures.voxel_view import View, render_voxels

WIDTH, HEIGHT = 1600, 962
MARGIN = 14
HEADER = 62
TOP = 344
BOTTOM = 440
CAPTION = 30
LEGEND = 56
SUPERSAMPLING = 1.25


@dataclass(frozen=True)
class FramePicture:
    """What one composite shows.

    images: (H, W, 3) uint8 RGB by camera name, drawn in the order of NUSCENES_CAMERAS. labels: (200, 200, 16) uint8 as
    received. instance_ids: (200, 200, 16) uint16 or None. time_s: since the first frame. miou, geometric_iou: over all frames
    so far, 0..1; score_name: what miou is called. latency_ms: newest sensor stamp to received grid. source: how the labels came,
    for captions.
    """

    title: str
    index: int
    count: int
    time_s: float
    images: Mapping[str, np.ndarray]
    labels: np.ndarray
    truth: OccupancyTruth
    instance_ids: np.ndarray | None = None
    miou: float | None = None
    geometric_iou: float | None = None
    latency_ms: float | None = None
    score_name: str = 'mIoU so far'
    source: str = 'Received'


def compose(frame: FramePicture) -> Image.Image:
    """The composite, WIDTH x HEIGHT RGB."""
    page = Image.new('RGB', (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(page)
    _header(draw, frame)

    top = HEADER + CAPTION
    square = TOP
    cameras_width = WIDTH - 2 * MARGIN - 2 * (square + MARGIN)
    _caption(draw, MARGIN, HEADER, 'Cameras')
    _cameras(page, frame.images, (MARGIN, top, cameras_width, TOP))
    left = MARGIN + cameras_width + MARGIN
    truth_ids = frame.truth.instances
    for caption, labels, seen, ids in ((f'{frame.source}, from above', frame.labels, None, frame.instance_ids),
                                       ('Truth', frame.truth.labels, frame.truth.mask_camera, truth_ids)):
        _caption(draw, left, HEADER, caption)
        page.paste(render_birds_eye(labels, square, seen, ids), (left, top))
        _frame(draw, (left, top, square, square))
        left += square + MARGIN

    top += TOP + CAPTION
    width = (WIDTH - 3 * MARGIN) // 2
    for k, (caption, labels, seen) in enumerate(((f'{frame.source} voxels', frame.labels, None),
                                                 ('Truth (pale: hidden from the cameras, not scored)', frame.truth.labels,
                                                  frame.truth.mask_camera))):
        x = MARGIN + k * (width + MARGIN)
        _caption(draw, x, top - CAPTION, caption)
        page.paste(Image.fromarray(render_street(labels, View(width=width, height=BOTTOM), seen)), (x, top))
        _frame(draw, (x, top, width, BOTTOM))
    _legend(draw, MARGIN, HEIGHT - LEGEND, WIDTH - 2 * MARGIN)
    return page


def render_street(labels: np.ndarray, view: View, seen: np.ndarray | None = None, grid: VoxelGridSpec = OCC3D_GRID,
                  supersampling: float = SUPERSAMPLING) -> np.ndarray:
    """3D picture (height, width, 3) uint8 of labels (200, 200, 16) with the ego car; voxels outside `seen` are pale."""
    colors = color_table()[labels]
    if seen is not None:
        hidden = ~seen
        colors[hidden] = (0.4 * colors[hidden] + 0.6 * np.asarray(UNSEEN, np.float32)).astype(np.uint8)
    solid = (labels != FREE) & (labels != UNKNOWN)
    for block, color in _ego_car(grid):
        solid[block] = True
        colors[block] = color
    return render_voxels(colors, solid, view, SKY, grid, supersampling)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in sans serif."""
    return _font(size)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _ego_car(grid: VoxelGridSpec) -> list[tuple[tuple[slice, slice, slice], tuple[int, int, int]]]:
    """Blocks of voxels and their colours that make a small car at the origin of the ego frame (rear axle)."""
    def block(*bounds: tuple[float, float]) -> tuple[slice, slice, slice]:
        x, y, z = (slice(round((low - o) / grid.resolution_m), round((high - o) / grid.resolution_m))
                   for (low, high), o in zip(bounds, grid.origin_m, strict=True))
        return x, y, z
    return [(block((-1.2, 3.6), (-0.8, 0.8), (0.2, 1.0)), EGO_BODY),
            (block((-0.8, 2.0), (-0.8, 0.8), (1.0, 1.4)), EGO_GLASS),
            (block((-0.4, 1.6), (-0.8, 0.8), (1.4, 1.8)), EGO_BODY)]


def _header(draw: ImageDraw.ImageDraw, frame: FramePicture) -> None:
    draw.text((MARGIN, HEADER // 2), frame.title, INK, font(24), anchor='lm')
    facts = [(f'{frame.index + 1} / {frame.count}', 'frame'), (f'{frame.time_s:.1f} s', 'time')]
    if frame.miou is not None:
        facts.append((f'{100 * frame.miou:.1f}', frame.score_name))
    if frame.geometric_iou is not None:
        facts.append((f'{100 * frame.geometric_iou:.1f}', 'geometric IoU'))
    if frame.latency_ms is not None:
        facts.append((f'{frame.latency_ms:.0f} ms', 'latency'))
    right = float(WIDTH - MARGIN)
    for value, name in reversed(facts):
        width = max(draw.textlength(value, font(23)), draw.textlength(name, font(13)))
        draw.text((right, 24), value, INK, font(23), anchor='rm')
        draw.text((right, 47), name, MUTED, font(13), anchor='rm')
        right -= width + 34


def _caption(draw: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
    draw.text((x, y + CAPTION // 2 + 2), text, MUTED, font(15), anchor='lm')


def _frame(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    x, y, width, height = box
    draw.rectangle((x - 1, y - 1, x + width, y + height), outline=LINE)


def _cameras(page: Image.Image, images: Mapping[str, np.ndarray], box: tuple[int, int, int, int]) -> None:
    """Six cameras in two rows, each cut to its slot, with its name; a camera without image gets an empty slot."""
    x, y, width, height = box
    gap = 6
    cell_width, cell_height = (width - 2 * gap) // 3, (height - gap) // 2
    for k, name in enumerate(NUSCENES_CAMERAS):
        column, row = k % 3, k // 3
        at = (x + column * (cell_width + gap), y + row * (cell_height + gap))
        slot = Image.new('RGB', (cell_width, cell_height), UNSEEN)
        if name in images:
            slot = _cover(Image.fromarray(np.ascontiguousarray(images[name])), cell_width, cell_height)
        draw = ImageDraw.Draw(slot, 'RGBA')
        text = name.removeprefix('CAM_').replace('_', ' ').lower() + ('' if name in images else ': no image')
        length = draw.textlength(text, font(13))
        draw.rounded_rectangle((6, cell_height - 26, 6 + length + 14, cell_height - 6), radius=5, fill=(16, 20, 27, 170))
        draw.text((13, cell_height - 16), text, (255, 255, 255), font(13), anchor='lm')
        page.paste(slot, at)


def _cover(image: Image.Image, width: int, height: int) -> Image.Image:
    """The image scaled to fill width x height, its middle kept."""
    scale = max(width / image.width, height / image.height)
    keep_width, keep_height = min(width / scale, image.width), min(height / scale, image.height)
    left, top = (image.width - keep_width) / 2, (image.height - keep_height) / 2
    box = (left, top, left + keep_width, top + keep_height)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=2)


def _legend(draw: ImageDraw.ImageDraw, x: int, y: int, width: int) -> None:
    """Class colours, in two rows of nine."""
    entries = [(CLASS_COLORS[info.id], info.name.replace('_', ' ')) for info in OCC3D if info.id != FREE]
    entries.append((UNSEEN, 'unknown'))
    step = width / 9
    for k, (color, name) in enumerate(entries):
        left, top = x + (k % 9) * step, y + 6 + (k // 9) * 23
        draw.rounded_rectangle((left, top + 2, left + 18, top + 16), radius=3, fill=color, outline=LINE)
        draw.text((left + 25, top + 9), name, INK, font(14), anchor='lm')

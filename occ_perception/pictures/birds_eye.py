"""The grid from above: the topmost class of each column, shaded by height; grey where nothing is known."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.pictures.colors import EGO_BODY, EGO_GLASS, UNSEEN, color_table

PIXELS_PER_VOXEL = 4
RINGS_M = (10, 20, 30)


def render_birds_eye(labels: np.ndarray, size: int, seen: np.ndarray | None = None, instance_ids: np.ndarray | None = None,
                     grid: VoxelGridSpec = OCC3D_GRID) -> Image.Image:
    """Square picture of `size` pixels, ego vehicle in the middle, forward up, left to the left.

    labels: (nx, ny, nz) uint8. seen: (nx, ny, nz) bool, columns with nothing in it are drawn pale (truth that is not scored).
    instance_ids: (nx, ny, nz) uint16, instances get an outline.
    """
    occupied = (labels != FREE) & (labels != UNKNOWN)
    height = labels.shape[2] - 1 - occupied[:, :, ::-1].argmax(axis=2)
    anything = occupied.any(axis=2)
    at = np.arange(labels.shape[0])[:, None], np.arange(labels.shape[1])[None], height
    picture = color_table()[labels[at]].astype(np.float32)
    relief = np.where(anything, height, 0).astype(np.float32)
    slope = np.zeros_like(relief)
    slope[:-1] += relief[1:] - relief[:-1]
    slope[:, 1:] += relief[:, :-1] - relief[:, 1:]
    light = 0.86 + 0.016 * relief - 0.045 * slope.clip(-4, 4)
    picture *= light.clip(0.55, 1.15)[..., None]
    if seen is not None:
        unseen = ~seen.any(axis=2)
        pale = anything & ~(seen & occupied).any(axis=2)
        picture[pale] = 0.4 * picture[pale] + 0.6 * np.asarray(UNSEEN, np.float32)
    else:
        unseen = (labels == UNKNOWN).all(axis=2)
    picture[~anything] = 255
    picture[~anything & unseen] = UNSEEN
    pixels = _from_above(picture)
    if instance_ids is not None:
        pixels = _outlined(pixels, np.where(anything, instance_ids[at], 0))
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    _draw_ego(image, grid)
    return image.resize((size, size), Image.Resampling.BOX if size < image.width else Image.Resampling.BICUBIC)


def _from_above(cells: np.ndarray) -> np.ndarray:
    """Cells (nx, ny, ...) as picture rows and columns, forward up and left to the left, enlarged to PIXELS_PER_VOXEL."""
    return cells[::-1, ::-1].repeat(PIXELS_PER_VOXEL, axis=0).repeat(PIXELS_PER_VOXEL, axis=1)


def _outlined(image: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Darken the picture along the borders of instances; ids (nx, ny), 0 = none."""
    ids = _from_above(ids)
    border = np.zeros(ids.shape, bool)
    border[1:] |= ids[1:] != ids[:-1]
    border[:-1] |= ids[1:] != ids[:-1]
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[:, :-1] |= ids[:, 1:] != ids[:, :-1]
    return np.where((border & (ids > 0))[..., None], 0.35 * image, image)


def _draw_ego(image: Image.Image, grid: VoxelGridSpec) -> None:
    """Range rings and a small car at the origin of the ego frame (rear axle)."""
    draw = ImageDraw.Draw(image, 'RGBA')
    scale = PIXELS_PER_VOXEL / grid.resolution_m
    x0, y0 = image.width + grid.origin_m[1] * scale, image.height + grid.origin_m[0] * scale
    for ring in RINGS_M:
        radius = ring * scale
        draw.ellipse((x0 - radius, y0 - radius, x0 + radius, y0 + radius), outline=(20, 24, 32, 70), width=2)

    def box(back: float, front: float, half_width: float, color: tuple[int, int, int], outline: tuple | None = None) -> None:
        draw.rounded_rectangle((x0 - half_width * scale, y0 - front * scale, x0 + half_width * scale, y0 - back * scale),
                               radius=5, fill=color, outline=outline, width=2)

    box(-1.0, 3.7, 0.95, EGO_BODY, (20, 24, 32))
    box(1.5, 2.4, 0.72, EGO_GLASS)
    box(-0.7, -0.2, 0.68, EGO_GLASS)

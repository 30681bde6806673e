"""Animated GIF of composites, made as large as a byte limit allows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from occ_perception.pictures.colors import CLASS_COLORS

SHADES = (1.0, 0.86, 0.72, 0.56)
"""Brightnesses of each class colour that every palette has, so that small objects keep their colour."""
PALETTE_SIZE = 254
WIDTHS = (1200, 1100, 1000, 900, 800, 700, 600, 500)
SAMPLE = 4


def write_gif(frames: Sequence[Image.Image], path: Path | str, seconds_per_frame: float,
              max_bytes: int = 8_000_000) -> tuple[int, int]:
    """Write an endless GIF of RGB frames in the largest of WIDTHS under max_bytes (else the smallest); returns its size in pixels.

    Raises ValueError when there are no frames.
    """
    if not frames:
        raise ValueError('no frames: a GIF needs at least one')
    start = len(frames) // 2
    sample = frames[start:start + SAMPLE] or frames[:SAMPLE]
    widths = [width for width in WIDTHS if width <= frames[0].width] or [frames[0].width]
    for width in widths:
        last = width == widths[-1]
        # the first frame is stored whole, the others as differences: weigh them by their number
        whole, part = len(_encode(sample[:1], width, seconds_per_frame)), len(_encode(sample, width, seconds_per_frame))
        each = (part - whole) / max(len(sample) - 1, 1)
        if whole + each * (len(frames) - 1) > 0.96 * max_bytes and not last:
            continue
        data = _encode(frames, width, seconds_per_frame)
        if len(data) <= max_bytes or last:
            break
    Path(path).write_bytes(data)
    return width, _height(frames[0], width)


def _height(frame: Image.Image, width: int) -> int:
    return round(frame.height * width / frame.width)


def _encode(frames: Sequence[Image.Image], width: int, seconds: float) -> bytes:
    small = [frame.resize((width, _height(frame, width)), Image.Resampling.LANCZOS, reducing_gap=3) for frame in frames]
    palette = _palette(small)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in small]
    buffer = io.BytesIO()
    indexed[0].save(buffer, 'GIF', save_all=True, append_images=indexed[1:], duration=round(1000 * seconds), loop=0, disposal=1)
    return buffer.getvalue()


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """A palette image for all frames: the class colours in several shades, the rest chosen from four frames."""
    width, height = frames[0].size
    mosaic = Image.new('RGB', (2 * width, 2 * height))
    for k in range(4):
        mosaic.paste(frames[k * (len(frames) - 1) // 3], (k % 2 * width, k // 2 * height))
    fixed = [round(shade * part) for color in CLASS_COLORS for shade in SHADES for part in color]
    count = PALETTE_SIZE - len(fixed) // 3
    chosen = mosaic.quantize(count, Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new('P', (1, 1))
    palette.putpalette(fixed + chosen[:3 * count])
    return palette

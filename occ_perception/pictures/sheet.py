"""Label volumes beside each other as one picture, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from occ_perception.pictures.composite import INK, MARGIN, PAPER, font, render_street
from occ_perception.pictures.voxel_view import View

TILE = View(width=640, height=400)
CAPTION_HEIGHT, TITLE_HEIGHT, COLUMNS = 34, 56, 2


def write_sheet(tiles: Sequence[tuple[str, np.ndarray]], path: Path, title: str) -> None:
    """Write tiles (caption, labels (200, 200, 16) uint8) in rows of two."""
    rows = -(-len(tiles) // COLUMNS)
    width, height = MARGIN + COLUMNS * (TILE.width + MARGIN), TITLE_HEIGHT + rows * (TILE.height + CAPTION_HEIGHT) + MARGIN
    page = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, TITLE_HEIGHT // 2), title, INK, font(22), anchor='lm')
    for number, (caption, labels) in enumerate(tiles):
        x = MARGIN + number % COLUMNS * (TILE.width + MARGIN)
        y = TITLE_HEIGHT + number // COLUMNS * (TILE.height + CAPTION_HEIGHT)
        draw.text((x, y + CAPTION_HEIGHT // 2), caption, INK, font(16), anchor='lm')
        page.paste(Image.fromarray(render_street(labels, TILE)), (x, y + CAPTION_HEIGHT))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)

"""Colours of pictures: Occ3D's class colours, softened a little, and the ink around them."""

from __future__ import annotations

import numpy as np

from occ_perception.labels import FREE, OCC3D, UNKNOWN

PAPER = (247, 248, 250)
CARD = (255, 255, 255)
LINE = (221, 225, 231)
INK = (28, 33, 42)
MUTED = (104, 113, 128)
SKY = ((218, 227, 239), (247, 249, 252))
UNSEEN = (196, 200, 207)
EGO_BODY = (250, 250, 252)
EGO_GLASS = (58, 68, 84)


def _softened(color: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(0.86 * part + 0.14 * 122) for part in color)
    return red, green, blue


CLASS_COLORS = tuple(_softened(info.color) if info.id != FREE else CARD for info in OCC3D)
"""RGB by Occ3D id; free is white."""


def color_table() -> np.ndarray:
    """RGB of every uint8 label, (256, 3) uint8: classes, UNKNOWN and all others grey."""
    table = np.full((256, 3), UNSEEN, np.uint8)
    table[:len(CLASS_COLORS)] = CLASS_COLORS
    table[UNKNOWN] = UNSEEN
    return table

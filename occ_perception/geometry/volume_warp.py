"""The motion between two poses of a box of space, in units of its own half extents."""

from __future__ import annotations

import numpy as np


def volume_warp(past_from_present: np.ndarray, origin_m: tuple[float, float, float],
                extent_m: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) float32: places in the present box to places in the past one, x, y, z in -1..1 from one face to the other.

    past_from_present: (4, 4) [m].
    """
    half = np.diag([*(extent / 2 for extent in extent_m), 1.0])
    half[:3, 3] = [origin + extent / 2 for origin, extent in zip(origin_m, extent_m, strict=True)]
    return (np.linalg.inv(half) @ past_from_present @ half).astype(np.float32)

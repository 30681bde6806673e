"""Sums of real numbers over frames that come out the same in whatever order, and over however many processes, they are taken."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def exact_sum(rows: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Sum of one row of numbers per frame, each row of `shape`, rounded once: `shape` float64; zeros for no rows."""
    if not rows:
        return np.zeros(shape)
    columns = np.stack(rows).reshape(len(rows), -1).T
    return np.array([math.fsum(column) for column in columns.tolist()]).reshape(shape)

"""Where each camera of a rig sees the voxel queries of a network that looks from voxels into pictures (PanoOcc), as index tables.

Tables are padded to fixed sizes and return by gathering, so that a network with them needs no scatter and no changing shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_NEAREST = 1e-5
"""Depth [m] that a voxel needs to be in front of a camera (published)."""


@dataclass(frozen=True)
class ViewCaps:
    """Sizes that tables are padded to. seen: queries that one camera sees at most. views: cameras that see one query at most."""

    seen: int
    views: int


class ViewCapacityError(ValueError):
    """The rig sees more than the tables hold; `needed` holds caps that suffice."""

    def __init__(self, given: ViewCaps, needed: ViewCaps) -> None:
        super().__init__(f'the camera rig needs view tables of {needed}, but the network takes {given}: export it for this '
                         'rig, and check that its intrinsics and extrinsics are right')
        self.given, self.needed = given, needed


@dataclass(frozen=True)
class ViewTables:
    """seen (N, S) int64: queries that each camera sees, padded with 0. places (N, S, 2) float32: where, x, y in 0..1 of the tensor
    that enters the network. slots (Q, V) int64: where each query is found in the rows of seen, one camera after the other; N * S
    where no further camera sees it. count (N,): queries that each camera sees."""

    seen: np.ndarray
    places: np.ndarray
    slots: np.ndarray
    count: np.ndarray

    NAMES = 'seen', 'places', 'slots'

    def arrays(self) -> dict[str, np.ndarray]:
        """What the network takes, by name."""
        return {name: getattr(self, name) for name in self.NAMES}


def query_points(queries: tuple[int, int, int], origin_m: tuple[float, float, float],
                 extent_m: tuple[float, float, float]) -> np.ndarray:
    """Points (Q, 3) float32 [m] that stand for the voxel queries (along y, x, z; z fastest) of a box.

    Published heights are half a metre inside the box at both ends and even between, wherever the voxels' centres are.
    """
    along_y, along_x, along_z = queries
    x, y = ((np.arange(size, dtype=np.float32) + 0.5) / size * extent + origin
            for size, extent, origin in ((along_x, extent_m[0], origin_m[0]), (along_y, extent_m[1], origin_m[1])))
    z = np.linspace(0.5, extent_m[2] - 0.5, along_z, dtype=np.float32) + np.float32(origin_m[2])
    grid = np.meshgrid(y.astype(np.float32), x.astype(np.float32), z, indexing='ij')
    return np.stack([grid[1], grid[0], grid[2]], -1).reshape(-1, 3)


def build_view_tables(points: np.ndarray, picture_from_points: np.ndarray, valid: np.ndarray,
                      caps: ViewCaps | None = None) -> ViewTables:
    """Tables of points (Q, 3) [m] seen through picture_from_points (N, 3, 4): to (u d, v d, d), u and v in 0..1 of the tensor.

    valid (N,) bool: cameras that are there; the others see nothing. caps: None for the smallest that hold everything.
    Raises ViewCapacityError when the given ones do not.
    """
    matrices = picture_from_points.astype(np.float32)
    rows, spots = [], []
    for matrix, there in zip(matrices, valid, strict=True):
        projected = points @ matrix[:, :3].T + matrix[:, 3]
        depth = projected[:, 2]
        uv = projected[:, :2] / np.maximum(depth, np.float32(_NEAREST))[:, None]
        inside = (depth > _NEAREST) & (uv > 0).all(1) & (uv < 1).all(1) & bool(there)
        rows.append(np.flatnonzero(inside))
        spots.append(uv[inside])
    count = np.array([len(row) for row in rows])
    number = np.concatenate(rows)
    times = np.bincount(number, minlength=len(points))
    needed = ViewCaps(max(1, int(count.max())), max(1, int(times.max())))
    caps = caps or needed
    if needed.seen > caps.seen or needed.views > caps.views:
        raise ViewCapacityError(caps, needed)
    seen = np.zeros((len(rows), caps.seen), np.int64)
    places = np.zeros((len(rows), caps.seen, 2), np.float32)
    for camera, (row, spot) in enumerate(zip(rows, spots, strict=True)):
        seen[camera, :len(row)], places[camera, :len(row)] = row, spot
    slots = np.full((len(points), caps.views), len(rows) * caps.seen, np.int64)
    order = np.argsort(number, kind='stable')
    first = np.cumsum(times) - times
    row_of = np.concatenate([camera * caps.seen + np.arange(size) for camera, size in enumerate(count)])
    slots[number[order], np.arange(len(number)) - first[number[order]]] = row_of[order]
    return ViewTables(seen, places, slots, count)


def padded(tables: Mapping[str, np.ndarray], caps: ViewCaps) -> dict[str, np.ndarray]:
    """Tables of ViewTables.arrays() brought to larger sizes. Raises ViewCapacityError when they do not fit."""
    seen, places, slots = (tables[name] for name in ViewTables.NAMES)
    cameras, size = seen.shape
    if size > caps.seen or slots.shape[1] > caps.views:
        raise ViewCapacityError(caps, ViewCaps(size, slots.shape[1]))
    more = ((0, 0), (0, caps.seen - size))
    moved = np.where(slots < seen.size, slots // size * caps.seen + slots % size, cameras * caps.seen)
    return {'seen': np.pad(seen, more), 'places': np.pad(places, (*more, (0, 0))),
            'slots': np.pad(moved, ((0, 0), (0, caps.views - slots.shape[1])), constant_values=cameras * caps.seen)}

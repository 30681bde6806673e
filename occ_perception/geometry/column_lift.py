"""Where every pixel-and-depth of a camera rig lands in the bird's-eye-view grid, as index tables for a network's lift.

Lifting sums depth probability times image feature over all frustum points (camera, depth bin, row, column) of a BEV cell.
Cameras stand nearly upright, so the rows of one (camera, column, depth bin) land in very few cells. The sum over rows is
therefore a small matrix product per image column, masked by `slot`; what is left is to add a few thousand of its rows
("groups") into cells, which the `sum_*` and `cell` tables do with gathers alone. The result is the exact BEVPoolv2 sum in
another order, made of standard operators (no scatter, no atomics), and calibration stays an input of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec

OUTSIDE = 255
"""Value of `slot` for a frustum point outside the grid."""


@dataclass(frozen=True)
class LiftCaps:
    """Shapes that the tables are padded to; fixed in an exported network.

    slots: distinct cells that one image column may hit at one depth. widths: how many entries each summing level adds.
    rows: entries of each summing level, one of them kept empty.
    """

    slots: int
    rows: tuple[int, int, int]
    widths: tuple[int, int, int] = (2, 8, 16)

    def covers(self, other: LiftCaps) -> bool:
        """Whether tables of the other caps fit into these."""
        return (self.slots >= other.slots and self.widths[:2] == other.widths[:2] and self.widths[2] >= other.widths[2]
                and all(a >= b for a, b in zip(self.rows, other.rows, strict=True)))

    def union(self, other: LiftCaps) -> LiftCaps:
        """The smallest caps that cover both."""
        first, second, third = (max(a, b) for a, b in zip(self.rows, other.rows, strict=True))
        return LiftCaps(max(self.slots, other.slots), (first, second, third),
                        (*self.widths[:2], max(self.widths[2], other.widths[2])))


class LiftCapacityError(ValueError):
    """The rig needs larger tables than the given caps; `needed` holds caps that suffice."""

    def __init__(self, given: LiftCaps, needed: LiftCaps) -> None:
        super().__init__(f'the camera rig needs lift tables of {needed}, but the network takes {given}, which hold cameras in any '
                         'orientation: check that intrinsics and extrinsics are right')
        self.given = given
        self.needed = needed


@dataclass(frozen=True)
class LiftSpec:
    """Frustum of a lift-splat network: image size, feature stride, depth bins, grid.

    Depth bins, metres: depth_start, + depth_step, ... below depth_stop; with spacing 'sid' as many bins, spaced evenly in
    log depth between depth_start and depth_stop - 1. z_cells: cells over the grid's height (1: the map is 2D).
    """

    input_height: int
    input_width: int
    stride: int = 16
    depth_start: float = 1.0
    depth_stop: float = 45.0
    depth_step: float = 1.0
    spacing: str = 'linear'
    grid: VoxelGridSpec = OCC3D_GRID
    z_cells: int = 1

    def __post_init__(self) -> None:
        if self.input_height % self.stride or self.input_width % self.stride:
            raise ValueError(f'image size {self.input_height}x{self.input_width} is no multiple of the stride {self.stride}')
        if self.spacing not in ('linear', 'sid'):
            raise ValueError(f"depth spacing {self.spacing!r} is unknown: use 'linear' or 'sid'")

    @property
    def feature_height(self) -> int:
        return self.input_height // self.stride

    @property
    def feature_width(self) -> int:
        return self.input_width // self.stride

    @property
    def bins(self) -> int:
        """Number of depth bins."""
        return round((self.depth_stop - self.depth_start) / self.depth_step)

    @cached_property
    def depths(self) -> np.ndarray:
        """Depth of each bin along the optical axis, (bins,) float64, metres."""
        k = np.arange(self.bins)
        if self.spacing == 'linear':
            return self.depth_start + self.depth_step * k
        span = np.log((self.depth_stop - 1) / self.depth_start)
        return np.exp(np.log(self.depth_start) + k / (self.bins - 1) * span)

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(z, y, x) cells of the lifted map."""
        nx, ny, _ = self.grid.shape
        return self.z_cells, ny, nx

    @property
    def cells(self) -> int:
        z, y, x = self.map_shape
        return z * y * x

    def default_caps(self, cameras: int) -> LiftCaps:
        """Caps that hold rigs of that many cameras in any orientation; what networks are exported with."""
        columns = cameras * self.feature_width * self.bins
        first = 6 * columns if self.z_cells == 1 else self.feature_height * columns
        return LiftCaps(self.feature_height, (_round_up(first), _round_up(3 * columns // 2), _round_up(columns // 4)),
                        (2, 8, 24))

    def upright_caps(self, cameras: int) -> LiftCaps:
        """Smaller caps, for cameras that stand within 5 degrees of upright: less memory in training."""
        columns = cameras * self.feature_width * self.bins
        if self.z_cells > 1:
            return self.default_caps(cameras)
        rows = _round_up(2 * columns), _round_up(2 * columns // 3), _round_up(columns // 48)
        return LiftCaps(min(6, self.feature_height), rows)

    def points(self, intrinsics: np.ndarray, reference_from_camera: np.ndarray,
               network_from_source: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y, z of all frustum points in the reference frame, metres, each (H, N, bins, W) float32; see build_lift_tables.

        The order of operations is that of the published code, in float32, so that points close to a cell's border fall to
        the same side of it.
        """
        u, v = self.pixels(network_from_source)
        depths = self.depths.astype(np.float32)[:, None]
        u, v = u[:, :, None, :] * depths, v[:, :, None, :] * depths
        turn, place = self.pose(intrinsics, reference_from_camera)
        axes = []
        for axis in range(3):
            a, b, c = (turn[:, axis, column, None, None] for column in range(3))
            position = a * u + b * v
            position += c * depths
            position += place[:, axis, None, None]
            axes.append(position)
        return axes[0], axes[1], axes[2]

    def pixels(self, network_from_source: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """u and v of the feature columns and rows, pixels of the source image, each (H, N or 1, W) float32; see points."""
        u, v = np.meshgrid(np.linspace(0, self.input_width - 1, self.feature_width, dtype=np.float32),
                           np.linspace(0, self.input_height - 1, self.feature_height, dtype=np.float32))
        u, v = u[:, None], v[:, None]
        if network_from_source is not None:
            post = np.asarray(network_from_source, np.float32)
            back = np.linalg.inv(post[:, :2, :2].astype(np.float64)).astype(np.float32)[..., None]
            u, v = u - post[:, 0, 2, None], v - post[:, 1, 2, None]
            u, v = back[:, 0, 0] * u + back[:, 0, 1] * v, back[:, 1, 0] * u + back[:, 1, 1] * v
        return u, v

    def pose(self, intrinsics: np.ndarray, reference_from_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How a pixel times its depth is turned, (N, 3, 3), and moved, (N, 3), into the reference frame; float32; see points."""
        pose = np.asarray(reference_from_camera, np.float32)
        return pose[:, :3, :3] @ np.linalg.inv(intrinsics).astype(np.float32), pose[:, :3, 3]


@dataclass(frozen=True)
class LiftTables:
    """Index tables of one rig and one set of exposures.

    slot: (N, W, bins, H) uint8, which of its column's groups a frustum point belongs to, OUTSIDE where it lies outside the
    grid. sum_1: (widths[0], rows[0]) int32 into the groups, ((n * W + w) * slots + k) * bins + d. sum_2, sum_3: the same
    shape rule, into the sums of the level before. cell: (z * y * x) int32 into the three levels' sums, one after another.
    Padding points at groups and sums that are zero. slots: number of groups per column and bin.
    """

    slot: np.ndarray
    sum_1: np.ndarray
    sum_2: np.ndarray
    sum_3: np.ndarray
    cell: np.ndarray
    slots: int

    NAMES = ('slot', 'sum_1', 'sum_2', 'sum_3', 'cell')

    def arrays(self) -> dict[str, np.ndarray]:
        """The tables by name, in the order in which exported networks take them, then `slots` as a scalar array."""
        return {**{name: getattr(self, name) for name in self.NAMES}, 'slots': np.array(self.slots, np.int32)}


def image_transform(post_rotation: np.ndarray, post_translation: np.ndarray) -> np.ndarray:
    """network_from_source, (..., 3, 3), of the published inputs: p_network = post_rotation p_source + post_translation.

    post_rotation: (..., 3, 3), post_translation: (..., 3), acting on (u, v, 1).
    """
    transform = np.array(post_rotation)
    transform[..., :2, 2] += np.asarray(post_translation)[..., :2]
    return transform


def build_lift_tables(spec: LiftSpec, intrinsics: np.ndarray, reference_from_camera: np.ndarray, caps: LiftCaps | None = None,
                      valid: np.ndarray | None = None, network_from_source: np.ndarray | None = None) -> LiftTables:
    """Tables for cameras as they stood at their exposures, seen from the ego frame at the reference stamp.

    intrinsics: (N, 3, 3), pixels of the network's input, or of the image before network_from_source where that is given.
    reference_from_camera: (N, 4, 4), camera axes x right, y down, z forward; the ego motion between exposure and reference
    is part of it, and so is any flip of the map in training. caps: shapes to pad to; None takes the spec's upright caps
    and grows them where the rig needs more. valid: (N,) bool; cameras that are False lift nothing. network_from_source: (N, 3, 3)
    pixel transforms (resize, crop, flip, rotation) between the two.
    Cells follow the published code: indices are truncated toward zero, so points up to one cell below the grid's lower
    corner fall into its first cells. Raises LiftCapacityError when caps are given and too small, ValueError for matrices
    of wrong shape or with values that are not finite.
    """
    intrinsics, reference_from_camera = checked_rig(intrinsics, reference_from_camera, network_from_source)
    cameras = len(intrinsics)
    cell = _cells(spec, spec.points(intrinsics, reference_from_camera, network_from_source))
    if valid is not None:
        cell.reshape(spec.feature_height, cameras, -1)[:, ~np.asarray(valid, bool)] = -1
    slot, starts, runs = _runs(cell)
    start_row, start_column = starts
    counts = _CellGroups(cell[start_row, start_column], slot[start_row, start_column], start_column, runs)
    needed = counts.needed()
    if caps is None:
        caps = spec.upright_caps(cameras).union(needed)
    elif not caps.covers(needed):
        raise LiftCapacityError(caps, needed)
    (sum_1, sum_2, sum_3), cells = counts.tables(spec, cameras, caps)
    slot = slot.reshape(spec.feature_height, cameras, spec.bins, spec.feature_width).transpose(1, 3, 2, 0)
    return LiftTables(np.ascontiguousarray(slot), sum_1, sum_2, sum_3, cells, caps.slots)


def checked_rig(intrinsics: np.ndarray, reference_from_camera: np.ndarray,
                network_from_source: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The first two as float64. Raises ValueError for matrices of wrong shape or with values that are not finite."""
    intrinsics = np.asarray(intrinsics, np.float64)
    reference_from_camera = np.asarray(reference_from_camera, np.float64)
    cameras = len(intrinsics)
    checked = [('intrinsics', intrinsics, (cameras, 3, 3)), ('reference_from_camera', reference_from_camera, (cameras, 4, 4))]
    if network_from_source is not None:
        checked.append(('network_from_source', np.asarray(network_from_source), (cameras, 3, 3)))
    for name, matrices, shape in checked:
        if matrices.shape != shape:
            raise ValueError(f'{name} has shape {matrices.shape}, expected {shape}')
        if not np.isfinite(matrices).all():
            raise ValueError(f'{name} of camera {int(np.argwhere(~np.isfinite(matrices))[0, 0])} is not finite')
    return intrinsics, reference_from_camera


def _round_up(value: int, step: int = 256) -> int:
    return -(-value // step) * step


def _cells(spec: LiftSpec, points: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Cell of each frustum point, (H, N * bins * W) int32, -1 outside. Overwrites the points."""
    size = spec.map_shape[::-1]
    cell = np.zeros(points[0].shape, np.int32)
    inside = np.ones(points[0].shape, bool)
    for axis in (2, 1, 0):
        lower, upper = spec.grid.origin_m[axis], spec.grid.upper_m[axis]
        position = points[axis]
        position -= np.float32(lower)
        position /= np.float32((upper - lower) / size[axis])
        inside &= position > -1
        inside &= position < size[axis]
        cell *= np.int32(size[axis])
        cell += position.astype(np.int32)
    np.copyto(cell, -1, where=~inside)
    return cell.reshape(spec.feature_height, -1)


def _runs(cell: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Number the runs of equal cells down each column.

    Returns slot (H, M) uint8 with OUTSIDE where the cell is -1, the (rows, columns) where runs start, runs per column (M,).
    """
    inside = cell >= 0
    start = inside.copy()
    start[1:] &= cell[1:] != cell[:-1]
    slot = np.cumsum(start, axis=0, dtype=np.uint8)
    runs = slot[-1].copy()
    slot -= 1
    np.copyto(slot, OUTSIDE, where=~inside)
    flat = np.flatnonzero(start)
    columns = cell.shape[1]
    return slot, (flat // columns, flat % columns), runs


class _CellGroups:
    """Groups sorted by cell, and how many sums each level needs."""

    def __init__(self, cell: np.ndarray, slot: np.ndarray, column: np.ndarray, runs: np.ndarray) -> None:
        key = cell.astype(np.uint16) if len(cell) and cell.max() < 1 << 16 else cell
        order = np.argsort(key, kind='stable')
        self.slot, self.column, self.runs = slot[order], column[order], runs
        cell = cell[order]
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        self.cell = cell[first]
        self.groups = np.diff(first, append=len(cell))
        widths = LiftCaps.widths
        self.chunks_1 = -(-self.groups // widths[0])
        self.deep = self.chunks_1 > 1
        self.chunks_2 = -(-self.chunks_1[self.deep] // widths[1])
        self.deepest = self.chunks_2 > 1

    def needed(self) -> LiftCaps:
        """The smallest caps that hold these groups."""
        slots = int(self.runs.max(initial=0))
        if len(self.runs) and int(self.runs.min()) == slots:
            slots += 1  # one group must stay empty: padding points at it
        third = self.chunks_2[self.deepest]
        width = max(LiftCaps.widths[2], int(third.max(initial=0)))
        rows = (int(self.chunks_1.sum()) + 1, int(self.chunks_2.sum()) + 1, len(third) + 1)
        return LiftCaps(slots, rows, (*LiftCaps.widths[:2], width))

    def tables(self, spec: LiftSpec, cameras: int, caps: LiftCaps) -> tuple[list[np.ndarray], np.ndarray]:
        """(the three summing tables, the cell table)."""
        width = spec.feature_width

        def row(column: np.ndarray, slot: np.ndarray) -> np.ndarray:
            camera, rest = np.divmod(column, spec.bins * width)
            bin_, w = np.divmod(rest, width)
            return ((camera * width + w) * caps.slots + slot) * spec.bins + bin_

        empty = int(np.argmin(self.runs))
        sum_1, id_1 = _chunk(row(self.column, self.slot.astype(np.int64)), self.groups, caps.widths[0], caps.rows[0],
                             int(row(np.array(empty), np.array(int(self.runs[empty])))))
        items_2 = np.arange(int(self.chunks_1.sum()))[np.repeat(self.deep, self.chunks_1)]
        sum_2, id_2 = _chunk(items_2, self.chunks_1[self.deep], caps.widths[1], caps.rows[1], caps.rows[0] - 1)
        items_3 = np.arange(int(self.chunks_2.sum()))[np.repeat(self.deepest, self.chunks_2)]
        sum_3, id_3 = _chunk(items_3, self.chunks_2[self.deepest], caps.widths[2], caps.rows[2], caps.rows[1] - 1)
        id_2[self.deepest] = id_3 + caps.rows[1]
        id_1[self.deep] = id_2 + caps.rows[0]
        cells = np.full(spec.cells, caps.rows[0] - 1, np.int32)
        cells[self.cell] = id_1
        return [sum_1, sum_2, sum_3], cells


def _chunk(items: np.ndarray, counts: np.ndarray, width: int, rows: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut each run of `counts` consecutive items into chunks of `width`: ((width, rows) int32, first chunk of each run)."""
    chunks = -(-counts // width)
    first = np.cumsum(chunks) - chunks
    position = np.arange(len(items)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((width, rows), pad, np.int32)
    table[position % width, np.repeat(first, counts) + position // width] = items
    return table, first

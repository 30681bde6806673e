"""Points to voxels: mean features and integer coordinates, in NumPy or PyTorch with the same numbers.

A voxel's points are added in float32, one after another in the order of the cloud, so that CPU and CUDA agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from occ_perception.geometry.array_library import Array, cast, cell_keys, filled, library_of, stable_argsort, where_true


@dataclass(frozen=True)
class VoxelSpec:
    """How a cloud is cut. lower_m, upper_m: corners of the box, (x, y, z); size_m: edges of a voxel.

    points_per_voxel: later points of a voxel are left out; None: all count. axes: in which order coordinates are named, as the
    network has them ('zyx' or 'xyz').
    """

    lower_m: tuple[float, float, float]
    upper_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    points_per_voxel: int | None = None
    axes: str = 'zyx'

    def __post_init__(self) -> None:
        if self.axes not in ('zyx', 'xyz'):
            raise ValueError(f"axes {self.axes!r} are unknown: use 'zyx' or 'xyz'")
        if self.points_per_voxel is not None and self.points_per_voxel < 1:
            raise ValueError(f'points_per_voxel must be positive or None: {self.points_per_voxel}')

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells along each of `axes`."""
        first, second, third = ('xyz'.index(axis) for axis in self.axes)
        cells = [round((upper - lower) / size)
                 for lower, upper, size in zip(self.lower_m, self.upper_m, self.size_m, strict=True)]
        return cells[first], cells[second], cells[third]


class Voxels(NamedTuple):
    """features: (V, C) float32, the mean of each voxel's points. coords: (V, 3) int32, in the spec's order of axes. points: (V,)
    int32, how many are in the mean. left_out: voxels of the cloud beyond the cap."""

    features: Array
    coords: Array
    points: Array
    left_out: int = 0


def voxelise_in_order(points: Array, spec: VoxelSpec, most: int) -> Voxels:
    """Voxels in the order in which the cloud first meets them, at most `most` of them (hard voxelisation).

    points: (M, C) float32, x, y, z first, metres; those outside the box are left out, so are those that are not finite.
    Raises ValueError for points of another shape or type.
    """
    points, coords, order, first, counts = _grouped(points, spec)
    rank = stable_argsort(order[first])  # by the first point of each voxel
    chosen = rank[:most]
    first, counts = first[chosen], counts[chosen]
    return Voxels(_means(points, order, first, counts), coords[order[first]], cast(counts, 'int32'), len(rank) - len(chosen))


def voxelise_sorted(points: Array, spec: VoxelSpec) -> Voxels:
    """All voxels, sorted by the first of the spec's axes, then the second, then the third; otherwise as voxelise_in_order."""
    points, coords, order, first, counts = _grouped(points, spec)
    return Voxels(_means(points, order, first, counts), coords[order[first]], cast(counts, 'int32'))


def _grouped(points: Array, spec: VoxelSpec) -> tuple[Array, Array, Array, Array, Array]:
    """Points in the box, their cells (M, 3) int32, the order that sorts them by cell; where each voxel starts in that order, and
    how many points it takes. float32 arithmetic, as published."""
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f'points have shape {tuple(points.shape)}, expected (M, 3 or more)')
    library = library_of(points)
    if points.dtype != library.float32:
        raise ValueError(f'points are {points.dtype}, expected float32')
    cells = []
    for axis in spec.axes:
        column = points[:, 'xyz'.index(axis)]
        lower, size = (library.full_like(column, values['xyz'.index(axis)]) for values in (spec.lower_m, spec.size_m))
        # by arrays, since CUDA divides by a plain number through its reciprocal, which rounds differently
        cells.append(library.floor((column - lower) / size))
    inside = library.isfinite(points).all(-1)
    for cell, many in zip(cells, spec.shape, strict=True):
        inside &= (cell >= 0) & (cell < many)
    points = points[inside]
    coords = library.stack([cast(cell[inside], 'int32') for cell in cells], -1)
    keys = cell_keys(coords, spec.shape)
    order = stable_argsort(keys)
    keys = keys[order]
    new = filled(keys, (len(keys),), 1, 'bool')
    new[1:] = keys[1:] != keys[:-1]
    first = where_true(new)
    counts = filled(first, (len(first),), len(keys), 'int64')
    counts[:-1] = first[1:]
    counts = library.clip(counts - first, 0, spec.points_per_voxel or len(keys))
    return points, coords, order, first, counts


def _means(points: Array, order: Array, first: Array, counts: Array) -> Array:
    """(V, C) float32 means of the first `counts` points of each voxel."""
    total = points[order[first]]
    rows = where_true(counts > 1)
    later = 1
    while len(rows):
        total[rows] += points[order[first[rows] + later]]
        later += 1
        rows = rows[counts[rows] > later]
    return total / cast(counts, 'float32')[:, None]

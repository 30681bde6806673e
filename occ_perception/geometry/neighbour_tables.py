"""All neighbour tables of a sparse encoder and one cloud, as the network takes them beside the voxels' features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from occ_perception.geometry.array_library import Array, filled, library_of
from occ_perception.geometry.sparse_neighbours import (
    Triple,
    cell_table,
    sorted_order,
    strided_shape,
    strided_table,
    submanifold_table,
)


@dataclass(frozen=True)
class Halving:
    """A strided convolution between two levels: kernel, stride and padding, along the axes of the coordinates."""

    kernel: Triple = (3, 3, 3)
    stride: Triple = (2, 2, 2)
    padding: Triple = (1, 1, 1)


@dataclass(frozen=True)
class SparseSpec:
    """Levels of a sparse encoder. shape: cells of the first level's grid, which may be larger than the voxels' box. steps: from
    each level to the next. kernel: of the submanifold convolutions, which levels 0 ... submanifold - 1 have.
    """

    shape: Triple
    steps: tuple[Halving, ...]
    submanifold: int
    kernel: Triple = (3, 3, 3)

    def __post_init__(self) -> None:
        if not 0 <= self.submanifold <= len(self.steps) + 1:
            raise ValueError(f'{self.submanifold} levels with submanifold convolutions, there are {len(self.steps) + 1}')
        _ = self.shapes

    @property
    def shapes(self) -> tuple[Triple, ...]:
        """Grid of every level."""
        shapes = [self.shape]
        for step in self.steps:
            shapes.append(strided_shape(shapes[-1], step.kernel, step.stride, step.padding))
        return tuple(shapes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tables, in the order in which exported networks take them."""
        return (*(f'near_{level}' for level in range(self.submanifold)), *(f'step_{level}' for level in range(len(self.steps))),
                'cells')


class SparseCapacityError(ValueError):
    """A cloud needs more rows than the given caps; `needed` holds rows that suffice."""

    def __init__(self, caps: Sequence[int], needed: Sequence[int]) -> None:
        super().__init__(f'the cloud needs {tuple(needed)} voxels at the levels of the sparse encoder, the network takes '
                         f'{tuple(caps)}: export it with larger caps, or voxelise fewer points')
        self.needed = tuple(needed)


@dataclass(frozen=True)
class NeighbourTables:
    """Tables of one cloud; see geometry.sparse_neighbours for what an entry means.

    order: (V,) int64, the rows of the voxels as they were given, sorted as the encoder takes them: features[order] enters. near:
    of every level with submanifold convolutions (V_level, K) int32. steps: into every level but the first, (V_level, K) int32.
    cells: row of the last level for each cell of its grid, (cells,) int32. rows: voxels per level.
    """

    order: Array
    near: tuple[Array, ...]
    steps: tuple[Array, ...]
    cells: Array
    rows: tuple[int, ...]

    def arrays(self) -> dict[str, Array]:
        """The tables by the names of SparseSpec.names, in their order."""
        named = {f'near_{level}': table for level, table in enumerate(self.near)}
        return named | {f'step_{level}': table for level, table in enumerate(self.steps)} | {'cells': self.cells}

    def padded(self, caps: Sequence[int]) -> NeighbourTables:
        """The same for a network whose levels have so many rows, the first `rows` of them in use. Raises SparseCapacityError."""
        if len(caps) != len(self.rows) or any(cap < rows for cap, rows in zip(caps, self.rows, strict=False)):
            raise SparseCapacityError(caps, self.rows)
        near = tuple(_padded(table, caps[level], self.rows[level], caps[level]) for level, table in enumerate(self.near))
        steps = tuple(_padded(table, caps[level + 1], self.rows[level], caps[level]) for level, table in enumerate(self.steps))
        cells = _padded(self.cells, len(self.cells), self.rows[-1], caps[-1])
        return NeighbourTables(self.order, near, steps, cells, tuple(caps))

    def padded_features(self, features: Array) -> Array:
        """Features (V, C) of the voxels as they were given, in the encoder's order and to its first level's rows."""
        library = library_of(features)
        out = library.zeros_like(features[:1], shape=(self.rows[0], features.shape[1])) if library.__name__ == 'numpy' else (
            features.new_zeros(self.rows[0], features.shape[1]))
        out[:len(self.order)] = features[self.order]
        return out


def build_neighbour_tables(coords: Array, spec: SparseSpec) -> NeighbourTables:
    """Tables for voxels (V, 3) integers, no two alike, in any order. Raises ValueError for voxels outside the grid or twice."""
    order = sorted_order(coords, spec.shape)
    coords, shape = coords[order], spec.shape
    near, steps, rows = [], [], [len(coords)]
    for level in range(len(spec.steps) + 1):
        if level < spec.submanifold:
            near.append(submanifold_table(coords, shape, spec.kernel))
        if level < len(spec.steps):
            step = spec.steps[level]
            coords, table, shape = strided_table(coords, shape, step.kernel, step.stride, step.padding)
            steps.append(table)
            rows.append(len(coords))
    return NeighbourTables(order, tuple(near), tuple(steps), cell_table(coords, shape), tuple(rows))


def fitting_tables(coords: Array, spec: SparseSpec, caps: Sequence[int] | None = None) -> tuple[NeighbourTables, int]:
    """Tables for as many of the first voxels as caps have room for at every level, padded to them, and how many these are.

    caps None: for all voxels, as they are.
    """
    if caps is None:
        return build_neighbour_tables(coords, spec), len(coords)
    kept = min(len(coords), caps[0])
    while True:
        tables = build_neighbour_tables(coords[:kept], spec)
        share = min(cap / max(rows, 1) for cap, rows in zip(caps, tables.rows, strict=True))
        if share >= 1:
            return tables.padded(caps), kept
        kept = int(min(share, 0.98) * kept)  # later levels shrink a little less than the first


def _padded(table: Array, rows: int, missing: int, now_missing: int) -> Array:
    """The table with that many rows, and another number where no voxel lies."""
    out = filled(table, (rows, *table.shape[1:]), now_missing, 'int32')
    out[:len(table)] = library_of(table).where(table == missing, now_missing, table)
    return out

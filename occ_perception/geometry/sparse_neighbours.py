"""Which input voxels every output voxel of a sparse convolution sees, as index tables.

A sparse convolution with such a table is a gather of rows and a matrix product: no hashing and no scatter in the network
(output-stationary form). Everything here takes NumPy arrays or PyTorch tensors, gives the same kind back, and the same numbers.

Voxels are rows of integer coordinates (V, 3) on a grid `shape`; in what order the axes are named is the network's affair: kernel,
stride and padding follow it. A table is (V_out, K) int32, K = the kernel's cells in C order (the last axis fastest); an entry is
the input row, or the number of input rows where no voxel lies, so that one row of zeros behind the input serves all missing ones.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from occ_perception.geometry.array_library import Array, cast, cell_keys, filled, joined, library_of, stable_argsort

Triple: TypeAlias = tuple[int, int, int]


def submanifold_table(coords: Array, shape: Triple, kernel: Triple) -> Array:
    """Table of a convolution whose outputs are its inputs' voxels, in the same order: (V, K) int32.

    coords: (V, 3) integers inside shape, no two alike, any order (sorted ones are faster). kernel: odd numbers of cells, centred.
    Raises ValueError for even ones, and for voxels that lie outside or twice.
    """
    if any(cells % 2 == 0 for cells in kernel):
        raise ValueError(f'a submanifold convolution has a centred kernel, odd along every axis: {kernel}')
    first, second, third = (cells // 2 for cells in kernel)
    return _Lookup(coords, shape, kernel).table(coords, (1, 1, 1), (first, second, third))


def strided_table(coords: Array, shape: Triple, kernel: Triple, stride: Triple,
                  padding: Triple) -> tuple[Array, Array, Triple]:
    """Output voxels and table of a convolution that gives every output cell that sees an input voxel.

    coords: (V, 3) integers inside shape, no two alike. Returns (out_coords (V_out, 3) int32, sorted by axis 0, then 1, then 2;
    table (V_out, K) int32; the output grid's shape). Raises ValueError when the kernel does not fit the padded grid, and for
    voxels that lie outside or twice.
    """
    out_shape = strided_shape(shape, kernel, stride, padding)
    lookup = _Lookup(coords, shape, kernel)
    out_coords = _reached(coords, out_shape, kernel, stride, padding)
    return out_coords, lookup.table(out_coords, stride, padding), out_shape


def strided_shape(shape: Triple, kernel: Triple, stride: Triple, padding: Triple) -> Triple:
    """Cells along each axis of a strided convolution's output. Raises ValueError when there are none."""
    first, second, third = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape, kernel, stride, padding, strict=True))
    if min(first, second, third) < 1 or any(p >= k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(f'kernel {kernel} with padding {padding} does not fit a grid of {shape}')
    return first, second, third


def cell_table(coords: Array, shape: Triple) -> Array:
    """Row of every cell of a grid, (cells,) int32 in C order; the number of rows where no voxel lies."""
    cells = filled(coords, (math.prod(shape),), len(coords), 'int32')
    rows = library_of(coords).cumsum(filled(coords, (len(coords),), 1, 'int32'), 0) - 1
    cells[cast(cell_keys(coords, shape), 'int64')] = cast(rows, 'int32')
    return cells


def sorted_order(coords: Array, shape: Triple) -> Array:
    """Rows of coords (V, 3) by axis 0, then 1, then 2: (V,) int64."""
    return stable_argsort(cell_keys(coords, shape))


def _reached(coords: Array, out_shape: Triple, kernel: Triple, stride: Triple, padding: Triple) -> Array:
    """Sorted distinct output cells whose kernels see an input voxel, found one axis after another: (V_out, 3) int32."""
    library = library_of(coords)
    widths = [int(coords[:, axis].max()) + 1 if len(coords) else 1 for axis in range(3)]
    cells = coords
    for axis in (2, 1, 0):
        shifted = cells[:, axis] + padding[axis]
        last = shifted // stride[axis]  # the highest output cell whose kernel starts at or before the voxel
        widths[axis] = out_shape[axis]
        parts = []
        for back in range(-(-kernel[axis] // stride[axis])):
            out = last - back
            seen = (out >= 0) & (out < out_shape[axis]) & (shifted - out * stride[axis] < kernel[axis])
            columns = [cells[:, other][seen] if other != axis else out[seen] for other in range(3)]
            parts.append(cell_keys(library.stack(columns, -1), widths))
        keys = library.unique(joined(parts))
        cells = library.stack([keys // (widths[1] * widths[2]), keys // widths[2] % widths[1], keys % widths[2]], -1)
    return cast(cells, 'int32')


class _Lookup:
    """Input voxels sorted on a grid with so much room around it that no kernel reaches past the ends of its rows."""

    def __init__(self, coords: Array, shape: Triple, kernel: Triple) -> None:
        library = library_of(coords)
        if coords.ndim != 2 or coords.shape[1] != 3:
            raise ValueError(f'voxel coordinates have shape {tuple(coords.shape)}, expected (V, 3)')
        if len(coords) and (int(coords.min()) < 0 or any(int(coords[:, a].max()) >= shape[a] for a in range(3))):
            raise ValueError(f'voxels lie outside the grid of {shape}')
        self.kernel, self.rows = kernel, len(coords)
        self.widths = tuple(cells + 2 * k for cells, k in zip(shape, kernel, strict=True))
        keys = cell_keys(coords, self.widths)
        self.order = None
        if not bool((keys[1:] > keys[:-1]).all()):
            self.order = stable_argsort(keys)
            keys = keys[self.order]
            if bool((keys[1:] == keys[:-1]).any()):
                raise ValueError('two voxels have the same coordinates')
            self.order = joined([self.order, filled(keys, (1,), self.rows, 'int64')])
        self.keys = keys
        self.ended = library.full_like(keys, -1, shape=(self.rows + 1,)) if library is np else keys.new_full((self.rows + 1,), -1)
        self.ended[:-1] = keys

    def table(self, out_coords: Array, stride: Triple, padding: Triple) -> Array:
        """(V_out, K) int32 for output cells whose kernels start at out * stride - padding."""
        library = library_of(out_coords)
        _, second, third = self.widths
        starts = library.stack([out_coords[:, axis] * stride[axis] - padding[axis] for axis in range(3)], -1)
        base = cell_keys(starts, self.widths)
        table = filled(out_coords, (math.prod(self.kernel), len(out_coords)), 0, 'int32')
        column = 0
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                wanted = base + (i * second + j) * third
                place = library.searchsorted(self.keys, wanted)
                for _ in range(self.kernel[2]):  # neighbours along the last axis are neighbours among the sorted keys
                    hit = self.ended[place] == wanted
                    table[column] = library.where(hit, place if self.order is None else self.order[place], self.rows)
                    place = place + hit
                    wanted = wanted + 1
                    column += 1
        return np.ascontiguousarray(table.T) if library is np else table.T.contiguous()

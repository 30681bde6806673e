"""Lift tables made on a device: the ones of geometry.column_lift, entry by entry, in torch operators of fixed shapes.

Nothing waits for a number from the device, so the whole may be one CUDA graph. What would not fit the tables is left out, and the
sizes that are needed come along as a tensor, to be looked at when the frame's results are read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from occ_perception.geometry.column_lift import OUTSIDE, LiftCapacityError, LiftCaps, LiftSpec, LiftTables, checked_rig

NEEDED = 'needed'
"""Key, beside those of LiftTables.arrays(), of the sizes that the rig needs: (5,) int32, slots, three rows, third width."""


def check_capacity(needed: np.ndarray, caps: LiftCaps) -> None:
    """Raises LiftCapacityError when the sizes that a rig needs (see NEEDED) go beyond those that the tables were made with."""
    slots, first, second, third, width = (int(number) for number in needed)
    wanted = LiftCaps(slots, (first, second, third), (*caps.widths[:2], width))
    if not caps.covers(wanted):
        raise LiftCapacityError(caps, wanted)


class DeviceLift:
    """Makes lift tables of a frustum on a device. camera matrices come from the host, a few kB in one copy."""

    def __init__(self, spec: LiftSpec, cameras: int, caps: LiftCaps, device: torch.device) -> None:
        self.spec, self.cameras, self.caps, self.device = spec, cameras, caps, device
        self._depths = torch.from_numpy(spec.depths.astype(np.float32)).to(device).view(-1, 1)
        # Tensors, since a CUDA division by a Python number multiplies by its reciprocal and rounds otherwise.
        lower, upper = (np.asarray(values, np.float64) for values in (spec.grid.origin_m, spec.grid.upper_m))
        size = np.array(spec.map_shape[::-1])
        self._lower = torch.from_numpy(lower.astype(np.float32)).to(device)
        self._pitch = torch.from_numpy(((upper - lower) / size).astype(np.float32)).to(device)
        self._size = tuple(int(n) for n in size)
        self._step = torch.arange(max(spec.feature_height * cameras * spec.bins * spec.feature_width, *caps.rows), device=device)

    def upload(self, intrinsics: np.ndarray, reference_from_camera: np.ndarray, valid: np.ndarray,
               network_from_source: np.ndarray) -> np.ndarray:
        """Arguments as for column_lift.build_lift_tables -> the numbers that `tables` takes, (K,) float32."""
        intrinsics, reference_from_camera = checked_rig(intrinsics, reference_from_camera, network_from_source)
        u, v = self.spec.pixels(network_from_source)
        turn, place = self.spec.pose(intrinsics, reference_from_camera)
        shape = self.spec.feature_height, self.cameras, self.spec.feature_width
        return np.concatenate([np.ravel(x) for x in (turn, place, np.asarray(valid, np.float32), np.broadcast_to(u, shape),
                                                     np.broadcast_to(v, shape))])

    def tables(self, numbers: Tensor) -> dict[str, Tensor]:
        """LiftTables.arrays() as tensors on the device, without `slots`, and NEEDED. numbers: of `upload`, on the device."""
        n, h, w = self.cameras, self.spec.feature_height, self.spec.feature_width
        turn, place, valid, u, v = numbers.split([9 * n, 3 * n, n, h * n * w, h * n * w])
        cell = self._cells(turn.view(n, 3, 3), place.view(n, 3), u.view(h, n, 1, w), v.view(h, n, 1, w))
        cell = torch.where(valid.view(1, n, 1, 1) > 0, cell, -1).view(h, -1)
        slot, start, runs = _runs(cell)
        tables = dict(zip(('sum_1', 'sum_2', 'sum_3', 'cell', NEEDED), self._sums(cell, slot, start, runs), strict=True))
        slot = torch.where(cell >= 0, slot, OUTSIDE).to(torch.uint8).view(h, n, self.spec.bins, w).permute(1, 3, 2, 0)
        return {'slot': slot.contiguous(), **tables}

    def _cells(self, turn: Tensor, place: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Cell of each frustum point, (H, N, bins, W) int64, -1 outside; the operations of LiftSpec.points in their order."""
        u, v = u * self._depths, v * self._depths
        cell = torch.zeros(u.shape, dtype=torch.int64, device=u.device)
        inside = torch.ones(u.shape, dtype=torch.bool, device=u.device)
        for axis in (2, 1, 0):
            a, b, c = (turn[:, axis, column].view(-1, 1, 1) for column in range(3))
            position = a * u + b * v
            position = position + c * self._depths
            position = position + place[:, axis].view(-1, 1, 1)
            position = (position - self._lower[axis]) / self._pitch[axis]
            inside &= (position > -1) & (position < self._size[axis])
            cell = cell * self._size[axis] + position.long()
        return torch.where(inside, cell, -1)

    def _sums(self, cell: Tensor, slot: Tensor, start: Tensor, runs: Tensor) -> tuple[Tensor, ...]:
        """The three summing tables, the cell table, and the sizes needed; see column_lift._CellGroups."""
        caps, bins, width = self.caps, self.spec.bins, self.spec.feature_width
        beyond = self.spec.cells

        def row(column: Tensor, number: Tensor) -> Tensor:
            camera, rest = column // (bins * width), column % (bins * width)
            return ((camera * width + rest % width) * caps.slots + number) * bins + rest // width

        column = self._step[:cell.shape[1]].expand_as(cell)
        key, order = torch.where(start, cell, beyond).flatten().sort(stable=True)
        fewest = runs.min()
        items = row(column.flatten()[order], slot.flatten()[order])
        level = _Level(key, items, key < beyond)
        tables, needed = [], []
        cells = torch.full((self.spec.cells + 1,), caps.rows[0] - 1, dtype=torch.int64, device=cell.device)
        base = 0
        pads: tuple[Tensor | int, ...] = row(runs.argmin(), fewest), caps.rows[0] - 1, caps.rows[1] - 1
        for rows, per_sum, pad in zip(caps.rows, caps.widths, pads, strict=True):
            table, level, chunks, longest = self._chunk(level, per_sum, rows, pad)
            tables.append(table)
            needed.append(chunks + 1)
            first = level.member & level.first()
            cells.scatter_(0, torch.where(first, level.key, beyond), base + self._step[:rows])
            base += rows
            level = level.deep()
        slots = runs.max() + (fewest == runs.max()).long()
        needed_sizes = torch.stack([slots, *needed, longest.clamp(min=LiftCaps.widths[2])]).to(torch.int32)
        return *tables, cells[:-1].to(torch.int32), needed_sizes

    def _chunk(self, level: _Level, width: int, rows: int, pad: Tensor | int) -> tuple[Tensor, _Level, Tensor, Tensor]:
        """Chunks of `width` items of a cell: (the table (width, rows) int32, the chunks as items, their number, most items)."""
        position = self._step[:len(level.key)] - torch.where(level.first(), self._step[:len(level.key)], 0).cummax(0).values
        within = torch.where(level.member, position % width, 0)
        opens = level.member & (within == 0)
        chunk = opens.cumsum(0) - 1
        kept = level.member & (chunk < rows - 1)
        at = torch.where(kept, within * (rows + 1) + chunk, rows)
        table = torch.zeros(width * (rows + 1), dtype=torch.int64, device=chunk.device) + pad
        table.scatter_(0, at, torch.where(kept, level.items, 0))
        key = torch.full((rows + 1,), self.spec.cells, dtype=torch.int64, device=chunk.device)
        key.scatter_(0, torch.where(kept & opens, chunk, rows), level.key)
        chunks = opens.sum()
        member = self._step[:rows] < chunks.clamp(max=rows - 1)
        key = torch.where(member, key[:-1], self.spec.cells)
        longest = torch.where(level.member, position, -1).max() + 1
        return table.view(width, rows + 1)[:, :-1].to(torch.int32), _Level(key, self._step[:rows], member), chunks, longest


class _Level(NamedTuple):
    """Items that are summed, sorted by cell. key: cell of each, (P,); items: what the table points at; member: the others pad."""

    key: Tensor
    items: Tensor
    member: Tensor

    def first(self) -> Tensor:
        """Whether an item is the first of its cell."""
        return torch.cat([torch.ones_like(self.member[:1]), self.key[1:] != self.key[:-1]])

    def deep(self) -> _Level:
        """The items of cells that have more than one; the others are no members any more."""
        first = self.first()
        last = torch.cat([first[1:], torch.ones_like(first[:1])])
        return self._replace(member=self.member & ~(first & last))


def _runs(cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Runs of equal cells down each column of (H, M): number of each point's run, whether it starts one, runs per column (M,)."""
    start = cell >= 0
    start = torch.cat([start[:1], start[1:] & (cell[1:] != cell[:-1])])
    slot = start.cumsum(0) - 1
    return slot, start, slot[-1] + 1


def host_tables(tables: dict[str, Tensor], caps: LiftCaps) -> LiftTables:
    """Tables of a device as those of the host. Raises LiftCapacityError when the rig needed larger ones."""
    check_capacity(tables[NEEDED].cpu().numpy(), caps)
    return LiftTables(slots=caps.slots, **{name: tables[name].cpu().numpy() for name in LiftTables.NAMES})

"""First hit of many rays in a voxel grid, bit for bit as the ray metrics' official kernel computes it, in NumPy.

Voxel traversal after Amanatides and Woo, "A Fast Voxel Traversal Algorithm for Ray Tracing" (Eurographics 1987), with the habits of
the kernel behind RayIoU (Khurana et al., "Point Cloud Forecasting as a Proxy for 4D Occupancy Forecasting", CVPR 2023; Liu et al.,
SparseOcc, ECCV 2024). Rays march in lock step, as many as stay in the cache; the places of those that ended go to the next.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import UNKNOWN
from occ_perception.metrics.ray_set import lidar_rays

MAX_STEPS = 1001
"""A ray is given up after this many voxels, inside or outside the grid (the kernel's MAX_STEP is 1000, tested after a step)."""
BLOCK = 16384
"""Rays that march together: their state, about 1.7 MB, stays in the cache."""
KEEP = 0.75
"""Share of rays still marching at which the ended ones are replaced."""
EMPTY, OCCUPIED, OUTSIDE = 0, 1, 2


@dataclass(frozen=True)
class RayHits:
    """What each ray met; arrays (R,), origin-major, rays in the order of the fan.

    labels: uint8 label of the voxel, the free label where the ray met nothing. distance_m: float32 metres from the origin to where
    the ray LEAVES that voxel; without a hit, to where it leaves the grid; -0.4 (one resolution, negative) when it never enters.
    voxel: int32 index of that voxel in the flattened (C order) grid; 0 when the ray never enters the grid.
    """

    labels: np.ndarray
    distance_m: np.ndarray
    voxel: np.ndarray

    def read(self, volume: np.ndarray) -> np.ndarray:
        """What another array on the same grid, (nx, ny, nz) or (nx, ny, nz, k), holds at the voxels: (R,) or (R, k)."""
        return volume.reshape(-1, *volume.shape[3:])[self.voxel]


@dataclass(frozen=True)
class RayStarts:
    """Rays before their first step, in voxel units; arrays (R, 3).

    voxel: int64. boundary: float64 distance along the ray to the next voxel border of each axis. stride: float64 distance between
    two such borders. positive: bool, the index of that axis counts upwards.
    """

    voxel: np.ndarray
    boundary: np.ndarray
    stride: np.ndarray
    positive: np.ndarray


def cast_rays(labels: np.ndarray, origins_m: np.ndarray, free: int, rays: np.ndarray | None = None,
              grid: VoxelGridSpec = OCC3D_GRID, single_precision: bool = False) -> RayHits:
    """Cast rays through a label grid and tell the first voxel that is not free, for each.

    labels: (nx, ny, nz) integers, 0..free, UNKNOWN counts as free. origins_m: (n, 3) metres in the grid's frame. rays: (m, 3)
    directions, about 1 m long (default: the 14040 of `lidar_rays`); all are cast from every origin. single_precision: keep the
    origins in float32 from the start, as the CVPR 2024 server's submission files are made; SparseOcc, FlashOcc and OccNet's
    evaluation use float64. Takes about 0.3 kB of memory per ray.

    Raises ValueError for labels of another shape than the grid or above `free`, or origins that are not (n, 3) finite numbers.
    """
    occupancy = occupied(labels, free, grid)
    starts = ray_starts(origins_m, lidar_rays() if rays is None else rays, grid, single_precision)
    voxel, distance = _march(occupancy, starts)
    return ray_hits(labels, free, voxel, distance, grid)


def occupied(labels: np.ndarray, free: int, grid: VoxelGridSpec) -> np.ndarray:
    """(nx, ny, nz) bool, which voxels stop a ray; the errors are those of `cast_rays`."""
    if labels.shape != grid.shape:
        raise ValueError(f'labels have shape {labels.shape}, the grid {grid.shape}: give labels on this grid')
    taken = (labels != free) & (labels != UNKNOWN)
    if (labels[taken] > free).any() or (labels[taken] < 0).any():
        raise ValueError(f'labels {labels.min()} to {labels.max()}: use 0..{free} ({free} = free) or {UNKNOWN} (unknown)')
    return taken


def ray_starts(origins_m: np.ndarray, rays: np.ndarray, grid: VoxelGridSpec, single_precision: bool = False) -> RayStarts:
    """Origins (n, 3) and directions (m, 3) as n * m rays ready to march."""
    origins_m = np.asarray(origins_m, np.float32 if single_precision else np.float64)
    if origins_m.ndim != 2 or origins_m.shape[1] != 3 or not np.isfinite(origins_m).all():
        raise ValueError(f'origins of shape {origins_m.shape}: give finite (n, 3) metres')
    lower, edge = np.asarray(grid.origin_m, np.float32), np.float32(grid.resolution_m)  # quirk: 0.4 is float32(0.4) in the division
    ends_m = (rays.astype(np.float32) + origins_m[:, None]).reshape(-1, 3)
    ends = ((ends_m - lower) / edge).astype(np.float32).astype(np.float64)
    origins = np.repeat(((origins_m - lower) / edge).astype(np.float32).astype(np.float64), len(rays), axis=0)
    span = ends - origins
    if not span.any(axis=1).all():
        raise ValueError('a ray has no direction: give rays (m, 3) that are not zero, about as long as a voxel or longer')
    x, y, z = span.T
    direction = span / np.sqrt(x * x + y * y + z * z)[:, None]
    # quirk: truncated towards zero, so that an origin up to one voxel below the grid starts in its first voxel
    voxel = origins.astype(np.int64)
    positive = direction >= 0
    never = np.full_like(direction, np.finfo(np.float64).max)
    along = direction != 0
    boundary = np.divide(voxel + positive - origins, direction, out=never.copy(), where=along)
    stride = np.divide(np.where(positive, 1.0, -1.0), direction, out=never, where=along)
    return RayStarts(voxel, boundary, stride, positive)


def ray_hits(labels: np.ndarray, free: int, voxel: np.ndarray, distance: np.ndarray, grid: VoxelGridSpec) -> RayHits:
    """Voxel (R,) and distance (R,) in voxel units (negative: never in the grid) as the metrics read them."""
    # quirk: a ray that never enters the grid carries the label of voxel 0, whatever that is
    found = labels.reshape(-1)[voxel].astype(np.uint8)
    found[found == UNKNOWN] = free
    return RayHits(found, distance.astype(np.float32) * np.float32(grid.resolution_m), voxel.astype(np.int32))


def enter_grid(starts: RayStarts, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, RayStarts]:
    """Bring rays to their first voxel inside: (numbers of the rays that get there, steps each has used, their state there)."""
    number = np.arange(len(starts.voxel))
    voxel, boundary, stride, positive = starts.voxel, starts.boundary, starts.stride, starts.positive
    entered: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for used in range(MAX_STEPS):
        inside = ((voxel >= 0) & (voxel < shape)).all(axis=1)
        if inside.any():
            entered.append((number[inside], np.full(np.count_nonzero(inside), used), voxel[inside], boundary[inside]))
        leaving = np.where(positive, voxel >= shape, voxel < 0).any(axis=1)
        left = ~(inside | leaving)
        if not left.any():
            break
        if not left.all():
            number, stride, positive = number[left], stride[left], positive[left]
        voxel, boundary = voxel[left], boundary[left]
        # of equal distances z goes before y before x
        axis = 2 - boundary[:, ::-1].argmin(axis=1)
        row = np.arange(len(number))
        boundary[row, axis] += stride[row, axis]
        voxel[row, axis] += np.where(positive[row, axis], 1, -1)
    if not entered:
        return number[:0], number[:0], RayStarts(*(a[:0] for a in (voxel, boundary, stride, positive)))
    number, steps, voxel, boundary = (np.concatenate(parts) for parts in zip(*entered, strict=True))
    return number, steps, RayStarts(voxel, boundary, starts.stride[number], starts.positive[number])


def padded_codes(occupancy: np.ndarray) -> np.ndarray:
    """(nx + 2, ny + 2, nz + 2) uint8, EMPTY or OCCUPIED, with a border of OUTSIDE that a leaving ray runs into."""
    codes = np.full([n + 2 for n in occupancy.shape], OUTSIDE, np.uint8)
    codes[1:-1, 1:-1, 1:-1] = np.where(occupancy, OCCUPIED, EMPTY)
    return codes


def padded_index(voxel: np.ndarray, padded_shape: tuple[int, ...]) -> np.ndarray:
    """(R,) index in the flattened padded grid of voxels (R, 3)."""
    return np.ravel_multi_index(tuple((voxel + 1).T), padded_shape)


def unpadded_index(index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(R,) index in the flattened grid of `shape` of an index in its padded form."""
    x, y, z = np.unravel_index(index, [n + 2 for n in shape])
    return np.ravel_multi_index((x - 1, y - 1, z - 1), shape)


def _march(occupancy: np.ndarray, starts: RayStarts) -> tuple[np.ndarray, np.ndarray]:
    """(R,) int64 flat voxel and (R,) float64 distance in voxel units; 0 and -1 for rays that never enter."""
    voxel, distance = np.zeros(len(starts.voxel), np.int64), np.full(len(starts.voxel), -1.0)
    entered, used, state = enter_grid(starts, occupancy.shape)
    padded = padded_codes(occupancy)
    codes = padded.reshape(-1)
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    # change of the index in the padded grid by 4 * octant + 2 * (z is next) + (y is next)
    jumps = (np.array(list(itertools.product((-1, 1), repeat=3))) * strides)[:, [0, 1, 2, 2]].reshape(-1)
    octants = 4 * (state.positive @ np.array([4, 2, 1])).astype(np.uint8)
    at = padded_index(state.voxel, padded.shape)
    # of each ray: next borders and distances between borders by axis, octant, place, place and distance before, number, last round
    waiting = [*np.ascontiguousarray(state.boundary.T), *np.ascontiguousarray(state.stride.T), octants, at, at,
               np.zeros(len(at)), np.arange(len(at)), MAX_STEPS - 1 - used]
    ended_at, ended_distance = np.empty(len(at), np.int64), np.empty(len(at))
    marching, alive, begun, remaining = [array[:0] for array in waiting], np.ones(0, bool), 0, 0
    for turn in itertools.count():
        if remaining <= KEEP * len(alive):
            kept = np.flatnonzero(alive)
            fresh = slice(begun, begun + BLOCK - len(kept))
            *rest, last_turn = (np.concatenate([old.take(kept), new[fresh]]) for old, new in zip(marching, waiting, strict=True))
            last_turn[len(kept):] += turn
            bx, by, bz, sx, sy, sz, octant, at, before, last, number = rest
            begun += len(at) - len(kept)
            alive, remaining, first_last = np.ones(len(at), bool), len(at), last_turn.min(initial=MAX_STEPS + turn)
            if not remaining:
                break
        leave = np.minimum(np.minimum(bx, by), bz)
        code = codes.take(at, mode='clip')  # rays that ended march on, maybe past the array, until they are taken out
        stops = code != EMPTY
        if turn >= first_last:
            stops |= last_turn <= turn
        ended = np.flatnonzero(stops & alive)
        if ended.size:
            out = code[ended] == OUTSIDE
            ended_at[number[ended]] = np.where(out, before[ended], at[ended])
            ended_distance[number[ended]] = np.where(out, last[ended], leave[ended])
            alive[ended] = False
            remaining -= ended.size
        # of equal distances z goes before y before x
        z_next = bz == leave
        y_next = (by == leave) > z_next
        x_next = ~(y_next | z_next)
        before, last = at, leave
        at = at + jumps.take(octant + y_next.view(np.uint8) + 2 * z_next.view(np.uint8))
        bx, by, bz = bx + sx * x_next, by + sy * y_next, bz + sz * z_next
        marching = [bx, by, bz, sx, sy, sz, octant, at, before, last, number, last_turn]
    voxel[entered], distance[entered] = unpadded_index(ended_at, occupancy.shape), ended_distance
    return voxel, distance

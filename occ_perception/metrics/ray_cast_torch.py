"""The ray caster of `ray_cast` on any PyTorch device that has float64, with identical results; import it only where torch is there.

All rays march in lock step in plain elementwise operations, each rounded by itself as IEEE 754 has it, so that no device differs.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.metrics.ray_cast import (
    EMPTY,
    MAX_STEPS,
    OUTSIDE,
    RayHits,
    RayStarts,
    enter_grid,
    occupied,
    padded_codes,
    padded_index,
    ray_hits,
    ray_starts,
    unpadded_index,
)
from occ_perception.metrics.ray_set import lidar_rays

CLEAR_EVERY = 16
"""Steps between two takings-out of ended rays; each waits for the device."""


def cast_rays(labels: np.ndarray, origins_m: np.ndarray, free: int, rays: np.ndarray | None = None,
              grid: VoxelGridSpec = OCC3D_GRID, single_precision: bool = False, device: torch.device | str = 'cuda') -> RayHits:
    """Cast rays through a label grid on `device`; arguments, result and errors are those of `ray_cast.cast_rays`."""
    codes = padded_codes(occupied(labels, free, grid))
    starts = ray_starts(origins_m, lidar_rays() if rays is None else rays, grid, single_precision)
    voxel, distance = np.zeros(len(starts.voxel), np.int64), np.full(len(starts.voxel), -1.0)
    number, used, state = enter_grid(starts, grid.shape)
    if number.size:
        at, distance[number] = _march(codes, state, used, torch.device(device))
        voxel[number] = unpadded_index(at, grid.shape)
    return ray_hits(labels, free, voxel, distance, grid)


def _march(codes: np.ndarray, state: RayStarts, used: np.ndarray, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """March rays that start inside: (R,) index in the padded grid, (R,) float64 distance in voxel units."""
    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    at = put(padded_index(state.voxel, codes.shape))
    boundary, stride = put(state.boundary.T), put(state.stride.T)
    strides = np.array([codes.shape[1] * codes.shape[2], codes.shape[2], 1])
    jump = put(np.where(state.positive, strides, -strides).T)
    last_step = put(MAX_STEPS - 1 - used)
    voxels = put(codes.reshape(-1))
    number, alive = torch.arange(len(at), device=device), torch.ones(len(at), dtype=torch.bool, device=device)
    voxel, distance = at.clone(), boundary[0].clone()
    before, last = at, boundary[0]
    at_end, leave_at_end = at, boundary[0]
    for step in itertools.count():
        leave = boundary.amin(dim=0)
        code = voxels[at.clamp(0, len(voxels) - 1)]
        ended = alive & ((code != EMPTY) | (last_step <= step))
        out = code == OUTSIDE
        at_end = torch.where(ended, torch.where(out, before, at), at_end)
        leave_at_end = torch.where(ended, torch.where(out, last, leave), leave_at_end)
        alive = alive & ~ended
        if step % CLEAR_EVERY == CLEAR_EVERY - 1:
            done = ~alive
            voxel[number[done]], distance[number[done]] = at_end[done], leave_at_end[done]
            if not bool(alive.any()):
                break
            number, at, leave, last_step, at_end, leave_at_end = (
                a[alive] for a in (number, at, leave, last_step, at_end, leave_at_end))
            boundary, stride, jump = boundary[:, alive], stride[:, alive], jump[:, alive]
            alive = alive[alive]
        # of equal distances z goes before y before x
        z_next = boundary[2] == leave
        y_next = (boundary[1] == leave) & ~z_next
        axis = torch.stack([~(y_next | z_next), y_next, z_next])
        before, last = at, leave
        at = at + torch.where(z_next, jump[2], torch.where(y_next, jump[1], jump[0]))
        boundary = torch.where(axis, boundary + stride, boundary)
    return voxel.cpu().numpy(), distance.cpu().numpy()

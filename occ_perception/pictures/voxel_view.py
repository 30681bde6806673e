"""Voxels as shaded cubes in perspective, by ray marching in plain numpy: sunlight with shadows, corner shade, thin cube edges.

Rays leap through empty space: the Chebyshev distance to the next solid voxel says how far nothing can be hit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec

LONGEST_LEAP = 16
RAYS_AT_ONCE = 65536
NUDGE = np.float32(1e-3)
"""Voxels a ray is carried past a border, so that it lies on one side of it for sure."""
SUN = np.array([-0.46, 0.42, 0.78], np.float32) / np.float32(np.linalg.norm([-0.46, 0.42, 0.78]))
"""Direction towards the sun, ego axes."""
SKY = np.array([0.48, 0.42, 0.60], np.float32)
"""Light that faces along x, y, z get without sun."""
SUNLIGHT = np.float32(0.52)
FACE_AXES = np.array([[1, 2], [0, 2], [0, 1]])
"""The two axes that span a face across x, y, z."""


@dataclass(frozen=True)
class View:
    """A pinhole camera looking at the grid: eye and target in metres (ego frame), horizontal field of view, picture size."""

    eye_m: tuple[float, float, float] = (-44.0, 10.0, 27.0)
    target_m: tuple[float, float, float] = (2.0, -1.5, -3.0)
    field_of_view_deg: float = 58.0
    width: int = 780
    height: int = 430


@lru_cache(maxsize=4)
def _rays(view: View, supersampling: float) -> tuple[np.ndarray, tuple[int, int]]:
    """Unit directions (3, rows * columns) float32 of all pixels, row by row, and (rows, columns)."""
    columns, rows = round(view.width * supersampling), round(view.height * supersampling)
    forward = np.subtract(view.target_m, view.eye_m)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    half = np.tan(np.radians(view.field_of_view_deg) / 2)
    u = ((np.arange(columns) + 0.5) / columns * 2 - 1) * half
    v = (1 - (np.arange(rows) + 0.5) / rows * 2) * half * rows / columns
    rays = forward[:, None, None] + right[:, None, None] * u[None, None] + up[:, None, None] * v[None, :, None]
    rays /= np.linalg.norm(rays, axis=0)
    return rays.reshape(3, -1).astype(np.float32), (rows, columns)


def render_voxels(colors: np.ndarray, solid: np.ndarray, view: View, background: tuple[tuple[int, int, int], ...],
                  grid: VoxelGridSpec = OCC3D_GRID, supersampling: float = 1.5) -> np.ndarray:
    """Picture (height, width, 3) uint8 of the solid voxels.

    colors: (nx, ny, nz, 3) uint8 RGB. solid: (nx, ny, nz) bool. background: RGB at the top and at the bottom of the picture.
    """
    rays, (rows, columns) = _rays(view, supersampling)
    eye = ((np.asarray(view.eye_m) - grid.origin_m) / grid.resolution_m).astype(np.float32)
    scene = _Scene(colors, solid, empty_leap(solid), eye,
                   pixel=float(2 * np.tan(np.radians(view.field_of_view_deg) / 2) / columns), far=float(max(grid.shape)))
    top, bottom = (np.asarray(color, np.float32) for color in background)
    sky = top + (bottom - top) * np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    picture = np.repeat(sky[:, None], columns, axis=1).reshape(-1, 3)
    for start in range(0, rays.shape[1], RAYS_AT_ONCE):
        part = slice(start, start + RAYS_AT_ONCE)
        hit, voxel = march(scene.leap, eye, rays[:, part])
        if hit.size:
            picture[part][hit] = scene.shade(rays[:, part][:, hit], voxel, picture[part][hit])
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8).reshape(rows, columns, 3))
    return np.asarray(image.resize((view.width, view.height), Image.Resampling.HAMMING))


def empty_leap(solid: np.ndarray) -> np.ndarray:
    """Chebyshev distance in voxels to the next solid one, (nx, ny, nz) uint8: 0 in solid, at most LONGEST_LEAP."""
    distance = np.where(solid, 0, LONGEST_LEAP).astype(np.uint8)
    grown = solid
    for step in range(1, LONGEST_LEAP):
        wider = grown
        for axis in range(3):
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            narrow, wider = wider, wider.copy()
            wider[tuple(ahead)] |= narrow[tuple(behind)]
            wider[tuple(behind)] |= narrow[tuple(ahead)]
        distance[wider & ~grown] = step
        grown = wider
        if grown.all():
            break
    return distance


def march(leap: np.ndarray, start: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First solid voxel along each ray: (indices (M,) of the rays that hit, voxels (3, M) int32).

    leap: from empty_leap. start: (3,) or (3, N), voxel units (corner of voxel (0, 0, 0) = 0). rays: (3, N) or (3, 1) float32.
    """
    count = max(rays.shape[1], start.shape[1] if start.ndim > 1 else 1)
    rays = np.where(np.abs(rays) < 1e-7, np.float32(1e-7), rays)
    start = start.astype(np.float32).reshape(3, -1)
    shape = np.array(leap.shape, np.float32)[:, None]
    inverse, sign = 1 / rays, np.sign(rays)
    t = np.maximum(((np.where(sign > 0, 0, shape) - start) * inverse).max(axis=0), 0) + NUDGE
    end = ((np.where(sign > 0, shape, 0) - start) * inverse).min(axis=0) - 2 * NUDGE
    t, end = np.broadcast_to(t, count), np.broadcast_to(end, count)
    under_way = np.flatnonzero(t < end)
    arrays = [*start, *rays, *inverse, *sign]
    flat, (step_x, step_y) = leap.ravel(), (leap.shape[1] * leap.shape[2], leap.shape[2])
    indices, voxels = [np.zeros(0, np.int64)], [np.zeros((3, 0), np.int32)]

    def select(keep: np.ndarray) -> None:
        nonlocal arrays, t, end
        arrays = [a[keep] if a.size > 1 else a for a in arrays]
        t, end = t[keep], end[keep]

    select(under_way)
    while under_way.size:
        sx, sy, sz, rx, ry, rz, ix, iy, iz, gx, gy, gz = arrays
        x, y, z = (sx + rx * t).astype(np.int32), (sy + ry * t).astype(np.int32), (sz + rz * t).astype(np.int32)
        distance = flat[x * step_x + y * step_y + z]
        stopped = np.flatnonzero(distance == 0)
        if stopped.size:
            indices.append(under_way[stopped])
            voxels.append(np.stack([x[stopped], y[stopped], z[stopped]]))
        reach = distance - np.float32(0.5)
        t = (x + (np.float32(0.5) - sx) + gx * reach) * ix
        t = np.minimum(t, (y + (np.float32(0.5) - sy) + gy * reach) * iy)
        t = np.minimum(t, (z + (np.float32(0.5) - sz) + gz * reach) * iz)
        t += NUDGE
        alive = t < end
        alive[stopped] = False
        keep = np.flatnonzero(alive)
        if keep.size < alive.size:
            under_way = under_way[keep]
            select(keep)
    return np.concatenate(indices), np.concatenate(voxels, axis=1)


@dataclass(frozen=True)
class _Scene:
    colors: np.ndarray
    solid: np.ndarray
    leap: np.ndarray
    eye: np.ndarray
    pixel: float
    far: float

    def shade(self, rays: np.ndarray, voxel: np.ndarray, haze: np.ndarray) -> np.ndarray:
        """RGB (M, 3) float32 where rays (3, M) from the eye meet voxels (3, M); haze: RGB (M, 3) they fade into."""
        near = (voxel + (rays < 0) - self.eye[:, None]) / np.where(rays == 0, np.float32(1e-7), rays)
        axis = near.argmax(axis=0)
        distance = near.max(axis=0)
        everyone = np.arange(axis.size)
        inward = rays[axis, everyone]
        facing = np.where(inward > 0, -1, 1)
        point = self.eye[:, None] + rays * distance
        fraction = (point - voxel).clip(0, 1)
        u, v = fraction[FACE_AXES[axis, 0], everyone], fraction[FACE_AXES[axis, 1], everyone]

        sun = SUN[axis] * facing
        lit = np.flatnonzero(sun > 0)
        front = (voxel + fraction.clip(0.01, 0.99))[:, lit]
        front[axis[lit], np.arange(lit.size)] = (voxel[axis, everyone] + 0.5 + 0.52 * facing)[lit]
        shadowed, _ = march(self.leap, front, SUN[:, None])
        sun[lit[shadowed]] = 0
        light = SKY[axis] + SUNLIGHT * sun.clip(0, None)
        light *= 1 - np.float32(0.40) * self._corner_shade(voxel, axis, facing, u, v)

        across = distance * self.pixel
        border = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))
        line = (1 - border * np.sqrt(np.abs(inward)) / (1.6 * across)).clip(0, 1) * (1.35 - 6 * across).clip(0, 1)
        light *= 1 - np.float32(0.26) * line
        fade = ((distance - 0.6 * self.far) / (1.6 * self.far)).clip(0, 0.4)[:, None]
        return self.colors[voxel[0], voxel[1], voxel[2]] * light[:, None] * (1 - fade) + haze * fade

    def _corner_shade(self, voxel: np.ndarray, axis: np.ndarray, facing: np.ndarray, u: np.ndarray,
                      v: np.ndarray) -> np.ndarray:
        """(M,) 0..1: how much the voxels standing around a face shut out the sky, blended between its corners."""
        padded = np.pad(self.solid, 1)
        flat = padded.ravel()
        stride = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
        front = ((voxel + 1) * stride[:, None]).sum(axis=0) + facing * stride[axis]
        du, dv = stride[FACE_AXES[axis, 0]], stride[FACE_AXES[axis, 1]]
        side_u = {-1: flat[front - du], 1: flat[front + du]}
        side_v = {-1: flat[front - dv], 1: flat[front + dv]}
        shade = np.zeros_like(u)
        for a, weight_u in ((-1, 1 - u), (1, u)):
            for b, weight_v in ((-1, 1 - v), (1, v)):
                sides = side_u[a].astype(np.float32) + side_v[b]
                corner = flat[front + a * du + b * dv]
                shade += weight_u * weight_v * np.where(sides == 2, 3, sides + corner) / 3
        return shade

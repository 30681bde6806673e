"""Pictures of a street: per camera RGB, depth, class and object of every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from embreex.rtcore_scene import EmbreeScene

from occ_perception.datasets.sample_world.rig import ego_from_camera, intrinsics
from occ_perception.datasets.sample_world.scene import AMBIENT, NORMAL, SUN, SUNLIT, Movers, StreetScene, Surfaces
from occ_perception.datasets.sample_world.street import Light
from occ_perception.datasets.sample_world.textures import MIP_LEVELS, Atlas
from occ_perception.labels import FREE

VIEW_M = 110.0
_CHUNK = 1 << 14
_OPEN = 0.72
"""Share of the sky's light that reaches shadowed places."""


@dataclass(frozen=True)
class CameraView:
    """One picture with its truth.

    image (H, W, 3) uint8 RGB; depth (H, W) float32 metres along the optical axis, inf = sky; label (H, W) uint8 Occ3D id, 17 =
    sky; instance (H, W) uint16, 0 = none. intrinsics (3, 3); ego_from_camera, fixed_from_ego (4, 4) at the exposure time_s.
    """

    name: str
    time_s: float
    image: np.ndarray
    depth: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    intrinsics: np.ndarray
    ego_from_camera: np.ndarray
    fixed_from_ego: np.ndarray


class _ShadowCells:
    """The 2 m ground cells that moving objects can throw their shadow on."""

    _CELL, _HALF = 2.0, 80

    def __init__(self, movers: Movers, seen: np.ndarray) -> None:
        sun = np.asarray(movers.scene.street.light.sun_direction)
        throw = -sun[:2] / max(sun[2], 0.15)
        self._low = movers.near[:2] - self._CELL * self._HALF
        self._grid = np.zeros((2 * self._HALF, 2 * self._HALF), bool)
        for (x, y, _), radius in zip(movers.centers[seen], movers.radii[seen], strict=True):
            far = np.array([x, y]) + throw * 2.0
            low, high = np.minimum([x, y], far) - radius, np.maximum([x, y], far) + radius
            a, z = (
                np.clip(np.floor((c - self._low) / self._CELL).astype(int), 0, 2 * self._HALF) for c in (low, high + self._CELL)
            )
            self._grid[a[0]:z[0], a[1]:z[1]] = True
        self._low = self._low.astype(np.float32)

    def touched(self, points: np.ndarray) -> np.ndarray:
        """Whether points (N, 3) lie in such a cell, (N,) bool."""
        index = ((points[:, :2] - self._low) * np.float32(1 / self._CELL)).astype(np.int32)
        np.clip(index, 0, 2 * self._HALF - 1, out=index)
        return self._grid[index[:, 0], index[:, 1]]


@lru_cache(maxsize=32)
def _pixel_rays(name: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Directions (H * W, 3) with z = 1 in camera axes, and vignetting (H * W,) float32."""
    width, height = size
    k = intrinsics(name, size)
    v, u = np.mgrid[:height, :width]
    x, y = (u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1]
    directions = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3).astype(np.float32)
    return directions, (1 - 0.16 * np.minimum(x ** 2 + y ** 2, 1.2)).ravel().astype(np.float32)


@lru_cache(maxsize=4)
def _noise_tile(count: int) -> np.ndarray:
    """(count, 4) float32 fixed random numbers: three uniform in [-0.5, 0.5), one normal."""
    rng = np.random.default_rng(5)
    return np.concatenate([rng.random((count, 3)) - 0.5, rng.normal(size=(count, 1))], axis=1).astype(np.float32)


def render_camera(scene: StreetScene, name: str, time_s: float, size: tuple[int, int] = (800, 450)) -> CameraView:
    """The picture that camera `name` takes at time_s; size = (width, height), 16:9."""
    width, height = size
    fixed_from_ego = scene.street.ego_pose(time_s)
    mount, k = ego_from_camera(name), intrinsics(name, size)
    world_from_camera = fixed_from_ego @ mount
    local, vignette = _pixel_rays(name, size)
    directions = local @ world_from_camera[:3, :3].T.astype(np.float32)
    origin = (world_from_camera[:3, 3] - scene.origin).astype(np.float32)
    hits, moving = _cast(scene, world_from_camera, origin, directions, time_s, k, size)
    noise = np.roll(_noise_tile(len(local)), (int(time_s * 7919) * 613 + sum(name.encode()) * 97) % len(local), axis=0)
    exposure = scene.street.light.exposure * _camera_gain(scene.street.seed, name) * vignette
    image, label, instance = _Shader(scene, moving, origin, 1 / float(k[0, 0])).pictures(hits, directions, noise, exposure)
    shape = (height, width)
    return CameraView(name, time_s, image.reshape(height, width, 3), hits.depth.reshape(shape), label.reshape(shape),
                      instance.reshape(shape), k, mount, fixed_from_ego)


@dataclass(frozen=True)
class _Hits:
    """What each pixel's ray meets, arrays (N,): depth, triangle (-1 none, moving objects' after the static ones), u, v on it."""

    depth: np.ndarray
    triangle: np.ndarray
    u: np.ndarray
    v: np.ndarray


@dataclass(frozen=True)
class _Moving:
    """The moving objects in sight: ray-casting structure, surfaces, cells that their shadows can touch."""

    scene: EmbreeScene
    surfaces: Surfaces
    cells: _ShadowCells


def _cast(scene: StreetScene, world_from_camera: np.ndarray, origin: np.ndarray, directions: np.ndarray, time_s: float,
          k: np.ndarray, size: tuple[int, int]) -> tuple[_Hits, _Moving | None]:
    origins = np.broadcast_to(origin, directions.shape)
    found = scene.static_scene.run(origins, directions, output=1)
    hits = _Hits(found['tfar'], found['primID'], found['u'], found['v'])
    hits.depth[hits.triangle < 0] = np.inf
    movers = scene.movers_at(time_s, world_from_camera[:3, 3], VIEW_M)
    seen, region = _regions(movers.centers, movers.radii, world_from_camera, scene.origin, k, size)
    built = movers.build(seen)
    if built is None:
        return hits, None
    pixels = np.flatnonzero(region)
    found = built[0].run(origins[:len(pixels)], directions[pixels], output=1)
    nearer = (found['primID'] >= 0) & (found['tfar'] < hits.depth[pixels])
    target = pixels[nearer]
    hits.depth[target], hits.u[target], hits.v[target] = found['tfar'][nearer], found['u'][nearer], found['v'][nearer]
    hits.triangle[target] = found['primID'][nearer] + len(scene.static.texture)
    return hits, _Moving(*built, _ShadowCells(movers, seen))


def _camera_gain(seed: int, name: str) -> float:
    return float(np.random.default_rng([seed, sum(name.encode())]).uniform(0.9, 1.1))


def _regions(centers: np.ndarray, radii: np.ndarray, world_from_camera: np.ndarray, origin: np.ndarray, k: np.ndarray,
             size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Which spheres can be seen, (N,) bool, and the pixels that they can cover, (H * W,) bool."""
    width, height = size
    region = np.zeros((height, width), bool)
    local = (centers - (world_from_camera[:3, 3] - origin)) @ world_from_camera[:3, :3]
    seen = np.zeros(len(centers), bool)
    for i, ((x, y, z), r) in enumerate(zip(local, radii, strict=True)):
        if z < -r:
            continue
        if z < r + 0.5:
            seen[i] = np.hypot(x, y) < 3 * r + 6
            region |= seen[i]
            continue
        near = z - r
        u = [k[0, 2] + k[0, 0] * (x + e) / (near if (x + e) * e > 0 else z + r) for e in (-r, r)]
        v = [k[1, 2] + k[1, 1] * (y + e) / (near if (y + e) * e > 0 else z + r) for e in (-r, r)]
        if u[1] >= 0 and u[0] < width and v[1] >= 0 and v[0] < height:
            seen[i] = True
            region[max(int(v[0]), 0):int(v[1]) + 2, max(int(u[0]), 0):int(u[1]) + 2] = True
    return seen, region.ravel()


def _sky(light: Light, atlas: Atlas, directions: np.ndarray) -> np.ndarray:
    """Sky colour (N, 3) linear for directions of any length."""
    up = directions[:, 2] / np.sqrt((directions ** 2).sum(axis=1))
    blend = np.sqrt(np.clip(up, 0, 1))[:, None]
    colour = np.asarray(light.horizon, np.float32) * (1 - blend) + np.asarray(light.zenith, np.float32) * blend
    row = atlas.index['clouds']
    scale = 90.0 / (np.maximum(directions[:, 2], 0) / np.sqrt((directions ** 2).sum(axis=1)) + 0.12)
    flat = directions[:, :2] / np.maximum(np.sqrt((directions[:, :2] ** 2).sum(axis=1, keepdims=True)), 1e-6)
    radius = np.sqrt(np.maximum(1 - up ** 2, 0)) * scale
    u, v = (np.floor(flat[:, i] * radius).astype(np.int32) & 255 for i in (0, 1))
    texel = atlas.texels[atlas.offset[row, 0] + (v << 8) + u].view(np.uint8).reshape(-1, 4)[:, 0].astype(np.float32) * (1 / 255)
    cover = np.clip((texel - 0.62) * 3.0, 0, 1)[:, None] * light.clouds
    white = np.asarray(light.horizon, np.float32) * 0.6 + 0.45 * np.asarray(light.sun, np.float32) / max(light.sun) + 0.1
    return colour * (1 - cover) + white * cover


def _texels(atlas: Atlas, texture: np.ndarray, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Texture colour (N, 3) float32 linear at texel coordinates; footprint: texels per pixel."""
    level = np.log2(np.maximum(footprint, 1.0)).astype(np.int32)
    np.clip(level, 0, MIP_LEVELS - 1, out=level)
    log_w, log_h = atlas.log2_width[texture], atlas.log2_height[texture]
    column = np.floor(u).astype(np.int32) & ((1 << log_w) - 1)
    row = np.floor(v).astype(np.int32) & ((1 << log_h) - 1)
    index = atlas.offset.ravel()[texture * MIP_LEVELS + level] + ((row >> level) << (log_w - level)) + (column >> level)
    colour = atlas.texels[index].view(np.uint8).reshape(-1, 4)[:, :3].astype(np.float32)
    return colour * colour * np.float32(1 / 65025)


class _Shader:
    """Colours the pixels of one picture, a run of pixels at a time so that the work stays in the cache."""

    def __init__(self, scene: StreetScene, moving: _Moving | None, origin: np.ndarray, pixel: float) -> None:
        self._scene, self._moving, self._origin, self._pixel = scene, moving, origin, np.float32(pixel)
        self._light, self._atlas = scene.street.light, scene.street.atlas
        self._horizon = np.asarray(self._light.horizon, np.float32)

    def pictures(self, hits: _Hits, directions: np.ndarray, noise: np.ndarray,
                 exposure: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """RGB (N, 3) uint8, class (N,) uint8 and object (N,) uint16 of all pixels."""
        count = len(directions)
        image, label, instance = np.empty((count, 3), np.uint8), np.full(count, FREE, np.uint8), np.zeros(count, np.uint16)
        for start in range(0, count, _CHUNK):
            part = slice(start, min(start + _CHUNK, count))
            colour = np.empty((part.stop - start, 3), np.float32)
            met = hits.triangle[part] >= 0
            sky = np.flatnonzero(~met)
            if len(sky):
                colour[sky] = _sky(self._light, self._atlas, directions[part][sky])
            on = np.flatnonzero(met) + start
            if len(on):
                row, texture, label[on], instance[on] = self._surfaces(hits.triangle[on])
                place = hits.depth[on], hits.u[on], hits.v[on]
                colour[on - start] = self._surface_colour(row, texture, *place, directions[on], noise[on])
            colour *= exposure[part, None]
            colour /= 1 + 0.28 * colour
            value = np.sqrt(np.maximum(colour, 0)) * 262.0 + noise[part, 3:] * 2.2
            image[part] = np.clip(value, 0, 255, out=value).astype(np.uint8)
        return image, label, instance

    def _surfaces(self, triangle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Shading row, texture, class and object of the triangles that were met."""
        static = self._scene.static
        offset = len(static.texture)
        moves = triangle >= offset
        still = np.where(moves, 0, triangle)
        out = static.shading[still], static.texture[still], static.label[still], static.instance[still]
        if self._moving is not None and moves.any():
            index, known = triangle[moves] - offset, self._moving.surfaces
            for array, source in zip(out, (known.shading, known.texture, known.label, known.instance), strict=True):
                array[moves] = source[index]
        return out

    def _surface_colour(self, row: np.ndarray, texture: np.ndarray, depth: np.ndarray, u: np.ndarray, v: np.ndarray,
                        directions: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Texture in the light of sun and sky, with shadows and haze, (N, 3) float32 linear."""
        length = np.sqrt(np.einsum('ij,ij->i', directions, directions))
        cosine = np.abs(np.einsum('ij,ij->i', row[:, NORMAL], directions)) / length
        texels = depth * self._atlas.per_metre[texture] * self._pixel / np.sqrt(np.maximum(cosine, 0.06))
        texels *= np.exp2(noise[:, 2] * 0.9)
        jitter = np.maximum(texels, 1.0)
        across = row[:, 0] + u * row[:, 2] + v * row[:, 4] + noise[:, 0] * jitter
        along = row[:, 1] + u * row[:, 3] + v * row[:, 5] + noise[:, 1] * jitter
        albedo = _texels(self._atlas, texture, across, along, texels)
        points = self._origin + directions * (depth * np.float32(0.9995))[:, None]
        lit = _lit(self._scene, row, points, noise, self._moving)
        shaded = albedo * (row[:, SUN] * lit[:, None] + row[:, AMBIENT] * (_OPEN + (1 - _OPEN) * lit)[:, None])
        fade = np.exp(depth * length * np.float32(-1 / self._light.haze_m))[:, None]
        return shaded * fade + self._horizon * (1 - fade)


def _lit(scene: StreetScene, row: np.ndarray, points: np.ndarray, noise: np.ndarray, moving: _Moving | None) -> np.ndarray:
    """How much of the sun (or, overcast, of the sky overhead) is seen from the points of one run of pixels: (N,) float32 0..1."""
    light = scene.street.light
    soft = light.soft_shadow
    sun = np.asarray(light.sun_direction, np.float32)
    lit = np.ones(len(points), np.float32)
    ask = np.flatnonzero(row[:, SUNLIT])
    if not len(ask):
        return lit
    if soft > 0.3:
        toward = 0.7 * row[ask, NORMAL] + noise[ask, :3] * np.float32(2 * soft)
        toward[:, 2] = np.abs(toward[:, 2]) + np.float32(0.3)
    else:
        toward = sun + noise[ask, :3] * np.float32(2 * soft)
    start = points[ask] + row[ask, NORMAL] * np.float32(0.02)
    reach = np.full(len(ask), 60.0 if soft < 0.3 else 3.5, np.float32)
    blocked = scene.static_scene.run(start, toward, reach, query='OCCLUDED') != -1
    if moving is not None:
        which = np.flatnonzero(moving.cells.touched(start) & ~blocked)
        if len(which):
            blocked[which] = moving.scene.run(start[which], toward[which], reach[which], query='OCCLUDED') != -1
    lit[ask[blocked]] = 0.0
    if soft > 0.3:
        lit = np.convolve(lit, np.full(7, 1 / 7, np.float32), 'full')[3:3 + len(lit)]  # 'same' lengthens runs shorter than 7
    return lit



"""The ground of a street: road, kerbs, sidewalks, strips of grass, gravel, rails, water and squares, as labelled triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occ_perception.datasets.sample_world.mesh import Material, MeshBuilder
from occ_perception.datasets.sample_world.path import CentreLine

ROAD, OTHER_FLAT, SIDEWALK, TERRAIN = 11, 12, 13, 14
KERB_M = 0.15


@dataclass(frozen=True)
class Surface:
    """What a strip of ground is: Occ3D label, material, height above the road, roughness (random height) in metres."""

    label: int
    material: Material
    height: float
    rough: float = 0.0


def ordered(first: float, second: float) -> tuple[float, float]:
    """The two places, the lower first."""
    return min(first, second), max(first, second)


def strip(
    b: MeshBuilder,
    line: CentreLine,
    surface: Surface,
    s: tuple[float, float],
    d: tuple[float, float],
    rng: np.random.Generator | None = None,
    uv_scale: tuple[float, float] = (1.0, 1.0),
    uv_origin: tuple[float, float] = (0.0, 0.0),
    swap: bool = False,
) -> None:
    """Add the strip s[0]..s[1] along, d[0]..d[1] across (metres), in pieces short enough to follow the bends.

    uv runs along and across from uv_origin, times uv_scale; swap exchanges the two.
    """
    if s[1] - s[0] < 1e-3 or d[1] - d[0] < 1e-3:
        return
    b.label = surface.label
    along = np.linspace(*s, max(int(np.ceil((s[1] - s[0]) / 2.5)), 1) + 1)
    across = np.linspace(*d, (max(int(np.ceil((d[1] - d[0]) / 2.0)), 1) if surface.rough else 1) + 1)
    grid_s, grid_d = np.meshgrid(along, across, indexing='ij')
    height = np.full(grid_s.shape, surface.height)
    if surface.rough and rng is not None and min(height.shape) > 2:
        height[1:-1, 1:-1] += rng.uniform(0, surface.rough, (height.shape[0] - 2, height.shape[1] - 2))
    points = line.to_world(grid_s, grid_d, height)
    uv = np.stack([(grid_s - uv_origin[0]) * uv_scale[0], (grid_d - uv_origin[1]) * uv_scale[1]], axis=-1)[..., ::-1 if swap else 1]
    _grid_triangles(b, points, uv, surface.material)


def kerb(b: MeshBuilder, line: CentreLine, s: tuple[float, float], d: float, low: float, high: float) -> None:
    """Add the upright face of a kerb at d, facing the lower side; it counts as sidewalk."""
    b.label = SIDEWALK
    along = np.linspace(*s, max(int(np.ceil((s[1] - s[0]) / 2.5)), 1) + 1)
    points = np.stack([line.to_world(along, np.full_like(along, d), h) for h in (low, high)], axis=1)
    uv = np.stack([np.repeat(along[:, None], 2, axis=1), np.broadcast_to([0.0, high - low], (len(along), 2))], axis=-1)
    _grid_triangles(b, points, uv, Material('kerb', (1.05, 1.05, 1.03)))


def cross_kerb(b: MeshBuilder, line: CentreLine, s: float, d: tuple[float, float], height: float) -> None:
    """Add the kerb along a side street's mouth, at one s, from d[0] to d[1]."""
    b.label = SIDEWALK
    across = np.linspace(*d, 2)
    points = np.stack([line.to_world(np.full_like(across, s), across, h) for h in (0.0, height)], axis=1)
    uv = np.stack([np.repeat(across[:, None], 2, axis=1), np.broadcast_to([0.0, height], (2, 2))], axis=-1)
    _grid_triangles(b, points, uv, Material('kerb', (1.05, 1.05, 1.03)))


def _grid_triangles(b: MeshBuilder, points: np.ndarray, uv: np.ndarray, material: Material) -> None:
    p = np.stack([points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], axis=2).reshape(-1, 4, 3)
    t = np.stack([uv[:-1, :-1], uv[1:, :-1], uv[1:, 1:], uv[:-1, 1:]], axis=2).reshape(-1, 4, 2)
    fan = [[0, 1, 2], [0, 2, 3]]
    b.triangles(p[:, fan].reshape(-1, 3, 3), t[:, fan].reshape(-1, 3, 2), material)

"""Triangle meshes with materials, put together from boxes, beams, prisms, cylinders, rings and lumpy ellipsoids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FILL_SPACING_M = 0.22
SURFACE_SPACING_M = 0.15


_CUBE = np.array([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)], np.float32)
# corner numbers: bit 0 = +x, bit 1 = +y, bit 2 = +z; each face's first edge runs level
_FACES = {'front': (1, 3, 7, 5), 'back': (2, 0, 4, 6), 'left': (3, 2, 6, 7), 'right': (0, 1, 5, 4), 'top': (4, 5, 7, 6),
          'bottom': (2, 3, 1, 0)}
SIDES = tuple(_FACES)
_FACE_CORNERS = np.array(list(_FACES.values()))
_FAN = np.array([[0, 1, 2], [0, 2, 3]])
_UNIT_SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


@dataclass(frozen=True)
class Material:
    """A named texture, an RGB tint that multiplies it (linear, 0..1) and light given off (0 = none)."""

    texture: str
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    glow: float = 0.0


@dataclass(frozen=True)
class Mesh:
    """Triangles of one object or of a whole street.

    corners (T, 3, 3) float32 metres; uv (T, 3, 2) float32 metres along the surface; material (T,) int32 into materials;
    label (T,) uint8 Occ3D id; fill (P, 3) float32 points inside the solids, with fill_label (P,) uint8.
    """

    corners: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    label: np.ndarray
    fill: np.ndarray
    fill_label: np.ndarray
    materials: tuple[Material, ...]

    def moved(self, transform: np.ndarray) -> Mesh:
        """The same mesh, moved by a (4, 4) transform."""
        rotation, translation = transform[:3, :3].T.astype(np.float32), transform[:3, 3].astype(np.float32)
        return Mesh(self.corners @ rotation + translation, self.uv, self.material, self.label,
                    self.fill @ rotation + translation, self.fill_label, self.materials)

    def solid_points(self) -> tuple[np.ndarray, np.ndarray]:
        """Points on the surface (spacing at most SURFACE_SPACING_M) and inside: (P, 3) float32 and (P,) uint8 labels."""
        points, triangle = sample_triangles(self.corners, SURFACE_SPACING_M)
        return np.concatenate([points, self.fill]), np.concatenate([self.label[triangle], self.fill_label])


def sample_triangles(corners: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Points on triangles (T, 3, 3), `spacing` metres apart or less, one at least: (P, 3) float32, triangle of each (P,) int64."""
    if not len(corners):
        return np.zeros((0, 3), np.float32), np.zeros(0, np.int64)
    opposite = np.stack([((corners[:, i - 1] - corners[:, i - 2]) ** 2).sum(axis=1) for i in range(3)], axis=1).argmax(axis=1)
    order = (opposite[:, None] + np.arange(3)) % 3
    p = np.take_along_axis(corners, order[:, :, None], axis=1)
    edges = np.sqrt(((p[:, 1:] - p[:, :1]) ** 2).sum(axis=2))
    steps = np.clip(np.ceil(edges / spacing), 1, 999).astype(np.int64)
    key = steps[:, 0] * 1000 + steps[:, 1]
    by_key = np.argsort(key, kind='stable')
    starts = np.flatnonzero(np.diff(key[by_key], prepend=-1))
    points, owners = [], []
    for which in np.split(by_key, starts[1:]):
        lattice = _lattice(int(steps[which[0], 0]), int(steps[which[0], 1]))
        points.append((lattice @ p[which]).reshape(-1, 3))
        owners.append(np.repeat(which, len(lattice)))
    return np.concatenate(points).astype(np.float32), np.concatenate(owners)


@lru_cache(maxsize=4096)
def _lattice(first: int, second: int) -> np.ndarray:
    i, j = np.meshgrid((np.arange(first) + 1 / 3) / first, (np.arange(second) + 1 / 3) / second, indexing='ij')
    keep = i + j < 1
    return np.stack([1 - i[keep] - j[keep], i[keep], j[keep]], axis=1).astype(np.float32)


@lru_cache(maxsize=4096)
def _cube_lattice(nx: int, ny: int, nz: int) -> np.ndarray:
    """Trilinear weights (points, 8) of a lattice through a hexahedron with corners numbered by bits."""
    x, y, z = (g.ravel() for g in np.meshgrid(*[np.linspace(0, 1, n) for n in (nx, ny, nz)], indexing='ij'))
    return np.stack([(x if i & 1 else 1 - x) * (y if i & 2 else 1 - y) * (z if i & 4 else 1 - z) for i in range(8)], axis=1).astype(
        np.float32
    )


@lru_cache(maxsize=64)
def _tube(segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Side of a unit cylinder as triangles: (T, 3, 3) of cos, sin, height and (T, 3, 2) of angle, height."""
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    rows = [np.stack([np.cos(angle), np.sin(angle), np.full_like(angle, h)], axis=1) for h in (0, 1)]
    flat = [np.stack([angle, np.full_like(angle, h)], axis=1) for h in (0, 1)]
    corners, uv = (np.stack([low[:-1], low[1:], high[1:], high[:-1]], axis=1)[:, _FAN] for low, high in (rows, flat))
    return corners.reshape(-1, 3, 3).astype(np.float32), uv.reshape(-1, 3, 2).astype(np.float32)


@lru_cache(maxsize=64)
def _disc(segments: int) -> np.ndarray:
    """Unit disc as a fan: (segments, 3, 2) of cos, sin; the first corner of each triangle is the centre."""
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.stack([np.zeros((segments, 2)), rim[:-1], rim[1:]], axis=1).astype(np.float32)


@lru_cache(maxsize=1024)
def _tube_lattice(steps: int, shells: int) -> np.ndarray:
    """Points in a unit cylinder: (P, 3) of cos * radius, sin * radius, height."""
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    h, r, a = (g.ravel() for g in np.meshgrid(np.linspace(0, 1, steps), np.linspace(0, 0.9, shells), angle, indexing='ij'))
    keep = (r > 0) | (a == 0)
    return np.stack([np.cos(a) * r, np.sin(a) * r, h], axis=1)[keep].astype(np.float32)


@lru_cache(maxsize=1024)
def _ball_lattice(nx: int, ny: int, nz: int) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.linspace(-0.95, 0.95, n) for n in (nx, ny, nz)], indexing='ij'), axis=-1).reshape(-1, 3)
    return grid[(grid ** 2).sum(axis=1) < 0.9].astype(np.float32)


def _steps(length: float) -> int:
    return max(int(np.ceil(length / FILL_SPACING_M)) + 1, 2)


@lru_cache(maxsize=8)
def _sphere(level: int) -> tuple[np.ndarray, np.ndarray]:
    """Icosphere: unit vertices (V, 3) and faces (F, 3); level 0 has 20 faces, each level four times as many."""
    g = (1 + 5 ** 0.5) / 2
    vertices = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g), (0, -1, -g), (0, 1, -g),
                (g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]
    faces = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6),
             (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7),
             (9, 8, 1)]
    for _ in range(level):
        middle: dict[tuple[int, int], int] = {}

        def mid(a: int, b: int, middle: dict[tuple[int, int], int] = middle) -> int:
            key = (min(a, b), max(a, b))
            if key not in middle:
                middle[key] = len(vertices)
                vertices.append(tuple((np.array(vertices[a]) + np.array(vertices[b])) / 2))
            return middle[key]

        split = []
        for a, b, c in faces:
            ab, bc, ca = mid(a, b), mid(b, c), mid(c, a)
            split += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
        faces = split
    points = np.array(vertices, np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True), np.array(faces)


class MeshBuilder:
    """Collects primitives of one object (x forward, y left, z up, metres) and makes a Mesh of them.

    label: Occ3D id that all primitives get from here on; it may be changed between calls.
    """

    def __init__(self, label: int) -> None:
        self.label = label
        self._corners: list[np.ndarray] = []
        self._uv: list[np.ndarray] = []
        self._material: list[np.ndarray] = []
        self._label: list[tuple[int, int]] = []
        self._center: list[tuple[np.ndarray, int]] = []
        self._fill: list[np.ndarray] = []
        self._fill_label: list[tuple[int, int]] = []
        self._materials: dict[Material, int] = {}

    def triangles(self, corners: np.ndarray, uv: np.ndarray, material: Material, center: np.ndarray | None = None) -> None:
        """Raw triangles: corners (T, 3, 3), uv (T, 3, 2) metres. They are turned to face away from center, or up without one."""
        self._push(np.asarray(corners, np.float32), np.asarray(uv, np.float32),
                   np.full(len(corners), self._index(material), np.int32), center)

    def quad(self, points: np.ndarray, material: Material, center: np.ndarray | None = None) -> None:
        """One four-cornered face (4, 3); its texture runs along the first edge, upright along the last."""
        p = np.asarray(points, np.float32)
        width = max(np.linalg.norm(p[1] - p[0]), np.linalg.norm(p[2] - p[3]))
        uv = _UNIT_SQUARE * np.array([width, np.linalg.norm(p[3] - p[0])], np.float32)
        self.triangles(p[_FAN], uv[_FAN], material, center)

    def hexahedron(self, corners: np.ndarray, material: Material, faces: dict[str, Material | None] | None = None,
                   solid: bool = True) -> None:
        """Solid with eight corners (8, 3), numbered by bits (+x 1, +y 2, +z 4); faces overrides materials (None = left out)."""
        p = np.asarray(corners, np.float32)
        chosen = [material if faces is None else faces.get(side, material) for side in SIDES]
        kept = [i for i, m in enumerate(chosen) if m is not None]
        quads = p[_FACE_CORNERS[kept]]
        size = np.sqrt(((quads[:, [1, 3]] - quads[:, :1]) ** 2).sum(axis=2))
        uv = _UNIT_SQUARE * size[:, None]
        index = np.array([self._index(m) for m in chosen if m is not None], np.int32)
        self._push(quads[:, _FAN].reshape(-1, 3, 3), uv[:, _FAN].reshape(-1, 3, 2), np.repeat(index, 2), p.mean(axis=0))
        if solid:
            lengths = np.sqrt(((p[[1, 2, 4]] - p[0]) ** 2).sum(axis=1))
            self._add_fill(_cube_lattice(*(_steps(float(n)) for n in lengths)) @ p)

    def box(self, center: tuple[float, float, float], size: tuple[float, float, float], material: Material,
            faces: dict[str, Material | None] | None = None, solid: bool = True, yaw: float = 0.0) -> None:
        """Box about its centre, turned by yaw (radians)."""
        p = _CUBE * np.asarray(size, np.float32)
        if yaw:
            c, s = np.cos(yaw), np.sin(yaw)
            p = p @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)
        self.hexahedron(p + np.asarray(center, np.float32), material, faces, solid)

    def tapered(self, low: tuple[float, float, float, float], high: tuple[float, float, float, float], z: tuple[float, float],
                material: Material, faces: dict[str, Material | None] | None = None, solid: bool = True) -> None:
        """Solid between two rectangles (x0, x1, y0, y1) at heights z = (z0, z1)."""
        corners = [[r[a], r[2 + b], z[k]] for k, r in enumerate((low, high)) for b in (0, 1) for a in (0, 1)]
        self.hexahedron(np.array(corners), material, faces, solid)

    def beam(self, start: tuple[float, float, float], end: tuple[float, float, float], thickness: tuple[float, float],
             material: Material) -> None:
        """Straight bar with a rectangular section (across, upright) from start to end."""
        a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
        along = b - a
        length = float(np.linalg.norm(along))
        x = along / max(length, 1e-6)
        y = np.array([-x[1], x[0], 0.0]) if abs(x[2]) < 0.95 else np.array([0.0, x[2], -x[1]])
        y = y / np.sqrt(y @ y)
        z = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]]
        frame = np.stack([x, y, z]).astype(np.float32)
        p = (_CUBE * np.array([length, *thickness], np.float32)) @ frame + (a + b) / 2
        self.hexahedron(p, material)

    def prism(self, profile: list[tuple[float, float]], y: tuple[float, float], material: Material,
              ends: Material | None = None, solid: bool = True) -> None:
        """Convex profile of (x, z) points, drawn out from y[0] to y[1]; ends: material of the two flat ends."""
        flat = np.array(profile, np.float32)
        n = len(flat)
        near = np.insert(flat, 1, y[0], axis=1)
        far = np.insert(flat, 1, y[1], axis=1)
        center = (near.mean(axis=0) + far.mean(axis=0)) / 2
        for i in range(n):
            j = (i + 1) % n
            self.quad(np.stack([near[i], far[i], far[j], near[j]]), material, center)
        fan = np.array([[0, i, i + 1] for i in range(1, n - 1)])
        for side in (near, far):
            self.triangles(side[fan], side[fan][:, :, [0, 2]], ends or material, center)
        if solid:
            middle = flat.mean(axis=0)
            rings = [middle + (flat - middle) * f for f in (0.0, 0.35, 0.7, 0.95)]
            inner = np.concatenate(rings + [(r + np.roll(r, 1, axis=0)) / 2 for r in rings[1:]])
            across = np.linspace(*y, max(int(np.ceil(abs(y[1] - y[0]) / FILL_SPACING_M)) + 1, 2))
            points = np.insert(np.repeat(inner, len(across), axis=0), 1, np.tile(across, len(inner)), axis=1)
            self._add_fill(points)

    def cylinder(self, start: tuple[float, float, float], end: tuple[float, float, float], radii: tuple[float, float],
                 material: Material, segments: int = 10, caps: Material | None = None, solid: bool = True) -> None:
        """Cylinder or cone from start to end with a radius at each; caps: material of the two discs."""
        a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
        span = b - a
        length = float(np.sqrt(span @ span))
        x, y, z = (float(c) / max(length, 1e-6) for c in span)
        u = np.array([y, -x, 0.0] if abs(z) < 0.9 else [0.0, z, -y], np.float32)
        u /= np.sqrt(u @ u)
        v = np.array([y * u[2] - z * u[1], z * u[0] - x * u[2], x * u[1] - y * u[0]], np.float32)
        unit, flat = _tube(segments)
        radius = radii[0] + (radii[1] - radii[0]) * unit[..., 2:]
        corners = a + unit[..., 2:] * span + radius * (unit[..., :2] @ np.stack([u, v]))
        center = (a + b) / 2
        self.triangles(corners, flat * np.array([max(radii), length], np.float32), material, center)
        for middle, cap in ((a, radii[0]), (b, radii[1])):
            if cap > 0.01:
                disc = _disc(segments) * np.float32(cap)
                self.triangles(middle + disc @ np.stack([u, v]), disc, caps or material, center)
        if solid:
            inside = _tube_lattice(_steps(length), max(int(np.ceil(max(radii) / FILL_SPACING_M)), 1))
            radius = radii[0] + (radii[1] - radii[0]) * inside[:, 2:]
            self._add_fill(a + inside[:, 2:] * span + radius * (inside[:, :2] @ np.stack([u, v])))

    def ellipsoid(self, center: tuple[float, float, float], radii: tuple[float, float, float], material: Material,
                  level: int = 1, lumps: float = 0.0, rng: np.random.Generator | None = None) -> None:
        """Ellipsoid of 20 * 4**level faces; lumps: relative random displacement of its surface (needs rng)."""
        unit, faces = _sphere(level)
        radius = np.ones(len(unit), np.float32)
        if lumps and rng is not None:
            waves = rng.normal(size=(6, 3)) * 3.2
            radius += lumps * (np.sin(unit @ waves.T + rng.uniform(0, 6.28, 6)).sum(axis=1) / 3 + rng.uniform(-0.5, 0.5, len(unit)))
        scale = np.asarray(radii, np.float32)
        points = unit * radius[:, None].astype(np.float32) * scale + np.asarray(center, np.float32)
        corners = points[faces]
        flat = np.stack([np.arctan2(unit[:, 1], unit[:, 0]) * max(radii[:2]), unit[:, 2] * radii[2] * 1.3], axis=1)[faces]
        seam = flat[:, :, 0].max(axis=1) - flat[:, :, 0].min(axis=1) > 3 * max(radii[:2])
        wrapped = flat[seam]
        wrapped[:, :, 0] = np.where(wrapped[:, :, 0] < 0, wrapped[:, :, 0] + 2 * np.pi * max(radii[:2]), wrapped[:, :, 0])
        flat[seam] = wrapped
        self.triangles(corners, flat, material, np.asarray(center, np.float32))
        self._add_fill(_ball_lattice(*(max(_steps(2 * r), 3) for r in radii)) * scale + np.asarray(center, np.float32))

    def ring(self, center: tuple[float, float, float], radii: tuple[float, float], width: float, material: Material,
             segments: int = 16) -> None:
        """Upright ring (a thin wheel) about the y axis with outer and inner radius, `width` metres thick."""
        angle = np.linspace(0, 2 * np.pi, segments + 1)
        circle = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=1)
        side = np.array([0, width / 2, 0])
        middle = np.asarray(center)
        outer, inner = middle + circle * radii[0], middle + circle * radii[1]
        loops = [
            (outer - side, outer + side),
            (inner + side, inner - side),
            (outer + side, inner + side),
            (inner - side, outer - side),
        ]
        for first, second in loops:
            quads = np.stack([first[:-1], first[1:], second[1:], second[:-1]], axis=1)
            corners = quads[:, _FAN].reshape(-1, 3, 3)
            self.triangles(corners, corners[:, :, [0, 2]], material, middle)

    def _index(self, material: Material) -> int:
        return self._materials.setdefault(material, len(self._materials))

    def _push(self, corners: np.ndarray, uv: np.ndarray, material: np.ndarray, center: np.ndarray | None) -> None:
        self._corners.append(corners)
        self._uv.append(uv)
        self._material.append(material)
        self._label.append((self.label, len(corners)))
        self._center.append((_ABOVE_NOTHING if center is None else center, len(corners)))

    def build(self) -> Mesh:
        """The finished mesh; at least one primitive must have been added."""
        corners, uv = np.concatenate(self._corners).astype(np.float32), np.concatenate(self._uv).astype(np.float32)
        center = np.repeat(np.array([c for c, _ in self._center], np.float32), [n for _, n in self._center], axis=0)
        normal = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        free = np.isnan(center[:, 0])
        outward = np.where(free, normal[:, 2], (normal * (corners.mean(axis=1) - np.where(free[:, None], 0, center))).sum(axis=1))
        wrong = outward < 0
        corners[wrong], uv[wrong] = corners[wrong][:, [0, 2, 1]], uv[wrong][:, [0, 2, 1]]
        empty = np.zeros((0, 3), np.float32)
        return Mesh(corners, uv, np.concatenate(self._material), _repeated(self._label), np.concatenate([empty, *self._fill]),
                    _repeated(self._fill_label), tuple(self._materials))

    def _add_fill(self, points: np.ndarray) -> None:
        self._fill.append(np.asarray(points, np.float32).reshape(-1, 3))
        self._fill_label.append((self.label, len(self._fill[-1])))


_ABOVE_NOTHING = np.full(3, np.nan, np.float32)


def _repeated(runs: list[tuple[int, int]]) -> np.ndarray:
    return np.repeat(np.array([v for v, _ in runs], np.uint8), [n for _, n in runs])


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of (..., 3) arrays."""
    return np.stack([a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1], a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2],
                     a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]], axis=-1)


def triple(values: Iterable[float]) -> tuple[float, float, float]:
    """Three numbers as a tuple of floats: a tint, a place, a size."""
    r, g, b = (float(v) for v in values)
    return r, g, b


def merge(meshes: list[Mesh]) -> Mesh:
    """One mesh of many that are already in one frame; at least one."""
    table: dict[Material, int] = {}
    material = [np.array([table.setdefault(m, len(table)) for m in mesh.materials], np.int32)[mesh.material] for mesh in meshes]
    return Mesh(np.concatenate([m.corners for m in meshes]), np.concatenate([m.uv for m in meshes]), np.concatenate(material),
                np.concatenate([m.label for m in meshes]), np.concatenate([m.fill for m in meshes]),
                np.concatenate([m.fill_label for m in meshes]), tuple(table))

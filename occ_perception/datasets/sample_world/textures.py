"""Procedural textures of a street, packed with their mip levels into one atlas that is read with plain indexing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MIP_LEVELS = 8
_SIZE = 256


@dataclass(frozen=True)
class Atlas:
    """All textures of a street.

    texels: (N,) uint32, bytes R, G, B, 0; each byte is 255 * sqrt(linear reflectance). offset (textures, MIP_LEVELS) int32:
    where a level starts; log2_width, log2_height (textures,) int32 at level 0; per_metre (textures,) float32 texels per metre.
    index: texture name -> row.
    """

    texels: np.ndarray
    offset: np.ndarray
    log2_width: np.ndarray
    log2_height: np.ndarray
    per_metre: np.ndarray
    index: dict[str, int]


def noise(rng: np.random.Generator, shape: tuple[int, int], slope: float = 1.0, stretch: float = 1.0) -> np.ndarray:
    """Tileable noise (h, w) float32 of zero mean and unit deviation, spectrum 1 / f**slope; stretch > 1 draws it out along u."""
    h, w = shape
    fy = np.fft.fftfreq(h)[:, None] * h
    fx = np.fft.rfftfreq(w)[None] * w * stretch
    amplitude = 1 / np.maximum(np.hypot(fx, fy), 1.0) ** slope
    amplitude[0, 0] = 0
    spectrum = amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape))
    out = np.fft.irfft2(spectrum, s=shape)
    return (out / out.std()).astype(np.float32)


def _grey(value: np.ndarray) -> np.ndarray:
    return np.repeat(value[..., None], 3, axis=2)


def _mix(a: tuple[float, float, float], b: tuple[float, float, float], weight: np.ndarray) -> np.ndarray:
    w = np.clip(weight, 0, 1)[..., None]
    return np.asarray(a) * (1 - w) + np.asarray(b) * w


def _grid(shape: tuple[int, int] = (_SIZE, _SIZE)) -> tuple[np.ndarray, np.ndarray]:
    v, u = np.mgrid[:shape[0], :shape[1]]
    return v, u


def _speckle(rng: np.random.Generator, base: float, grain: float, slope: float = 0.3, patches: float = 0.0) -> np.ndarray:
    shape = (_SIZE, _SIZE)
    return _grey(base * (1 + grain * noise(rng, shape, slope) + patches * noise(rng, shape, 1.6)))


def _tiles(rng: np.random.Generator, rows: int, columns: int, shift: bool, joint: float, joint_width: int = 2,
           spread: float = 0.12) -> np.ndarray:
    """Brick or slab pattern (h, w): one brightness per tile, joints darker by the factor `joint`."""
    v, u = _grid()
    row = v * rows // _SIZE
    moved = u + (row % 2) * (_SIZE // columns // 2) * shift
    column = (moved * columns // _SIZE) % columns
    tone = 1 + spread * rng.standard_normal((rows, columns))
    value = tone[row, column] * (1 + 0.06 * noise(rng, (_SIZE, _SIZE), 0.6))
    in_joint = ((v % (_SIZE / rows)) < joint_width) | ((moved % (_SIZE / columns)) < joint_width)
    return np.where(in_joint, joint, value)


def _facade(rng: np.random.Generator) -> np.ndarray:
    """Four window bays of 3.2 m beside each other, two floors (256 x 512 texels, 12.8 x 6.4 m); wall white, to be tinted."""
    h, w = 256, 512
    v, u = _grid((h, w))
    out = _grey(0.8 * (1 + 0.05 * noise(rng, (h, w), 0.8)))
    if rng.random() < 0.5:
        courses = ((v % 6) < 1) | (((u + (v // 6 % 2) * 8) % 16) < 1)
        out *= np.where(courses, 0.75, 1.0)[..., None]
    half_width, low, high = rng.integers(18, 40), rng.integers(26, 46), rng.integers(88, 112)
    frame = rng.uniform(0.25, 0.95)
    panes = rng.integers(1, 4)
    for floor in range(2):
        for bay in range(4):
            cx, v0 = bay * 128 + 64, floor * 128
            dx, dy = np.abs(u - cx), v - v0
            window = (dx < half_width) & (dy > low) & (dy < high)
            rim = (dx < half_width + 5) & (dy > low - 5) & (dy < high + 5) & ~window
            sky = np.clip((dy - low) / (high - low), 0, 1)
            bright = rng.uniform(0.02, 0.16)
            glass = _mix((0.03, 0.035, 0.04), (0.10, 0.14, 0.18), sky * rng.uniform(0.5, 1.5))
            if rng.random() < 0.35:
                glass = _mix((0.35, 0.32, 0.26), (0.5, 0.48, 0.42), np.abs(np.sin(u * 0.4)))
            out[window] = (glass + bright * 0.2)[window]
            bar = window & (((u - cx + half_width) % max(2 * half_width // panes, 6)) < 3)
            out[rim | bar] = frame
            sill = (dx < half_width + 8) & (dy <= low - 5) & (dy > low - 11)
            out[sill] = 0.6
    return out


def _shopfront(rng: np.random.Generator) -> np.ndarray:
    """Ground floor: shop windows with a sign band on top (256 x 512 texels, 12.8 x 6.4 m, lower 3.4 m used)."""
    h, w = 256, 512
    v, u = _grid((h, w))
    out = _grey(0.45 * (1 + 0.06 * noise(rng, (h, w), 0.8)))
    for bay in range(3):
        u0, u1 = bay * 171 + 12, bay * 171 + 159
        inside = (u > u0) & (u < u1)
        window = inside & (v > 22) & (v < 96)
        shade = noise(rng, (h, w), 1.5)
        out[window] = np.clip(_mix((0.05, 0.05, 0.06), (0.35, 0.3, 0.25), 0.3 + 0.25 * shade), 0.02, 1)[window]
        out[window & ((u - u0) % 49 < 3)] = 0.15
        door = (u > u0 + 60) & (u < u0 + 88) & (v < 90) & (v > 2)
        out[door] = np.array(rng.uniform(0.05, 0.3, 3))
        sign = inside & (v > 102) & (v < 126)
        out[sign] = rng.uniform(0.05, 0.7, 3)
        letters = (
            sign
            & (v > 107)
            & (v < 121)
            & (np.sin(u * 0.55 + rng.uniform(0, 6)) + np.sin(u * 0.23) > 0.1)
            & (u > u0 + 15)
            & (u < u1 - 15)
        )
        out[letters] = 0.85
    return out


def road_texture(rng: np.random.Generator, width: float, lines: list[tuple[float, float, float, str]]) -> np.ndarray:
    """Asphalt over the whole road (512 across = width metres, 1024 along = 24 m) with painted lines.

    lines: (place across in metres from the left edge of the texture, dash length, gap length (0 = solid), 'white' or 'yellow').
    """
    h, w = 512, 1024
    v, u = _grid((h, w))
    across, along = (v + 0.5) * width / h, (u + 0.5) * 24.0 / w
    tone = rng.uniform(0.055, 0.115)
    base = tone * (1 + 0.16 * noise(rng, (h, w), 0.25) + 0.10 * noise(rng, (h, w), 1.3, 3.0) + 0.05 * noise(rng, (h, w), 1.8))
    cracks = np.abs(noise(rng, (h, w), 1.4)) < 0.012
    base = np.where(cracks, base * 0.55, base)
    for _ in range(rng.integers(0, 4)):
        x0, y0 = rng.uniform(0, 20), rng.uniform(0, width - 2)
        patch = (along > x0) & (along < x0 + rng.uniform(1, 4)) & (across > y0) & (across < y0 + rng.uniform(0.8, 2.5))
        base = np.where(patch, base * rng.uniform(0.7, 0.9), base)
    cool = rng.uniform(-0.04, 0.05)
    out = base[..., None] * np.array([1 - cool, 1.0, 1 + cool])
    wear = np.clip(0.75 + 0.35 * noise(rng, (h, w), 0.7), 0.15, 1)[..., None]
    for place, dash, gap, colour in lines:
        painted = np.abs(across - place) < 0.075
        if gap:
            painted &= (along % (dash + gap)) < dash
        paint = np.array([0.72, 0.72, 0.70]) if colour == 'white' else np.array([0.68, 0.44, 0.06])
        out = np.where(painted[..., None], out * (1 - wear) + paint * wear, out)
    return out


def _rails(rng: np.random.Generator) -> np.ndarray:
    """Ballast with sleepers and two rails along u; 256 texels = 3.2 m."""
    v, u = _grid()
    out = _mix((0.10, 0.085, 0.075), (0.32, 0.28, 0.25), 0.5 + 0.35 * noise(rng, (_SIZE, _SIZE), 0.15))
    sleeper = ((u % 51) < 18) & (np.abs(v - 128) < 100)
    out[sleeper] = np.array([0.16, 0.12, 0.09]) * (1 + 0.15 * noise(rng, (_SIZE, _SIZE), 0.8, 0.3))[sleeper][:, None]
    for rail in (72, 184):
        out[np.abs(v - rail) < 6] = (0.12, 0.07, 0.05)
        out[np.abs(v - rail) < 3] = (0.6, 0.6, 0.62)
    return out


def _stripes(first: tuple[float, float, float], second: tuple[float, float, float], period: int, slant: int) -> np.ndarray:
    v, u = _grid()
    return np.where((((u + slant * v) % period) < period // 2)[..., None], np.asarray(first), np.asarray(second))


def _leaves(rng: np.random.Generator, dark: tuple[float, float, float], light: tuple[float, float, float]) -> np.ndarray:
    n = noise(rng, (_SIZE, _SIZE), 0.55)
    out = _mix(dark, light, 0.42 + 0.33 * n)
    return np.where((noise(rng, (_SIZE, _SIZE), 0.7) < -1.25)[..., None], out * 0.3, out)


def _corrugated(rng: np.random.Generator) -> np.ndarray:
    _, u = _grid()
    wave = 0.62 + 0.30 * np.sin(2 * np.pi * u / 32)
    return _grey(wave * (1 + 0.05 * noise(rng, (_SIZE, _SIZE), 1.2, 0.3)))


def _planks(rng: np.random.Generator) -> np.ndarray:
    _, u = _grid()
    board = u * 8 // _SIZE
    tone = (1 + 0.15 * rng.standard_normal(8))[board] * (1 + 0.12 * noise(rng, (_SIZE, _SIZE), 0.9, 6.0).T)
    out = _mix((0.20, 0.13, 0.07), (0.42, 0.29, 0.17), 0.5 * tone)
    return np.where(((u % 32) < 2)[..., None], 0.03, out)


def _panel(rng: np.random.Generator) -> np.ndarray:
    """Smooth painted sheet with faint seams and dirt towards its foot."""
    _, u = _grid()
    return _grey((0.92 + 0.03 * noise(rng, (_SIZE, _SIZE), 1.4)) * np.where((u % 128) < 2, 0.75, 1.0))


def _water(rng: np.random.Generator) -> np.ndarray:
    return _mix((0.02, 0.07, 0.10), (0.20, 0.32, 0.38), 0.35 + 0.22 * noise(rng, (_SIZE, _SIZE), 0.9, 0.5))


def _hatch(rng: np.random.Generator) -> np.ndarray:
    out = _stripes((0.60, 0.40, 0.07), (0.16, 0.14, 0.13), 64, 1)
    return out * (1 + 0.10 * noise(rng, (_SIZE, _SIZE), 0.5))[..., None]


def _clouds(rng: np.random.Generator) -> np.ndarray:
    return _grey(np.clip(0.5 + 0.25 * noise(rng, (_SIZE, _SIZE), 1.35), 0, 1))


def _glass(rng: np.random.Generator) -> np.ndarray:
    v, _ = _grid()
    return _mix((0.015, 0.018, 0.02), (0.08, 0.10, 0.12), 0.4 + 0.25 * noise(rng, (_SIZE, _SIZE), 1.7) + 0.2 * np.sin(v * 0.05))


def _text_panel(rng: np.random.Generator) -> np.ndarray:
    """White sheet with a big block of lettering and a coloured band, as on delivery lorries."""
    v, u = _grid()
    out = _grey(0.85 + 0.03 * noise(rng, (_SIZE, _SIZE), 1.4))
    colour = rng.uniform(0.02, 0.6, 3)
    low = rng.integers(60, 110)
    out[(v > low) & (v < low + 14)] = colour
    letters = (v > low + 24) & (v < low + 60) & ((u % 28) < 18) & (u > 40) & (u < 200)
    out[letters] = colour * 0.6
    return out


_Maker = Callable[[np.random.Generator], np.ndarray]
_MAKERS: dict[str, tuple[float, _Maker]] = {
    'asphalt': (40.0, lambda g: _speckle(g, g.uniform(0.06, 0.11), 0.16, 0.25, 0.10)),
    'slabs': (64.0, lambda g: _grey(0.36 * _tiles(g, 8, 8, False, 0.45))),
    'bricks_flat': (96.0, lambda g: _mix((0.22, 0.12, 0.09), (0.46, 0.28, 0.21), _tiles(g, 24, 12, True, 0.1) - 0.5)),
    'cobbles': (96.0, lambda g: _grey(0.30 * _tiles(g, 20, 20, True, 0.3, 3, 0.2))),
    'kerb': (64.0, lambda g: _grey(0.50 * _tiles(g, 4, 4, False, 0.6))),
    'grass': (
        48.0,
        lambda g: _mix(
            (0.045, 0.075, 0.015),
            (0.20, 0.28, 0.06),
            0.45 + 0.25 * noise(g, (_SIZE, _SIZE), 0.35) + 0.15 * noise(g, (_SIZE, _SIZE), 1.5),
        ),
    ),
    'soil': (48.0, lambda g: _mix((0.12, 0.075, 0.04), (0.34, 0.24, 0.14), 0.5 + 0.25 * noise(g, (_SIZE, _SIZE), 0.6))),
    'gravel': (56.0, lambda g: _mix((0.20, 0.19, 0.18), (0.66, 0.63, 0.58), 0.5 + 0.30 * noise(g, (_SIZE, _SIZE), 0.1))),
    'rails': (80.0, _rails),
    'water': (32.0, _water),
    'hatch': (48.0, _hatch),
    'court': (48.0, lambda g: _mix((0.30, 0.09, 0.07), (0.40, 0.13, 0.10), 0.5 + 0.3 * noise(g, (_SIZE, _SIZE), 0.5))),
    'crossing': (
        51.2,
        lambda g: (
            _stripes((0.66, 0.66, 0.64), (0.085, 0.085, 0.088), 51, 0) * (1 + 0.12 * noise(g, (_SIZE, _SIZE), 0.5))[..., None]
        ),
    ),
    'facade_a': (40.0, _facade),
    'facade_b': (40.0, _facade),
    'facade_c': (40.0, _facade),
    'shopfront': (40.0, _shopfront),
    'brick_wall': (96.0, lambda g: _mix((0.26, 0.13, 0.09), (0.50, 0.27, 0.20), _tiles(g, 32, 12, True, 0.2) - 0.5)),
    'plaster': (48.0, lambda g: _speckle(g, 0.75, 0.05, 0.9, 0.05)),
    'concrete': (48.0, lambda g: _speckle(g, 0.46, 0.07, 0.7, 0.08)),
    'roof': (64.0, lambda g: _mix((0.16, 0.06, 0.04), (0.36, 0.15, 0.10), _tiles(g, 20, 14, True, 0.1) - 0.5)),
    'planks': (128.0, _planks),
    'leaves_a': (96.0, lambda g: _leaves(g, (0.012, 0.035, 0.008), (0.13, 0.24, 0.04))),
    'leaves_b': (80.0, lambda g: _leaves(g, (0.02, 0.04, 0.008), (0.22, 0.27, 0.05))),
    'needles': (96.0, lambda g: _leaves(g, (0.006, 0.022, 0.012), (0.06, 0.14, 0.06))),
    'bark': (128.0, lambda g: _mix((0.06, 0.045, 0.03), (0.24, 0.18, 0.13), 0.5 + 0.3 * noise(g, (_SIZE, _SIZE), 0.8, 4.0).T)),
    'paint': (48.0, lambda g: _speckle(g, 0.92, 0.015, 0.4, 0.02)),
    'panel': (64.0, _panel),
    'lettering': (80.0, _text_panel),
    'corrugated': (128.0, _corrugated),
    'glass': (64.0, _glass),
    'rubber': (96.0, lambda g: _speckle(g, 0.025, 0.15)),
    'steel': (96.0, lambda g: _speckle(g, 0.50, 0.08, 0.9, 0.05)),
    'fabric': (160.0, lambda g: _speckle(g, 0.80, 0.06, 0.8, 0.12)),
    'skin': (96.0, lambda g: _speckle(g, 0.90, 0.03)),
    'hazard': (160.0, lambda g: _stripes((0.75, 0.50, 0.03), (0.02, 0.02, 0.02), 64, 1)),
    'red_white': (160.0, lambda g: _stripes((0.60, 0.03, 0.02), (0.80, 0.80, 0.80), 64, 1)),
    'lamp': (64.0, lambda g: np.full((_SIZE, _SIZE, 3), 0.9)),
    'bag': (128.0, lambda g: _speckle(g, 0.55, 0.25, 0.9)),
    'cardboard': (96.0, lambda g: _mix((0.30, 0.20, 0.11), (0.46, 0.33, 0.20), 0.5 + 0.2 * noise(g, (_SIZE, _SIZE), 0.8))),
    'fur': (128.0, lambda g: _speckle(g, 0.75, 0.18, 0.6)),
    'clouds': (64.0, _clouds),
}


def make_atlas(rng: np.random.Generator, extra: dict[str, tuple[float, float, np.ndarray]] | None = None) -> Atlas:
    """Every texture of a street, drawn anew from rng; extra: name -> (texels per metre along u, along v, image (h, w, 3)).

    Sides must be powers of two. Textures with unlike densities are given uv already scaled by the caller: per_metre is u's.
    """
    images = {name: (density, maker(rng)) for name, (density, maker) in _MAKERS.items()}
    images.update({name: (along, image) for name, (along, _, image) in (extra or {}).items()})
    count = len(images)
    offset = np.zeros((count, MIP_LEVELS), np.int32)
    log2 = np.zeros((2, count), np.int32)
    density = np.zeros(count, np.float32)
    chunks, start = [], 0
    for row, (per_metre, image) in enumerate(images.values()):
        level = np.clip(image, 0, 1).astype(np.float32)
        log2[:, row] = int(np.log2(level.shape[1])), int(np.log2(level.shape[0]))
        density[row] = per_metre
        for mip in range(MIP_LEVELS):
            h, w = level.shape[:2]
            packed = np.zeros((h, w, 4), np.uint8)
            packed[..., :3] = np.sqrt(level) * 255 + 0.5
            chunks.append(packed.reshape(-1, 4).view(np.uint32).ravel())
            offset[row, mip] = start
            start += h * w
            level = level.reshape(h // 2, 2, w // 2, 2, 3).mean(axis=(1, 3))
    return Atlas(np.concatenate(chunks), offset, log2[0], log2[1], density, {name: i for i, name in enumerate(images)})

"""Light of a street by seed: sun and sky for clear, hazy, overcast and dusk."""

from __future__ import annotations

import numpy as np

from occ_perception.datasets.sample_world.mesh import triple
from occ_perception.datasets.sample_world.street import Light


def make_light(rng: np.random.Generator) -> Light:
    """Random light; the kinds occur 40 (clear), 20 (hazy), 25 (overcast) and 15 (dusk) times in a hundred."""
    kind = str(rng.choice(['clear', 'hazy', 'overcast', 'dusk'], p=[0.40, 0.20, 0.25, 0.15]))
    azimuth = rng.uniform(-np.pi, np.pi)
    elevation = np.radians({'clear': rng.uniform(28, 62), 'hazy': rng.uniform(22, 55), 'overcast': rng.uniform(60, 85),
                            'dusk': rng.uniform(9, 18)}[kind])
    direction = (np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation))
    sun, ambient, horizon, zenith, clouds, haze, soft, exposure, glow = {
        'clear': ((2.5, 2.35, 2.05), (0.50, 0.60, 0.78), (0.72, 0.82, 0.95), (0.16, 0.32, 0.66), 0.55, 900.0, 0.01, 0.66, 1.0),
        'hazy': ((1.7, 1.6, 1.42), (0.66, 0.72, 0.80), (0.85, 0.87, 0.88), (0.42, 0.55, 0.72), 0.7, 260.0, 0.02, 0.66, 1.0),
        'overcast': ((0.55, 0.56, 0.58), (0.95, 0.98, 1.02), (0.92, 0.93, 0.95), (0.66, 0.68, 0.72), 1.0, 420.0, 0.70, 0.78, 1.2),
        'dusk': ((1.5, 0.95, 0.50), (0.36, 0.38, 0.52), (0.98, 0.66, 0.42), (0.14, 0.20, 0.42), 0.6, 420.0, 0.015, 1.5, 1.6),
    }[kind]
    warm = rng.uniform(0.94, 1.06)
    return Light(
        kind,
        triple(direction),
        (sun[0] * warm, sun[1], sun[2] / warm),
        ambient,
        horizon,
        zenith,
        clouds * float(rng.uniform(0.6, 1.1)),
        haze * float(rng.uniform(0.8, 1.3)),
        soft,
        exposure * float(rng.uniform(0.85, 1.15)),
        glow,
    )

"""The street of a demo seed: generated once, kept in the data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TRUTH_HZ = 5.0


@dataclass(frozen=True)
class DemoStreet:
    """A generated street on disk: its seed, its bag, its folder of truth by stamp."""

    seed: int
    bag: Path
    truth: Path


def prepare_street(seed: int, seconds: float, data: Path) -> DemoStreet:
    """Street number `seed` of the demo, `seconds` long, under data; generated when it is not there yet.

    Demo streets have seeds of their own, apart from those of training and of the card. Raises ValueError for a negative seed
    or less than a second.
    """
    from occ_perception.datasets.sample_world.rig import KEYFRAME_RATE_HZ
    from occ_perception.datasets.sample_world.scene_writer import SceneOptions, scene_name
    from occ_perception.datasets.sample_world.world_writer import write_world
    from occ_perception.training.prepare import FIRST_DEMO_STREET

    if seed < 0 or seconds < 1:
        raise ValueError(f'--seed {seed} --seconds {seconds:g}: the seed must not be negative, the drive at least 1 s long')
    keyframes = round(seconds * KEYFRAME_RATE_HZ) + 1
    street, root = FIRST_DEMO_STREET + seed, data / f'demo-{seconds:g}s'
    write_world(root, [street], SceneOptions(keyframes, sweeps=True, bags=True, truth_hz=TRUTH_HZ))
    return DemoStreet(street, root / 'bags' / scene_name(street), root / 'truth' / scene_name(street))

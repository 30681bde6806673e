"""Which scenes belong to which split: the official nuScenes lists, and what annotations.json of other trees says."""

from __future__ import annotations

import json
from pathlib import Path

from occ_perception.datasets.nuscenes import NuScenes, Scene, shortened

_VAL = ((3, 3), (12, 18), (35, 36), (38, 39), (92, 110), (221, 221), (268, 278), (329, 332), (344, 346), (519, 524), (552, 565),
        (625, 627), (629, 630), (632, 638), (770, 771), (775, 775), (777, 778), (780, 784), (794, 800), (802, 802), (904, 917),
        (919, 931), (962, 963), (966, 969), (971, 972), (1059, 1073))
"""First and last numbers of the runs of scenes that make the official validation split."""
VAL = frozenset(f'scene-{number:04d}' for first, last in _VAL for number in range(first, last + 1))
"""The 150 validation scenes; the other 700 of v1.0-trainval are the training split."""
MINI_VAL = frozenset(('scene-0103', 'scene-0916'))
"""The two validation scenes of v1.0-mini; its other eight are for training."""


def split_scenes(tables: NuScenes, split: str) -> tuple[Scene, ...]:
    """Scenes of a split, in the order of the table.

    split: 'train' or 'val' (of v1.0-mini its own: mini_train, mini_val, which may be written so), 'test', 'all', or the names of
    scenes with commas between them. Trees of other versions say in annotations.json what is for training. Raises ValueError for
    a split or a scene that the tree has not, FileNotFoundError when annotations.json is needed and absent.
    """
    scenes = tables.scenes()
    there = {scene.name: scene for scene in scenes}
    wanted = split.split(',')
    if split == 'all':
        return scenes
    if all(name in there for name in wanted):
        return tuple(there[name] for name in wanted)
    kind = tables.version.removeprefix('v1.0-')
    name = split.removeprefix('mini_') if kind == 'mini' else split
    if kind == 'test' and name == 'test':
        return scenes
    if kind in ('trainval', 'mini') and name in ('train', 'val'):
        held_out = VAL if kind == 'trainval' else MINI_VAL
        return tuple(scene for scene in scenes if (scene.name in held_out) == (name == 'val'))
    if kind not in ('trainval', 'mini', 'test') and name in ('train', 'val'):
        listed = _listed(tables.root / 'annotations.json', f'{name}_split')
        return tuple(scene for scene in scenes if scene.name in listed)
    raise ValueError(f'{tables.root} ({tables.version}) has no split or scene {split!r}. Choose train, val, test or all as far as '
                     f'this version has it, or some of its scenes: {shortened(list(there))}')


def _listed(path: Path, key: str) -> set[str]:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file, and it says which scenes are for training. `occ world` writes it; '
                                'or name the scenes, or all')
    try:
        return set(json.loads(path.read_text())[key])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is damaged ({error!r}): it needs lists train_split and val_split of scene names') from error

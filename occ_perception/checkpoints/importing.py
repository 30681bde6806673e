"""Turns a published checkpoint into weights of this suite: variant told, keys checked, safetensors and manifest written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from occ_perception import __version__
from occ_perception.catalogue import ALIASES, NETWORKS
from occ_perception.checkpoints.differences import describe_differences
from occ_perception.checkpoints.layouts import Stored, Weights, is_turned, read_weights, respelled, turned
from occ_perception.checkpoints.variants import Shapes, Variant, closest, variant_of
from occ_perception.checkpoints.weights import CONSTANTS, load_stored, save_weights
from occ_perception.manifest import FIELD, Manifest, Source
from occ_perception.networks.build import build_network
from occ_perception.networks.panoocc.config import PUBLISHED_FILES

_CHUNK = 1 << 24
README_PARAMETERS = {
    ('panoptic-flashocc-r50-depth', 50_123_118): "The authors' README gives this form's 50.12 M parameters for their weights"}
"""(network, parameters) of forms that differ from the configuration under whose name they were published -> what is known."""


@dataclass(frozen=True)
class Imported:
    """Result of an import. notes: what a reader should know of it, one sentence each."""

    weights: Path
    manifest: Manifest
    notes: tuple[str, ...]


def import_checkpoint(path: Path, network: str | None = None, out: Path | None = None, half: bool = False, part: str = 'auto',
                      depth: Sequence[float] | None = None, spacing: str | None = None, without: Sequence[str] = ()) -> Imported:
    """Write the weights of a checkpoint as safetensors, with a manifest inside and as JSON next to it.

    network: its name in the catalogue, None: told from the shapes. out: file to write, None: PATH with .safetensors. half: store
    matrices as float16. part: see layouts.read_weights. depth: (first, end, step) of the depth bins [m], spacing: 'linear' or
    'sid', where they are not the catalogue's (spacing leaves no trace in shapes). without: prefixes of keys to leave out.
    Raises FileNotFoundError, or ValueError when the file is no checkpoint, or fits no network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    if path.suffix == '.safetensors':
        raise ValueError(f'{path} is in the format already that importing writes: give it as --weights')
    out = path.with_suffix('.safetensors') if out is None else Path(out)
    if out.suffix != '.safetensors':
        raise ValueError(f'{out} is to be written as safetensors: end its name in .safetensors')
    weights = read_weights(path, part)
    stored = {key: value for key, value in respelled(weights.state).items() if not key.startswith(tuple(without))}
    shapes = {key: tuple(value.shape) for key, value in stored.items()}
    variant = _chosen(path, stored, shapes, network, weights)
    lift = _lift_changes(variant, depth, spacing)
    row = replace(variant.row, changes=dict(variant.changes), lift=variant.row.lift and replace(variant.row.lift, **lift))
    with torch.device('meta'):
        wanted = build_network(row)
    parameters = sum(value.numel() for value in wanted.parameters())
    state = _checked(path, stored, wanted.state_dict(), variant)
    source = Source(path.name, sha256(path), weights.part, weights.epoch)
    manifest = Manifest(row.name, source, parameters, f'occ_perception {__version__}', row.changes, lift)
    save_weights(state, out, {'network': row.name, FIELD: manifest.to_json()}, half)
    out.with_suffix('.json').write_text(manifest.to_json() + '\n')
    notes = (*weights.notes, *_form_notes(variant, shapes, parameters), *_depth_notes(variant, depth, spacing),
             *_name_notes(variant, weights.trained_as))
    return Imported(out, manifest, notes)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; shows progress on a terminal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file, tqdm(total=path.stat().st_size, unit='B', unit_scale=True, desc=f'hashing {path.name}',
                                        disable=None, leave=False) as progress:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            progress.update(len(chunk))
    return digest.hexdigest()


def _chosen(path: Path, stored: Mapping[str, Stored], shapes: Shapes, network: str | None, weights: Weights) -> Variant:
    """The variant of the network that was asked for, or of the one that the shapes tell."""
    candidates = closest(shapes)
    if not candidates:
        nearest = (min((variant_of(shapes, name) for name in NETWORKS), key=lambda variant: variant.distance) if network is None
                   else variant_of(shapes, network))
        with torch.device('meta'):
            wanted = build_network(nearest.name).state_dict()
        raise ValueError(f'{path} fits no network of the catalogue. Compared with {nearest.name}, it has '
                         + '; '.join(nearest.obstacles) + f'.\n{describe_differences(stored, wanted)}')
    if network is not None:
        variant = variant_of(shapes, network)
        if variant.obstacles:
            raise ValueError(f'{path} is no {network}. It has ' + '; '.join(variant.obstacles)
                             + f'. The shapes are those of {_listing(candidates)}')
        return variant
    if len(candidates) > 1:
        told = {Path(weights.trained_as).stem, path.stem}
        told |= {ALIASES.get(name, name) for name in told}
        hinted = [variant for variant in candidates
                  if told & {variant.name, PUBLISHED_FILES.get(variant.name, '').split('_', 1)[-1]}]
        # the same network under two names: -pano for the one with instance centres
        same = [variant for variant in candidates
                if variant.name.endswith('-pano') == variant.changes.get('centers', variant.row.instances)]
        candidates = hinted or (same if _one_network(candidates) else candidates)
    if len(candidates) > 1:
        raise ValueError(f'{path} fits {_listing(candidates)} equally well: say which with --network')
    return candidates[0]


def _one_network(variants: Sequence[Variant]) -> bool:
    def described(variant: Variant) -> Any:
        row = variant.row
        return variant.changes, row.family, row.preprocessing, row.lift, row.history, row.parameters, row.center_threshold
    return all(described(variant) == described(variants[0]) for variant in variants)


def _listing(variants: Sequence[Variant]) -> str:
    return ' and '.join(variant.name + (f' ({", ".join(variant.words)})' if variant.words else '') for variant in variants)


def _lift_changes(variant: Variant, depth: Sequence[float] | None, spacing: str | None) -> dict[str, Any]:
    """Fields of the network's LiftSpec that these weights have otherwise."""
    lift = variant.row.lift
    if lift is None:
        if depth is not None or spacing is not None:
            raise ValueError(f'{variant.name} has no depth bins: leave --depth and --spacing out')
        return {}
    bins = variant.depth if depth is None else tuple(depth)
    if bins is None and variant.bins != lift.bins:
        raise ValueError(f'the weights have {variant.bins} depth bins, {variant.name} has {lift.bins}: say where they lie, as in '
                         f'--depth {lift.depth_start:g} {lift.depth_stop:g} '
                         f'{(lift.depth_stop - lift.depth_start) / variant.bins:.4g} (first, end, step in metres)')
    start, stop, step = bins or (lift.depth_start, lift.depth_stop, lift.depth_step)
    changed = replace(lift, depth_start=start, depth_stop=stop, depth_step=step, spacing=spacing or lift.spacing)
    if changed.bins != variant.bins:
        raise ValueError(f'depths from {start:g} to {stop:g} m in steps of {step:g} m are {changed.bins} bins, the weights have '
                         f'{variant.bins}')
    return {name: getattr(changed, name) for name in ('depth_start', 'depth_stop', 'depth_step', 'spacing')
            if getattr(changed, name) != getattr(lift, name)}


def _checked(path: Path, stored: Mapping[str, Stored], wanted: Mapping[str, Tensor], variant: Variant) -> dict[str, Tensor]:
    """The tensors of a checkpoint, read; exactly the network's keys and shapes, in numbers that safetensors keeps."""
    optional = [key for key in wanted if key not in stored and key.endswith(CONSTANTS)]
    expected = {key: value for key, value in wanted.items() if key not in optional}
    kernels = {key for key, value in expected.items() if key in stored and is_turned(stored[key].shape, value.shape)}
    differences = describe_differences({key: expected[key] if key in kernels else stored[key] for key in stored}, expected)
    if differences:
        extra = dict.fromkeys(key.split('.')[0] for key in stored if key not in wanted)
        own = {key.split('.')[0] for key in wanted}
        beside = [name for name in extra if name not in own]
        mend = ('\nIf they are for training or another task only, leave them out: --without ' + ' '.join(beside)
                if beside else '')
        form = f' with {", ".join(variant.words)}' if variant.words else ''
        raise ValueError(f'{path} does not fit {variant.name}{form}:\n{differences}{mend}')
    state = {}
    for key in tqdm(wanted, unit='tensor', desc=f'reading {path.name}', disable=None, leave=False):
        if key in optional:
            continue
        value = load_stored(path, key, stored[key])
        value = turned(value) if key in kernels else value
        kept = wanted[key].dtype
        state[key] = value if kept == torch.float32 and value.dtype == torch.float16 else value.to(kept)
    return state


def _form_notes(variant: Variant, shapes: Shapes, parameters: int) -> list[str]:
    if not variant.words:
        return []
    notes = [f'Its form differs from the configuration {variant.name}: ' + ', '.join(variant.words)]
    known = README_PARAMETERS.get((variant.name, parameters))
    better = [other for other in closest(shapes) if other.distance < variant.distance]
    return notes + ([known] if known else []) + ([f'The shapes fit {_listing(better)} better'] if better else [])


def _depth_notes(variant: Variant, depth: Sequence[float] | None, spacing: str | None) -> list[str]:
    """What was taken for granted, since no shape shows it."""
    notes = []
    if depth is None and variant.depth is not None:
        start, stop, step = variant.depth
        notes.append(f'{variant.bins} depth bins are taken to lie from {start:g} to {stop:g} m, {step:g} m apart; '
                     '--depth says otherwise')
    if spacing is None and variant.row.lift is not None and variant.row.lift.spacing == 'sid':
        notes.append('Depth bins are taken to grow with distance, as in its configuration (no shape shows it); '
                     '--spacing linear says otherwise')
    return notes


def _name_notes(variant: Variant, trained_as: str) -> list[str]:
    name = Path(trained_as).stem
    return [f'Its metadata says that it was trained with {trained_as}'] if name in NETWORKS and name != variant.name else []

"""What imported weights are: network, form, preprocessing, classes, where they came from. Imports no torch.

A manifest stands in the metadata of a .safetensors file and of what is exported from it, and as JSON next to it for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from occ_perception.catalogue import NetworkEntry, entry, key_frames
from occ_perception.engines.onnx_metadata import onnx_metadata

FIELD = 'manifest'
"""Key of the manifest in the metadata of a .safetensors file."""
_DEPTH = ('depth_start', 'depth_stop', 'depth_step', 'spacing')


@dataclass(frozen=True)
class Source:
    """The checkpoint that weights were read from.

    part: what of it ("state_dict" ...). epoch: after which it was written, None where it does not say.
    """

    file: str
    sha256: str
    part: str
    epoch: int | None = None


@dataclass(frozen=True)
class Manifest:
    """What a weights file is.

    network: name in the catalogue. changes: fields of its configuration that these weights have otherwise. lift: fields of its
    LiftSpec that differ (depth bins). parameters: learnt numbers. tool: name and version of the program that wrote it.
    """

    network: str
    source: Source
    parameters: int
    tool: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    lift: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> NetworkEntry:
        """The catalogue's row of the network in the form of these weights."""
        row = entry(self.network)
        history = row.history
        if 'past_frames' in self.changes:
            history = replace(key_frames(self.changes['past_frames'], row.history.stereo), tolerance_s=history.tolerance_s)
        return replace(row, changes=dict(self.changes), lift=row.lift and replace(row.lift, **self.lift), history=history,
                       instances=self.changes.get('centers', row.instances), parameters=self.parameters)

    def to_json(self) -> str:
        """JSON, with what the network's row says of its inputs and outputs."""
        row = self.row()
        facts = {
            'network': self.network, 'summary': row.summary, 'tool': self.tool, 'changes': dict(self.changes), 'frames': row.frames,
            'parameters': self.parameters, 'source': asdict(self.source), **_fixed(row),
            'lift': {} if row.lift is None else {name: getattr(row.lift, name) for name in _DEPTH} | {'bins': row.lift.bins}}
        return '{\n' + ',\n'.join(f' {json.dumps(name)}: {json.dumps(value)}' for name, value in facts.items()) + '\n}'

    @classmethod
    def from_json(cls, text: str, place: str | Path) -> Manifest:
        """Read to_json. place: names the file in errors. Raises ValueError when it is none, or made for other inputs or classes
        than this version's."""
        try:
            stored = json.loads(text)
            row = entry(stored['network'])
            lift = {} if row.lift is None else {name: stored['lift'][name] for name in _DEPTH
                                                if stored['lift'][name] != getattr(row.lift, name)}
            changes = {name: tuple(value) if isinstance(value, list) else value for name, value in stored['changes'].items()}
            manifest = cls(row.name, Source(**stored['source']), stored['parameters'], stored['tool'], changes, lift)
            fixed = json.loads(json.dumps(_fixed(row)))
            changed = [name for name, value in fixed.items() if stored[name] != value]
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f'the manifest of {place} is damaged ({error!r}): import the checkpoint again') from error
        if changed:
            raise ValueError(f'{place} was made by {manifest.tool}, whose {row.name} has other {", ".join(changed)}: import its '
                             f'checkpoint {manifest.source.file} again')
        return manifest


def _fixed(row: NetworkEntry) -> dict[str, Any]:
    """What no variant of a network changes: its images, cameras, points, grid and classes."""
    lidar = {} if row.lidar is None else {'lidar': asdict(row.lidar)}
    return {'preprocessing': asdict(row.preprocessing), 'cameras': row.cameras, 'grid': asdict(row.grid), **lidar,
            'classes': [info.name for info in row.labels.classes]}


def read_manifest(path: str | Path) -> Manifest | None:
    """Manifest of a .safetensors or .onnx file; None for other files, and for those without one.

    Raises ValueError when it is damaged or does not fit this version.
    """
    path = Path(path)
    readers = {'.safetensors': _safetensors_metadata, '.onnx': onnx_metadata}
    if path.suffix not in readers:
        return None
    try:
        with open(path, 'rb') as file:
            text = readers[path.suffix](file).get(FIELD)
    except (ValueError, AttributeError, MemoryError, OverflowError) as error:
        raise ValueError(f'{path} is no whole {path.suffix[1:]} file ({error}): copy it again') from error
    return None if text is None else Manifest.from_json(text, path)


def _safetensors_metadata(file: BinaryIO) -> dict[str, str]:
    header = json.loads(file.read(int.from_bytes(file.read(8), 'little')))
    return header.get('__metadata__', {})


def entry_of_weights(row: NetworkEntry, weights: str | Path | None) -> NetworkEntry:
    """A network's row in the form of the given weights: what their manifest changes is changed.

    The row itself where there are no weights, or no manifest in them. Raises ValueError when they are another network's.
    """
    if weights is None or not Path(weights).expanduser().is_file():
        return row
    manifest = read_manifest(Path(weights).expanduser())
    if manifest is None:
        return row
    if manifest.network != row.name:
        raise ValueError(f'{weights} holds weights of {manifest.network}, not of {row.name}: choose that network, or other weights')
    return manifest.row()

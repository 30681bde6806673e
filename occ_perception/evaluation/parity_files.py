"""The files of a network that are compared: its checkpoint for PyTorch, its ONNX export for everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from occ_perception import catalogue
from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.onnx_metadata import exported_from, metadata_of, sha256_of
from occ_perception.engines.precision import graph_files
from occ_perception.engines.protocol import EXACT
from occ_perception.engines.select import RANDOM_WEIGHTS, find_weights
from occ_perception.manifest import entry_of_weights

CHECKPOINTS = '.safetensors', '.pth'


@dataclass
class NetworkFiles:
    """One network in two forms. checkpoint: None where torch or the file is not there. note: why, or where the ONNX is from.

    onnx: the float32 file; narrow ones stand beside it. folder: for what has to be made.
    """

    row: NetworkEntry
    checkpoint: Path | None
    onnx: Path
    memory: str
    folder: Path
    note: str = ''

    def trusted_onnx(self) -> Path:
        """The float32 file that layers are held against."""
        return self._fresh if self.suspect and self.checkpoint is not None else self.onnx

    suspect: bool = False
    """Set when the float32 file itself is refused: what it is held against is then exported anew."""

    @cached_property
    def _fresh(self) -> Path:
        assert self.checkpoint is not None
        return _export(self.row, self.checkpoint, self.folder / f'{self.row.name}.anew.onnx', self.memory)


def network_files(network: str, weights: str | None, folder: Path, memory: str = EXACT,
                  on_export: Callable[[Path], None] = lambda path: None) -> NetworkFiles:
    """Find both forms of a network, make the one that can be made.

    weights: None for those that ship; a checkpoint, with its export beside it or exported now into the folder; an ONNX file, with
    its checkpoint beside it or none; or 'random'. on_export: told before an export, which takes up to minutes. Raises ValueError
    for files that are not there.
    """
    torch = find_spec('torch') is not None
    row = catalogue.entry(network)
    if weights == RANDOM_WEIGHTS:
        if not torch:
            raise ValueError(f'weights {RANDOM_WEIGHTS} need PyTorch: pip install torch')
        weights = str(_random_checkpoint(row, folder))
    if weights is None or Path(weights).suffix == '.onnx':
        onnx = find_weights(row, weights, ('.onnx',))
        beside = next((file for file in map(onnx.with_suffix, CHECKPOINTS) if file.is_file()), None)
        note = ''
        if not torch:
            note = 'PyTorch is not installed'
        elif beside is None:
            note = f'no checkpoint stands beside {onnx.name}'
        elif metadata_of(onnx).get('weights_sha256') not in (None, '', sha256_of(beside)):
            note = f'{onnx.name} was not made from {beside.name} beside it'
        return NetworkFiles(entry_of_weights(row, onnx), None if note else beside, onnx, memory, folder, note)
    checkpoint = find_weights(row, weights, CHECKPOINTS)
    row = entry_of_weights(row, checkpoint)
    onnx = checkpoint.with_suffix('.onnx')
    if exported_from(graph_files(onnx, row), checkpoint):
        return NetworkFiles(row, checkpoint if torch else None, onnx, memory, folder, '' if torch else 'PyTorch is not installed')
    on_export(checkpoint)
    onnx = _export(row, checkpoint, folder / f'{row.name}.onnx', memory)
    return NetworkFiles(row, checkpoint, onnx, memory, folder, 'exported for this comparison')


def _export(row: NetworkEntry, checkpoint: Path, path: Path, memory: str) -> Path:
    try:
        from occ_perception.engines.export import export_onnx
    except ModuleNotFoundError as error:
        raise ValueError(f'exporting {checkpoint} needs {error.name}: pip install torch onnx onnxscript') from error
    export_onnx(row.name, checkpoint, path, memory=memory)
    return path


def _random_checkpoint(row: NetworkEntry, folder: Path) -> Path:
    import torch

    from occ_perception.checkpoints import save_weights
    from occ_perception.networks.build import build_network

    torch.manual_seed(0)
    path = folder / f'{row.name}.safetensors'
    save_weights(build_network(row).state_dict(), path)
    return path

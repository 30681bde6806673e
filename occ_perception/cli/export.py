"""`occ export`: the ONNX file of a network with its weights, checked against torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from occ_perception.catalogue import entry

if TYPE_CHECKING:
    from occ_perception.engines.comparison import Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('name', help='network of the catalogue (see occ networks)')
    parser.add_argument('--weights', type=Path, help='.safetensors or .pth file; default: the shipped weights')
    parser.add_argument('--out', type=Path, help='file to write; default: NAME.onnx in this folder')
    parser.add_argument('--memory', choices=['exact', 'warped'], default='exact',
                        help='how past frames enter: lifted again (default), or their maps moved, which is cheaper '
                             '(networks of cameras alone)')


def run(arguments: argparse.Namespace) -> int:
    row = entry(arguments.name)
    try:
        from occ_perception.engines.export import export_onnx
    except ModuleNotFoundError as error:
        raise ValueError(f'exporting needs the package {error.name}: pip install torch onnx onnxscript') from error
    out = arguments.out or Path(f'{row.name}.onnx')
    for file in export_onnx(row.name, arguments.weights, out, memory=arguments.memory):
        print(f'{file.path}: {file.megabytes:.1f} MB, {file.nodes} nodes; beside torch: {_beside_torch(file.compared)}')
    return 0


def _beside_torch(compared: Mapping[str, Comparison]) -> str:
    """One runtime after the other, in words."""
    told = []
    for runtime, comparison in compared.items():
        labels = [] if comparison.labels is None else [f'{comparison.labels:.4%} of the labels equal']
        errors = [f'{name} differ by {error:.1e} of their size' for name, error in comparison.errors.items()]
        told.append(f'{runtime} ' + ', '.join(labels + errors))
    return '; '.join(told) or 'no runtime installed to compare with'

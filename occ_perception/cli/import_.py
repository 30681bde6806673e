"""`occ import`: a published checkpoint becomes weights that the nodes run."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

EXAMPLES = """\
Reads .pth files as mmcv, mmengine and plain PyTorch write them, from the published repositories or from your own training:
old and new formats, moving averages (EMA), half precision, keys of data-parallel training, optimiser state beside the weights.
Nothing in the file is executed. The network, and the form in which it was trained (channels, depth bins, past frames, instance
head), are told from the shapes. The result is a .safetensors file that knows what it is, and the same facts as JSON beside it.

  occ import flashocc-r50-M0.pth                                      told from its shapes
  occ import epoch_24_ema.pth --network panoptic-flashocc-r50-depth   another form of it is recognised and said
  occ import latest.pth --out street.safetensors --half               half the size
  occ up flashocc-r50-M0 --weights flashocc-r50-M0.safetensors        run it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT', help='.pth file')
    parser.add_argument('--network', metavar='NAME', help='its name in `occ networks`; default: told from the shapes')
    parser.add_argument('--out', type=Path, metavar='FILE.safetensors', help='file to write; default: beside the checkpoint')
    parser.add_argument('--half', action='store_true', help='store kernels and matrices as float16: half the size, rounded')
    parser.add_argument('--part', choices=('auto', 'main', 'ema'), default='auto',
                        help='of two sets of weights, the one under the plain names, or the other one; default: the moving average')
    parser.add_argument('--without', nargs='+', default=[], metavar='PREFIX',
                        help='leave out keys that begin so, such as a head for another task')
    parser.add_argument('--depth', type=float, nargs=3, metavar=('FIRST', 'END', 'STEP'),
                        help='depth bins in metres, where they are not those of the catalogue')
    parser.add_argument('--spacing', choices=('linear', 'sid'),
                        help='whether depth bins are even, or grow with distance; default: as in the catalogue')


def run(arguments: argparse.Namespace) -> int:
    try:
        from occ_perception.checkpoints.importing import import_checkpoint
    except ModuleNotFoundError as error:
        raise ValueError(f'importing needs the package {error.name}: pip install torch') from error
    imported = import_checkpoint(arguments.checkpoint, arguments.network, arguments.out, arguments.half, arguments.part,
                                 arguments.depth, arguments.spacing, arguments.without)
    manifest = imported.manifest
    epoch = '' if manifest.source.epoch is None else f', epoch {manifest.source.epoch}'
    print(f'{arguments.checkpoint}: {manifest.network}, {manifest.parameters / 1e6:.2f} M parameters{epoch}')
    for note in imported.notes:
        print(f'  {note}.')
    print(f'{imported.weights}: {imported.weights.stat().st_size / 1e6:.1f} MB. '
          f'Run it: occ up {manifest.network} --weights {_quoted(imported.weights)}')
    return 0


def _quoted(path: Path) -> str:
    text = str(path)
    return text if re.fullmatch(r'[\w./+-]+', text) else f"'{text}'"

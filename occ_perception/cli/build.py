"""`occ build`: the narrow files of a network, and TensorRT engines of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from occ_perception.engines.protocol import EXACT, MEMORY_FORMS

if TYPE_CHECKING:
    from occ_perception.catalogue import NetworkEntry
    from occ_perception.engines.narrow_files import NarrowFile

EPILOG = """\
What is made, in this order, and only where it is missing or out of date (--again: anyway):

1. NAME.onnx, float32, when --weights is a checkpoint: written beside it, as by `occ export`.
2. NAME.f16.onnx or NAME.int8.onnx beside it, for that --precision. Standard operators only; docs/onnx.md describes them.
   f16: computed in float16, but for softmax, means, sums of the lift and places in pictures.
   int8: inputs and kernels of convolutions and matrix products in 8 bits by explicit Q/DQ. Ranges come from calibration frames:
   generated streets, or better --calibration with frames of your own cameras, a hundred of varied places and weather. Layers whose
   inputs would lose much stay in float, and are counted.
   --keep-f32 leaves layers in float32 by pattern: an operator, a node, a weight (quote the *; `occ parity` names layers that err).
3. A TensorRT engine (10 or 11, NVIDIA GPU) in the cache (OCC_CACHE, else ~/.cache/occ_perception), where every later start finds
   it. It is bound to the file, TensorRT, driver and GPU; for others another is built. Needs minutes, once.
   --rtx-check asks TensorRT-RTX instead, which parses and builds without a GPU: whether TensorRT takes the files.

Then the engine answers calibration frames beside the float32 ONNX file, unless --build-only. int8 and f16 are worth a look with
`occ parity` on your own data, which refuses an engine that changes too many labels.

  occ build scocc_sample --precision f16                       on the GPU of this machine
  occ build scocc_sample --precision int8 --rtx-check          no GPU: make the int8 file, and let TensorRT's parser judge it
  occ build flashocc-r50-M0 --weights m0.safetensors --precision int8 --calibration data/nuscenes --split train --frames 100
  occ build scocc-r50 --weights scocc.onnx --precision f16 --keep-f32 '*occ_head*' --workspace 2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `occ build`."""
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument('network', metavar='NETWORK', help='name as listed by `occ networks`')
    parser.add_argument('--precision', choices=('f32', 'f16', 'int8'), default='f16', help='of the engine (default: f16)')
    parser.add_argument('--weights', type=Path, metavar='FILE',
                        help='float32 .onnx of `occ export`, or a checkpoint (default: the weights that ship with the network)')
    parser.add_argument('--memory', default=EXACT, choices=MEMORY_FORMS, help='how past frames enter, of an export made now')
    parser.add_argument('--keep-f32', nargs='+', metavar='PATTERN', default=[], help='layers that stay in float32')
    parser.add_argument('--again', action='store_true', help='make also what is there and up to date')
    frames = parser.add_argument_group('calibration', 'Frames for int8, and for the comparison at the end.')
    frames.add_argument('--calibration', type=Path, metavar='PATH', help='data set or bag (default: streets generated now)')
    frames.add_argument('--split', default='train', help='of a data set: train, val, test, all (default: train)')
    frames.add_argument('--frames', type=int, default=24, metavar='N', help='number of frames (default: 24)')
    engine = parser.add_argument_group('engine')
    engine.add_argument('--build-only', action='store_true', help='do not run the engine after it was built')
    engine.add_argument('--workspace', type=float, default=4.0, metavar='GIB',
                        help='scratch memory that a layer may use while engines are built and run (default: 4)')
    engine.add_argument('--rtx-check', action='store_true', help='build with TensorRT-RTX, which needs no GPU, and keep nothing')
    engine.add_argument('--files-only', action='store_true', help='stop when the ONNX files are there')


def run(args: argparse.Namespace) -> int:
    """Make what is due; 1 when TensorRT-RTX refuses a file."""
    from occ_perception.catalogue import entry
    from occ_perception.engines.precision import existing_files
    from occ_perception.manifest import entry_of_weights

    if args.frames < 1 or args.workspace <= 0:
        raise ValueError(f'--frames {args.frames} --workspace {args.workspace:g}: give a number above 0')
    row = entry_of_weights(entry(args.network), args.weights)
    onnx_file = _float32_file(args, row)
    source = Frames(args, row)
    if args.precision != 'f32':
        _narrow(args, row, onnx_file, source)
    files = existing_files(onnx_file, row, args.precision)
    if args.files_only:
        return 0
    if args.rtx_check:
        return _rtx_check(files, args.precision)
    from occ_perception.cli.build_engine import build_engines
    return build_engines(args, row, onnx_file, files, source)


class Frames:
    """The calibration frames, read or generated when they are first asked for."""

    def __init__(self, args: argparse.Namespace, row: NetworkEntry) -> None:
        self._args, self._row = args, row
        self.name = 'generated streets' if args.calibration is None else f'{args.calibration}, {args.split}'
        self._frames: list | None = None

    def get(self) -> list:
        """All of them. Raises ValueError for a source without frames."""
        from tqdm import tqdm

        from occ_perception.datasets.opening import DataSource, is_bag
        from occ_perception.evaluation.parity_frames import CALIBRATION_FROM, bag_frames, generated_frames, recorded_frames

        if self._frames is not None:
            return self._frames
        args = self._args
        with tqdm(total=args.frames, desc='calibration frames', unit='frame') as bar:
            if args.calibration is None:
                self._frames = generated_frames(self._row, args.frames, bar.update, CALIBRATION_FROM)
            elif is_bag(args.calibration):
                self._frames = bag_frames(self._row, args.calibration, args.frames, bar.update)
            else:
                self._frames = recorded_frames(self._row, DataSource(args.calibration, args.split), args.frames, bar.update)
        return self._frames


def _float32_file(args: argparse.Namespace, row: NetworkEntry) -> Path:
    """The float32 ONNX file, exported now where a checkpoint was given that has none of its own beside it."""
    from occ_perception.engines.onnx_metadata import exported_from
    from occ_perception.engines.precision import graph_files
    from occ_perception.engines.select import find_weights

    weights = find_weights(row, args.weights, ('.onnx', '.safetensors', '.pth'))
    onnx_file = weights.with_suffix('.onnx')
    if weights == onnx_file:
        return onnx_file
    if exported_from(graph_files(onnx_file, row), weights) and not args.again:
        return onnx_file
    try:
        from occ_perception.engines.export import export_onnx
    except ModuleNotFoundError as error:
        raise ValueError(f'exporting {weights} needs the package {error.name}: pip install torch onnx onnxscript') from error
    _say(f'exporting {weights} to {onnx_file}')
    export_onnx(row.name, weights, onnx_file, memory=args.memory)
    return onnx_file


def _narrow(args: argparse.Namespace, row: NetworkEntry, onnx_file: Path, source: Frames) -> None:
    from tqdm import tqdm

    try:
        from occ_perception.engines.narrow_files import stale_files, write_float16, write_int8
    except ModuleNotFoundError as error:
        raise ValueError(f'narrow files are made with the package {error.name}: pip install onnx onnxscript onnxruntime') from error
    from occ_perception.evaluation.recorded_feeds import recorded_feeds

    choices = {'keep_f32': args.keep_f32}
    if args.precision == 'int8':
        choices |= {'calibration': source.name, 'frames': args.frames}
    how = json.dumps(choices)
    if not args.again and not stale_files(onnx_file, row, args.precision, how):
        return
    if args.precision == 'f16':
        written = write_float16(onnx_file, row, how, args.keep_f32)
    else:
        def fed() -> Iterator:
            frames = source.get()
            recorded = recorded_feeds(row, onnx_file, frames, memory_form(onnx_file))
            yield from tqdm(recorded, 'calibrating', len(frames), unit='frame')
        written = write_int8(onnx_file, row, how, fed(), args.keep_f32)
    for file in written:
        print(_told(file))


def memory_form(onnx_file: Path) -> str:
    """The form in which an exported network remembers, as the file says."""
    from occ_perception.engines.onnx_metadata import metadata_of

    return metadata_of(onnx_file).get('memory', EXACT)


def _told(file: NarrowFile) -> str:
    said = f'{file.path}: {file.megabytes:.1f} MB'
    if file.quantised or file.kept:
        said += f', {file.quantised} layers in int8, {len(file.kept)} kept in float'
        said += ''.join(f'\n  {name}: {why}' for name, why in file.kept.items())
    return said


def _rtx_check(files: tuple[Path, ...], precision: str) -> int:
    from occ_perception.engines.tensorrt_files import tensorrt_file
    from occ_perception.engines.tensorrt_rtx import build_with_tensorrt_rtx

    refused = 0
    for file in files:
        try:
            plan = build_with_tensorrt_rtx(tensorrt_file(file, precision))
            print(f'{file.name}: TensorRT-RTX {plan.version} takes it, {plan.layers} layers, {plan.plan_mb} MB, {plan.seconds} s')
        except ValueError as error:
            refused += 1
            _say(f'{file.name}: {error}')
    return 1 if refused else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

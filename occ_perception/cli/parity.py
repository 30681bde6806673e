"""`occ parity`: whether the engines of a network say what the network says, and where one of them begins to err."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from occ_perception.engines.protocol import EXACT, MEMORY_FORMS

if TYPE_CHECKING:
    from occ_perception.catalogue import NetworkEntry
    from occ_perception.evaluation.parity import Choice
    from occ_perception.evaluation.parity_frames import ParityFrame

THRESHOLD = 0.995
EPILOG = """\
The reference is PyTorch in float32 (ONNX Runtime in float32 where torch or the checkpoint is absent). Each engine answers the same
frames, in order, with its own memory of past frames, as it would live.

columns: share of observed voxels with the reference's label, over all frames and in the worst one; the same among voxels that
either calls occupied; error of the logits (root mean square and largest, over the rms of the reference's); error of what is
remembered for later frames; mIoU where truth is there, and its difference from the reference's.

At the worst frame every layer is compared with ONNX Runtime in float32: the largest errors are listed, and the first layer at which
the error is more than four times that of its inputs and of what the number format rounds.

Exit status: 0; 1 when an engine is below --threshold, or one named in --against cannot run; 2 for wrong input.

  occ parity scocc_sample                                   all engines of this machine, on generated streets
  occ parity scocc_sample --against openvino:int8 --data data/world --split all --frames 48
  occ parity flashocc-r50-M0 --weights m0.safetensors --data data/nuscenes --against tensorrt:f16 --threshold 0.99
  occ parity scocc_sample --bag street.mcap --json | jq '.engines[] .agreement'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `occ parity`."""
    parser.epilog, parser.formatter_class = EPILOG, _Help
    parser.add_argument('network', metavar='NETWORK', help='name as listed by `occ networks`')
    parser.add_argument('--weights', help='checkpoint or ONNX file (the other form is looked for beside it, a missing ONNX is '
                        'exported for the comparison), or random (default: the weights that ship with the network)')
    parser.add_argument('--memory', default=EXACT, choices=MEMORY_FORMS, help='how past frames enter')
    parser.add_argument('--against', nargs='+', metavar='BACKEND[:PRECISION]', default=[],
                        help='engines to compare: openvino (f32, bf16, int8), onnxruntime (f32, int8), tensorrt (f32, f16, int8); '
                             'without a precision every one of the backend (default: all that can run here)')
    parser.add_argument('--threshold', type=float, default=THRESHOLD,
                        help='least share of equal labels, 0 to 1, among the observed voxels of all frames; less is refused')
    source = parser.add_argument_group('frames', 'From streets generated on the spot, unless one of these is given.')
    source.add_argument('--data', type=Path, metavar='ROOT', help='data set: nuScenes with Occ3D labels, or of `occ world`')
    source.add_argument('--split', default='val', help='of ROOT: train, val, test, all')
    source.add_argument('--scene', help='scenes of ROOT with commas between them, in place of a split')
    source.add_argument('--bag', type=Path, metavar='FILE', help='bag with the topics that `occ bag` and `occ world` write')
    source.add_argument('--frames', type=int, default=16, metavar='N', help='number of frames, eight of a sequence in turn')
    output = parser.add_argument_group('output')
    output.add_argument('--no-layers', action='store_true',
                        help='leave the layers out: about a minute per engine of a large network')
    output.add_argument('--threads', type=int, metavar='N', help='threads of the CPU backends (default: all cores)')
    output.add_argument('--json', action='store_true', help='print one JSON object on standard output and nothing else')
    output.add_argument('--out', type=Path, metavar='FILE', help='page to write (default: out/parity-NETWORK.html)')


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        unset = action.default in (None, '', False, []) or '(default' in (action.help or '')
        return action.help if unset else super()._get_help_string(action)


def run(args: argparse.Namespace) -> int:
    """Compare, print, write the page; 1 when an engine is refused."""
    from tqdm import tqdm

    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError('comparing engines reads ONNX files with the package onnx: pip install onnx') from error
    from occ_perception.evaluation.parity import compare_engines
    from occ_perception.evaluation.parity_files import network_files
    from occ_perception.evaluation.parity_report import figures, refusal, text, write_page

    if not 0 <= args.threshold <= 1:
        raise ValueError(f'--threshold {args.threshold:g}: a share of equal labels, from 0 to 1, such as {THRESHOLD}')
    if args.frames < 1 or (args.threads or 1) < 1:
        raise ValueError(f'--frames {args.frames} --threads {args.threads}: each at least 1')
    if args.data and args.bag:
        raise ValueError('--data and --bag: give one of them')
    choices = chosen(args.against)
    with tempfile.TemporaryDirectory(prefix='occ-parity-') as folder:
        files = network_files(args.network, args.weights, Path(folder), args.memory,
                              lambda path: _say(f'exporting {path} to ONNX for the comparison'))
        if files.note:
            _say(files.note)
        frames = _frames(args, files.row)
        bars: dict[str, tqdm] = {}

        def on_progress(what: str, share: float) -> None:
            if what not in bars:
                for bar in bars.values():
                    bar.close()
                bars[what] = tqdm(total=1.0, desc=what, bar_format='{desc:28} {percentage:3.0f}%|{bar}| {elapsed}')
            bars[what].update(min(share, 1.0 - bars[what].n))

        done = compare_engines(files, frames, choices, args.threads, not args.no_layers, on_progress)
        for bar in bars.values():
            bar.close()
    if not done.engines and not args.against:
        reasons = '; '.join(f'{choice.name}: {why}' for choice, why in done.missing.items())
        raise ValueError(f'no other engine can run here: {reasons}')
    page = args.out or Path('out') / f'parity-{args.network}.html'
    write_page(page, done, args.threshold)
    if args.json:
        print(json.dumps(figures(done, args.threshold), indent=2))
    else:
        print(f'{text(done, args.threshold)}\n\npage: {page}')
    refused = [reason for engine in done.engines if (reason := refusal(engine, args.threshold))]
    refused += [f'{choice.name} was asked for and cannot run here: {why}' for choice, why in done.missing.items() if args.against]
    for reason in refused:
        _say(f'occ parity: {reason}')
    return 1 if refused else 0


def chosen(against: list[str]) -> tuple[Choice, ...]:
    """The engines that words such as openvino:bf16 or tensorrt name; all of them for none. Raises ValueError for others."""
    from occ_perception.evaluation.parity import CHOICES

    found: list[Choice] = []
    for word in against:
        backend, _, precision = word.partition(':')
        meant = [choice for choice in CHOICES if choice.backend == backend and precision in ('', choice.precision)]
        if not meant:
            raise ValueError(f'--against {word}: choose among '
                             + ', '.join(f'{choice.backend}:{choice.precision}' for choice in CHOICES))
        found += [choice for choice in meant if choice not in found]
    return tuple(found) or CHOICES


def _frames(args: argparse.Namespace, row: NetworkEntry) -> list[ParityFrame]:
    from tqdm import tqdm

    from occ_perception.datasets.opening import DataSource
    from occ_perception.evaluation.parity_frames import bag_frames, generated_frames, recorded_frames

    what = 'reading frames' if args.data or args.bag else 'generating frames'
    with tqdm(total=args.frames, desc=what, unit='frame') as bar:
        def step() -> None:
            bar.update()

        if args.bag:
            return bag_frames(row, args.bag, args.frames, step)
        if args.data:
            return recorded_frames(row, DataSource(args.data, args.scene or args.split), args.frames, step)
        return generated_frames(row, args.frames, step)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""`occ demo`: a street nobody has seen, replayed through the live nodes, scored and pictured by other processes."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from occ_perception.cli.demo_modes import compare_modes
from occ_perception.cli.demo_street import prepare_street
from occ_perception.cli.live_run import replay
from occ_perception.datasets.bag_frames import BagFrames
from occ_perception.datasets.occ3d import read_truth, truth_by_stamp
from occ_perception.engines.select import shipped_file
from occ_perception.labels import FREE
from occ_perception.machine import multiplies_narrow, processor
from occ_perception.runtime.live_score import LiveScore, Score, load_grids, score_grids, score_labels
from occ_perception.training.baselines import Prior

SHEET = 'sensors.png'
RATES_HZ = (1.0, 2.0, 2.5, 5.0)
"""Rates at which every due LiDAR stamp has truth."""
BASELINES = ('(a) best constant per voxel', '(b) LiDAR hits, likeliest class')
NOTES = (
    'The score counts only VoxelGrids that a separate process received over DDS, matched to truth by stamp; the nodes never open '
    'truth files. A voxel answered "unknown" counts as free, so not answering gains nothing.',
    "mIoU is Occ3D's: voxels under the camera mask, one confusion matrix over all frames, mean over the 17 classes that occur in "
    'truth or prediction. Geometric IoU is occupied against free under the same mask.',
    "Latency runs from the newest sensor stamp of a set to the subscriber's callback. The bag is replayed in real time; stamps are "
    'placed on the wall clock by the least delayed /clock message, so a player that falls behind counts as latency too.',
    'Dropped means: a due reference stamp that got no VoxelGrid.',
    '(a) knows the training streets only: per voxel the one label that scores best there (for each figure its own best map). '
    '(b) labels every voxel that the LiDAR sweep of the reference stamp hits with the likeliest occupied class of its place.',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `occ demo`."""
    parser.add_argument('--seed', type=int, default=0, help='which street; none of them was used in training')
    parser.add_argument('--network', default='scocc_sample', help='network with shipped weights, see `occ networks`')
    parser.add_argument('--weights', type=Path, help='ONNX file of your own instead of the shipped weights')
    parser.add_argument('--fusion', default='effocc_sample', help='network of cameras and LiDAR whose sensors are compared beside '
                        'it, each alone and both; empty for none')
    parser.add_argument('--seconds', type=float, default=10.0, help='length of the drive')
    parser.add_argument('--rate-hz', type=float, choices=RATES_HZ,
                        help='due frames per second (default: 5 on a CPU with AMX or VNNI, else 1)')
    parser.add_argument('--data', type=Path, default=Path('data'), help='folder where generated streets are kept')
    parser.add_argument('--out', type=Path, help='folder for pictures and score (default: out/demo-seed-N)')
    parser.add_argument('--keep', action='store_true', help='keep the received grids and the log of the nodes beside the pictures')


def run(args: argparse.Namespace) -> int:
    """Generate, replay, score, picture; 1 when nothing was received."""
    rate_hz = default_rate_hz() if args.rate_hz is None else args.rate_hz
    out = args.out or Path('out') / f'demo-seed-{args.seed}'
    street = prepare_street(args.seed, args.seconds, args.data)
    truth = due_truth(truth_by_stamp(street.truth), rate_hz)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='occ-demo-') as scratch:
        received = Path(scratch)
        options = ['-p', f'occupancy.max_rate:={rate_hz}', *(['--weights', str(args.weights)] if args.weights else [])]
        print(f'replaying {street.bag} through {args.network}, {len(truth)} frames at {rate_hz:g} Hz', flush=True)
        status = replay([args.network, '--bag', str(street.bag), *options], street.truth, len(truth), received)
        if args.keep or status:
            shutil.copytree(received, out, dirs_exist_ok=True)
        if status:
            print(f'occ demo: the log of the nodes is {out / "nodes.log"}', file=sys.stderr)
            return status
        grids = load_grids(received)
    live = score_grids(grids, truth)
    print(f'scoring {live.received} received grids and the baselines', flush=True)
    bag = BagFrames(street.bag)
    scores = {f'{live.network}, live': live.score, **baselines(live, truth, bag, args.network)}
    paths = picture(args, street.seed, grids, live, scores, truth, bag, rate_hz, out)
    (out / 'score.json').write_text(json.dumps({**live.as_dict(), 'baselines': {
        name: {'miou': round(100 * s.miou, 2), 'geometric_iou': round(100 * s.geometric_iou, 2)} for name, s in scores.items()
        if name in BASELINES}}, indent=2) + '\n')
    print(summary(live, scores))
    modes = compare_modes(args.fusion, bag, truth, out / SHEET) if args.fusion else {}
    if modes:
        figures = json.loads((out / 'score.json').read_text())
        figures['sensors'] = {name: {'miou': round(100 * s.miou, 2), 'geometric_iou': round(100 * s.geometric_iou, 2)}
                              for name, s in modes.items()}
        (out / 'score.json').write_text(json.dumps(figures, indent=2) + '\n')
        print('\n'.join([f'{args.fusion + ", not live":36s}{"mIoU":>8s}{"geometric IoU":>16s}', *(
            f'{name:36s}{_percent(s.miou):>8s}{_percent(s.geometric_iou):>16s}' for name, s in modes.items()), '']))
        paths = [*paths, out / SHEET]
    print('\n'.join(f'{"pictures" if k == 0 else "":12s}{path}' for k, path in enumerate(paths)))
    return 0


def default_rate_hz() -> float:
    """5 where the processor has AMX or VNNI, 1 elsewhere."""
    return 5.0 if multiplies_narrow() else 1.0


def due_truth(files: dict[int, Path], rate_hz: float) -> dict[int, Path]:
    """Truth of the reference stamps that are due at a rate: the first, then each at least a period (less 5 ms) later."""
    due: dict[int, Path] = {}
    for stamp, path in files.items():
        if not due or stamp - next(reversed(due)) >= 1e9 / rate_hz - 5e6:
            due[stamp] = path
    return due


def baselines(live: LiveScore, truth: dict[int, Path], bag: BagFrames, network: str) -> dict[str, Score]:
    """Scores of the two baselines on the very frames that were received; none where the network ships no prior."""
    file = shipped_file(f'{network}_prior.npz')
    if not file.is_file() or not live.received:
        return {}
    prior = Prior.load(file)
    truths = [read_truth(truth[stamp]) for stamp in live.stamps_ns]
    constant = score_labels([prior.constant] * len(truths), truths)
    geometry = score_labels([prior.geometry] * len(truths), truths)
    hits = [prior.label_points(points) if (points := bag.points(stamp)) is not None else np.full(prior.constant.shape, FREE)
            for stamp in live.stamps_ns]
    return {BASELINES[0]: Score(constant.miou, max(constant.geometric_iou, geometry.geometric_iou), constant.iou),
            BASELINES[1]: score_labels(hits, truths)}


def picture(args: argparse.Namespace, street: int, grids: list, live: LiveScore, scores: dict[str, Score],
            truth: dict[int, Path], bag: BagFrames, rate_hz: float, out: Path) -> Sequence[Path]:
    """Draw every frame and write the gallery."""
    from occ_perception.pictures.gallery import compose_run, write_gallery

    title = f'{live.network} on street {street}'
    frames = list(tqdm(compose_run(grids, live, truth, bag, title), total=live.received, unit='frame', desc='drawing'))
    facts = {'machine': f'{processor()}, {os.cpu_count()} cores', 'ROS': os.environ.get('ROS_DISTRO', 'from wheels'),
             'command': f'occ demo --seed {args.seed}'}
    subtitle = (f'Live 3D semantic occupancy: six cameras, LiDAR and tf of a generated street, replayed through ROS 2 nodes at '
                f'{rate_hz:g} Hz and received by another process. The network has never seen this street.')
    return write_gallery(out, frames, live, scores, title, subtitle, 1 / rate_hz, NOTES, facts)


def summary(live: LiveScore, scores: dict[str, Score]) -> str:
    """Frames, latencies, the scores side by side and class by class, as text."""
    percentiles = '   '.join(f'p{p} {live.latency_ms(p):.0f} ms' for p in (50, 95, 99))
    lines = ['', f'frames      {live.due} due, {live.received} received, {live.dropped} dropped'
             + (f', {live.unmatched} with a stamp that has no truth' if live.unmatched else ''),
             f'latency     {percentiles}   (newest sensor stamp to received grid)', '',
             f'{"":36s}{"mIoU":>8s}{"geometric IoU":>16s}']
    lines += [f'{name:36s}{_percent(score.miou):>8s}{_percent(score.geometric_iou):>16s}' for name, score in scores.items()]
    lines += ['', f'{"IoU by class":36s}' + ''.join(f'{name.split(",")[0][:14]:>16s}' for name in scores)]
    lines += [f'  {name.replace("_", " "):34s}' + ''.join(f'{_percent(score.iou[name]):>16s}' for score in scores.values())
              for name in live.score.iou]
    return '\n'.join([*lines, ''])


def _percent(share: float) -> str:
    return '-' if np.isnan(share) else f'{100 * share:.1f}'

"""`occ eval`: score a network on a data set, sequence by sequence, or score what the live nodes publish for a bag."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from occ_perception.engines.precision import PRECISIONS
from occ_perception.engines.protocol import EXACT, MEMORY_FORMS
from occ_perception.engines.select import BACKENDS

if TYPE_CHECKING:
    from occ_perception.datasets.sequences import DrivingSequence
    from occ_perception.evaluation.request import Request
    from occ_perception.evaluation.sequence_run import SequenceResult

EPILOG = """\
Data. ROOT is a nuScenes tree (v1.0-mini, v1.0-trainval ...) with Occ3D labels in ROOT/gts, Occ3D-Waymo (ROOT/voxel04) with Waymo's
sensors as MMDetection3D unpacks them (ROOT/kitti_format), what `occ world` wrote, or one of its bags. Labels with instances
(ROOT/occ3d_panoptic, or --make-instances) add RayPQ, labels with flow (--labels openocc_v2) add mAVE; generated streets have both.

What is counted. Frames go through the Predictor in order, so past frames enter as they do live; between sequences everything is
forgotten. A voxel answered "unknown" counts as free in every metric; it costs RayIoU most, which has no mask. Shares are in
percent. miou_camera_mask is Occ3D's benchmark. For figures to hold beside published ones of the BEVDet line give
--ego-pose-of CAM_FRONT_LEFT --everywhere, as their evaluation has it.

  occ world --scenes 2 --keyframes 6 --out data/world       two generated streets
  occ eval scocc_sample --data data/world                   their validation split; page in out/eval-scocc_sample/index.html
  occ eval scocc_sample --data data/world --json | jq .miou_camera_mask
  occ eval flashocc-r50-M0 --weights flashocc-r50-M0.pth --data data/nuscenes --ego-pose-of CAM_FRONT_LEFT --everywhere --jobs 4
  torchrun --nproc-per-node 4 -m occ_perception.cli.main eval NETWORK --data ROOT --out out/eval     four ranks, one result
  occ eval scocc_sample --data data/world --live data/world/bags/scene-0001      what another process receives from the nodes

Stop it at any time and start it again with the same words: sequences that are done are kept in --out.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `occ eval`."""
    parser.epilog, parser.formatter_class = EPILOG, _Help
    parser.add_argument('network', metavar='NETWORK', help='name as listed by `occ networks`')
    data = parser.add_argument_group('data')
    data.add_argument('--data', type=Path, required=True, metavar='ROOT', help='data set, see below')
    data.add_argument('--split', default='val', help='train, val, test, all, or names of scenes with commas between them')
    data.add_argument('--version', help='table folder, such as v1.0-trainval; needed when ROOT has several')
    data.add_argument('--labels', default='', metavar='DIR',
                      help='folder of labels in ROOT, <scene>/<sample>/labels.npz (default: occ3d_panoptic if there, else gts)')
    data.add_argument('--make-instances', action='store_true',
                      help='give instances to labels that have none, from the annotated boxes, so that RayPQ can be told')
    data.add_argument('--limit-scenes', type=_positive, metavar='N', help='only the first N sequences')
    data.add_argument('--skip-corrupt', action='store_true', help='go on without frames whose files cannot be read, and count them')
    data.add_argument('--all-sweeps', action='store_true',
                      help='also predict between key frames, at the rate the network runs live; key frames alone are scored')
    data.add_argument('--ego-pose-of', default='LIDAR_TOP', metavar='CHANNEL',
                      help='sensor whose ego pose is the frame\'s. Published BEVDet-line weights (flashocc, scocc, bevdet) were '
                           'trained and scored with CAM_FRONT_LEFT')
    network = parser.add_argument_group('network')
    network.add_argument('--weights', help='checkpoint or ONNX file, or random (default: the weights that ship with the network)')
    network.add_argument('--backend', default='auto', choices=BACKENDS, help='what runs the network')
    network.add_argument('--precision', default='auto', choices=PRECISIONS,
                         help='what it is computed in; auto: bf16 in OpenVINO where the processor has it, else float32')
    network.add_argument('--memory', default=EXACT, choices=MEMORY_FORMS,
                         help='how past frames enter: lifted again from where they were seen, or their maps moved (cheaper)')
    network.add_argument('--published-centers', action='store_true',
                         help='share voxels among instance centres by the class table of the published code')
    network.add_argument('--published-motion', action='store_true',
                         help='tell PanoOcc the ego motion of first frames in absolute coordinates, as its test code does')
    network.add_argument('--everywhere', action='store_true',
                         help='score what the network says of voxels that no camera could see, too, as published evaluations do; '
                              'the nodes call them unknown')
    work = parser.add_argument_group('work')
    work.add_argument('--jobs', type=_positive, default=1, metavar='N', help='processes that share out the sequences')
    work.add_argument('--threads', type=_positive, metavar='N', help='threads of each process\'s CPU backend '
                      '(default: all cores, divided by --jobs)')
    work.add_argument('--no-rays', action='store_true', help='leave RayIoU, RayPQ and mAVE out: about a second less per frame')
    work.add_argument('--fresh', action='store_true', help='compute everything anew')
    live = parser.add_argument_group('live')
    live.add_argument('--live', type=Path, metavar='BAG',
                      help='replay a bag through the ROS 2 nodes and score what another process receives, matched by stamp; a '
                           'frame that got no grid counts as unanswered')
    live.add_argument('--scene', help='scene of ROOT that the bag was made from (default: the name of the bag)')
    live.add_argument('--lockstep', action='store_true', help='replay as fast as the nodes answer, in place of real time')
    output = parser.add_argument_group('output')
    output.add_argument('--out', type=Path, metavar='DIR', help='folder for results, score.json and the page '
                        '(default: out/eval-NETWORK)')
    output.add_argument('--pictures', type=int, default=6, metavar='N', help='worst frames shown on the page; 0: no page')
    output.add_argument('--json', action='store_true', help='print one JSON object on standard output and nothing else')


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        unset = action.default in (None, '', False) or '(default' in (action.help or '')
        return action.help if unset else super()._get_help_string(action)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{value} is not 1 or more')
    return value


def run(args: argparse.Namespace) -> int:
    """Evaluate what is missing, add up, report; ranks other than 0 only evaluate."""
    with _quiet_stdout():
        scores, text = evaluated(args)
    if scores is not None:
        print(json.dumps(scores, indent=2) if args.json else text)
    return 0


def evaluated(args: argparse.Namespace) -> tuple[dict[str, Any] | None, str]:
    """Do what the options say: the JSON object and its text, or None for a rank other than 0."""
    from occ_perception.evaluation.result_files import ResultFolder
    from occ_perception.evaluation.sharing import Rank, evaluate, wait_for_all

    if args.pictures < 0:
        raise ValueError(f'--pictures {args.pictures}: 0 or more')
    request, rank = request_of(args), Rank.from_environment()
    out = args.out or Path('out') / f'eval-{args.network}'
    sequences = chosen(args, request)
    if args.live:
        if args.everywhere or args.all_sweeps or args.ego_pose_of != 'LIDAR_TOP':
            raise ValueError('--everywhere, --all-sweeps and --ego-pose-of change what the Predictor is given or says; the nodes of'
                             ' --live have none of them')
        from occ_perception.cli.eval_live import received_live

        if rank.count > 1:
            raise ValueError('--live runs the nodes once: start it without torchrun')
        result, facts = received_live(args, request, sequences[0], out)
        return finish(args, request, sequences, [result], out, facts)
    results = ResultFolder(out, request.key)
    if args.fresh:
        if rank.count > 1:
            raise ValueError('--fresh cannot be given to several ranks, which would wait for each other\'s old results: '
                             'choose another --out')
        shutil.rmtree(results.path, ignore_errors=True)
    names = [sequence.name for sequence in sequences]
    there = sum(results.has(name) for name in names)
    if there and rank.number == 0:
        _say(f'{there} of {len(names)} sequences are in {results.path} already; --fresh computes them anew')
    evaluate(request, sequences, results, args.jobs, rank)
    if rank.number:
        return None, ''
    wait_for_all(names, results)
    return finish(args, request, sequences, [results.load(name) for name in names], out, {})


def request_of(args: argparse.Namespace) -> Request:
    """The options as a request."""
    from occ_perception import catalogue
    from occ_perception.datasets.nuscenes_sequence import FrameOptions, default_labels
    from occ_perception.datasets.opening import DataSource
    from occ_perception.evaluation.request import Request

    row = catalogue.entry(args.network)
    options = FrameOptions(args.labels or default_labels(args.data), args.make_instances,
                           lidar=row.lidar,
                           rate_hz=row.rate_hz if args.all_sweeps else 0.0, ego_pose_of=args.ego_pose_of)
    split = (args.scene or args.live.stem) if args.live else args.split
    cores = len(os.sched_getaffinity(0))
    threads = args.threads or (max(cores // args.jobs, 1) if args.jobs > 1 else None)
    return Request(args.network, DataSource(args.data, split, args.version, options), args.weights, args.backend, args.memory,
                   args.published_centers, args.everywhere, not args.no_rays, args.skip_corrupt, threads, args.precision,
                   args.published_motion)


def chosen(args: argparse.Namespace, request: Request) -> list[DrivingSequence]:
    """The sequences that the options ask for. Raises ValueError when there are none."""
    from occ_perception import catalogue
    from occ_perception.datasets.opening import open_sequences

    sequences = open_sequences(request.source)[:args.limit_scenes]
    if not sequences:
        raise ValueError(f'{args.data} has no sequences in split {args.split}: choose another --split, or all')
    truth, row = sequences[0].label_set, catalogue.entry(request.network)
    if truth != row.labels:
        raise ValueError(f'{row.name} answers in the labels {row.labels.name}, {args.data} is labelled in {truth.name}: '
                         'choose a network or a data set that fits')
    return sequences


def finish(args: argparse.Namespace, request: Request, sequences: Sequence[DrivingSequence], results: Sequence[SequenceResult],
           out: Path, live: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Add up, write score.json and the page; returns the JSON object and its text."""
    from occ_perception import catalogue
    from occ_perception.evaluation.report import write_report
    from occ_perception.evaluation.summary import published, summary, table, total

    corrupt = [entry for result in results for entry in result.corrupt]
    facts = request.facts()
    figures = published(catalogue.entry(args.network))
    scores = {**facts, 'split': request.source.split, 'sequences': len(results), 'left_out': len(corrupt),
              **summary(total([result.counts for result in results]), sequences[0].label_set), **({'live': live} if live else {}),
              'corrupt': corrupt, **({'published': figures} if figures else {})}
    out.mkdir(parents=True, exist_ok=True)
    (out / 'score.json').write_text(json.dumps(scores, indent=2) + '\n')
    lines = [f'{args.network} on {args.data}, {scores["sequences"]} sequences, {scores["frames"]} frames'
             + (f', {len(corrupt)} left out as corrupt' if corrupt else ''), '', table(scores)]
    for entry in corrupt:
        _say(f'left out: {entry}')
    if live:
        lines.append(f'live: {live["due"]} due, {live["received"]} received, {live["dropped"]} dropped; latency '
                     + ', '.join(f'{name} {value} ms' for name, value in live['latency_ms'].items()))
    if figures:
        lines.append('published on Occ3D-nuScenes val: ' + ', '.join(f'{name} {value:.2f}' for name, value in figures.items()))
    if args.pictures:
        write_report(out / 'index.html', scores, results, sequences, args.pictures)
        lines.append(f'page: {out / "index.html"}')
    return scores, '\n'.join(lines)


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Whatever is written to standard output meanwhile, by libraries and child processes too, goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

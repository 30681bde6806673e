"""`occ score`: be a subscriber, receive VoxelGrids of live nodes, score them against truth matched by stamp."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from occ_perception.datasets.occ3d import truth_by_stamp
from occ_perception.runtime.live_score import LiveScore, save_run, score_grids

READY, ARRIVED = 'listening', 'received'
"""First words of what this command says on stderr: once its subscription stands, and every few grids."""
REPORT_EVERY = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `occ score`."""
    parser.add_argument('--truth', type=Path, required=True, help='folder of <stamp_ns>.npz truth, as `occ world` writes it')
    parser.add_argument('--topic', default='occ/voxels', help='VoxelGrid topic')
    parser.add_argument('--expect', type=int, help='how many grids are due: stop after so many (default: as many as truth files)')
    parser.add_argument('--timeout', type=float, default=10.0, help='stop when no grid came for so many seconds')
    parser.add_argument('--start-timeout', type=float, default=60.0, help='the same before the first grid')
    parser.add_argument('--rate', type=float, default=1.0, help='replay rate of the bag (sensor seconds per second)')
    parser.add_argument('--out', type=Path, help='folder for the received grids (received/<stamp_ns>.npz) and score.json')
    parser.add_argument('--json', action='store_true', help='print the score as JSON')


def run(args: argparse.Namespace) -> int:
    """Receive, score, print; 1 when nothing was received."""
    from occ_perception.nodes.scorer import receive

    truth = truth_by_stamp(args.truth)
    expect = len(truth) if args.expect is None else args.expect
    if expect < 1 or args.rate <= 0:
        raise ValueError(f'--expect {expect} --rate {args.rate}: both must be positive')

    def ready() -> None:
        print(f'{READY} on {args.topic} for {expect} grids', file=sys.stderr, flush=True)

    def arrived(count: int) -> None:
        if count % REPORT_EVERY == 0:
            print(f'{ARRIVED} {count} of {expect}', file=sys.stderr, flush=True)

    grids = receive(args.topic, expect, args.start_timeout, args.timeout, args.rate, ready, arrived)
    print(f'{ARRIVED} {len(grids)} of {expect}', file=sys.stderr, flush=True)
    if not grids:
        print(f'occ score: no VoxelGrid came on {args.topic}: are the nodes up (`occ up NAME --bag FILE`) and active, '
              'in the same ROS_DOMAIN_ID?', file=sys.stderr)
        return 1
    score = score_grids(grids, truth, expect)
    if args.out is not None:
        save_run(args.out, grids, score)
    print(json.dumps(score.as_dict(), indent=2) if args.json else table(score))
    if not score.received:
        stamps = f'{min(grid.stamp_ns for grid in grids)}..{max(grid.stamp_ns for grid in grids)}'
        print(f'occ score: {len(grids)} grids came, but none of their stamps ({stamps}) has truth in {args.truth} '
              f'({min(truth)}..{max(truth)}): give the truth of the bag that is replayed', file=sys.stderr)
        return 1
    return 0


def table(score: LiveScore) -> str:
    """The score as a few lines of text."""
    lines = [f'network            {score.network}',
             f'frames             {score.due} due, {score.received} received, {score.dropped} dropped',
             'latency            ' + ', '.join(f'p{p} {score.latency_ms(p):.0f} ms' for p in (50, 95, 99)),
             f'mIoU               {100 * score.score.miou:6.2f}', f'geometric IoU      {100 * score.score.geometric_iou:6.2f}']
    lines += [f'  {name.replace("_", " "):20s}{"     -" if np.isnan(value) else f"{100 * value:6.1f}"}'
              for name, value in score.score.iou.items()]
    return '\n'.join(lines)

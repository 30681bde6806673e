"""The live part of `occ eval`: the nodes replay a bag, another process receives, and what it got is scored."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from occ_perception.cli.live_run import replay
from occ_perception.datasets.bag_reader import Bag, header_stamp_ns
from occ_perception.datasets.dialects import detect
from occ_perception.datasets.nuscenes import shortened
from occ_perception.datasets.nuscenes_sequence import NuScenesSequence
from occ_perception.datasets.sequences import DrivingSequence
from occ_perception.evaluation.received import due_stamps, least_rate, score_received
from occ_perception.evaluation.request import Request
from occ_perception.evaluation.sequence_run import SequenceResult
from occ_perception.runtime.live_score import load_grids, score_grids


def received_live(args: argparse.Namespace, request: Request, sequence: DrivingSequence,
                  out: Path) -> tuple[SequenceResult, dict[str, Any]]:
    """Replay args.live through the nodes and score the grids: (result, due, received, dropped and latencies for the JSON object).

    Raises ValueError when the bag and the scene do not belong together, or nothing was received.
    """
    if not isinstance(sequence, NuScenesSequence):
        raise ValueError(f'--live takes its truth from a nuScenes tree: give the one that {args.live} was made from as --data')
    references = lidar_stamps(args.live)
    labelled = {moment.stamp_ns: sequence.label_path(index) for index, moment in enumerate(sequence.moments) if moment.labelled}
    rate_hz = least_rate(references, labelled)
    asked = due_stamps(references, rate_hz)
    due = {stamp: labelled[stamp] for stamp in asked if stamp in labelled}
    if not due:
        raise ValueError(f'none of the {len(references)} LiDAR stamps of {args.live} is a key frame of {sequence.name} in '
                         f'{args.data}: name the scene that it was made from with --scene')
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='occ-eval-') as scratch:
        folder = Path(scratch)
        (folder / 'truth').mkdir()
        for stamp, path in due.items():
            (folder / 'truth' / f'{stamp}.npz').symlink_to(path.resolve())
        up = [args.network, '--bag', str(args.live), '--backend', args.backend, '--precision', args.precision,
              '--memory', args.memory,
              '-p', f'occupancy.max_rate:={rate_hz}', '-p', f'occupancy.published_motion:={args.published_motion}'.lower(),
              *(['--weights', args.weights] if args.weights else []),
              *(['--published-centers'] if args.published_centers else []), *(['--lockstep'] if args.lockstep else [])]
        print(f'replaying {args.live} through {args.network}: {len(asked)} grids, {len(due)} of them with truth', file=sys.stderr)
        status = replay(up, folder / 'truth', len(asked), folder)
        shutil.copy(folder / 'nodes.log', out / 'nodes.log')
        if status:
            raise ValueError(f'the replay of {args.live} failed; the log of the nodes is {out / "nodes.log"}')
        grids = load_grids(folder)
    strangers = {grid.stamp_ns for grid in grids} - set(asked)
    if strangers:
        raise ValueError(f'{len(strangers)} grids are not of this bag (stamps {shortened([str(each) for each in strangers], 3)}): '
                         'other nodes publish occ/voxels in this ROS_DOMAIN_ID; stop them, or set ROS_DOMAIN_ID to another number')
    live = score_grids(grids, due)
    with tqdm(total=len(due), unit='frame', desc='scoring') as bar:
        result, dropped = score_received(sequence, grids, due, request.rays, bar.update)
    return result, {'bag': str(args.live), 'lockstep': args.lockstep, 'rate_hz': rate_hz, 'due': len(due),
                    'received': len(due) - dropped, 'dropped': dropped, 'latency_ms': live.as_dict()['latency_ms']}


def lidar_stamps(bag: Path) -> list[int]:
    """Header stamps of the LiDAR clouds of a bag, in time order. Raises ValueError when it has none."""
    with Bag(bag) as opened:
        topic = detect(opened.topics, str(bag)).points_topic
        if topic is None:
            raise ValueError(f'{bag} has no LiDAR clouds; key frames are told by their stamps')
        return sorted(header_stamp_ns(message.data) for message in opened.messages({f'/{topic}'}))

"""`occ track`: follow the objects of generated streets and score the tracks against the truth."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from occ_perception.datasets.sample_world.frame import WorldFrame
    from occ_perception.metrics.tracking import TrackingRow
    from occ_perception.runtime.frames import Instance

LEAD_S = 0.3
"""Drive before the first frame, in which its pictures are exposed."""
EPILOG = """\
Streets are those that training never saw, the same every time. Objects are matched by class and
within 2 m; what no camera sees is neither demanded nor held against anybody.

columns: objects (true ones, times frames), tracks (true objects), MOTA, IDF1, recall, precision (%),
identity switches, fragmentations, objects found in 80 % of their frames or more ("mostly"); then in m/s
the error of the velocity of what moves, mean and median, and the speed that is told of what stands.

  occ track --truth                  the true voxels, so only grouping and tracking err
  occ track --network scocc_sample   what a network sees, as it would run live
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `occ track`."""
    parser.epilog = EPILOG
    parser.formatter_class = _Help
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--network', default='scocc_sample', metavar='NAME', help='catalogue name of the network that looks')
    source.add_argument('--truth', action='store_true', help='look with true voxels in place of a network')
    parser.add_argument('--weights', help='weights of the network: a file, or random (default: the shipped ones)')
    parser.add_argument('--streets', type=int, default=2, help='number of streets')
    parser.add_argument('--first', type=int, default=100, help='first of the held-out streets, which count from 0; '
                        'the tracker was tuned on 0 to 2')
    parser.add_argument('--seconds', type=float, default=6.0, help='length of each drive')
    parser.add_argument('--rate', type=float, default=5.0, help='frames per second')
    parser.add_argument('--json', action='store_true', help='print the figures as JSON')


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def run(args: argparse.Namespace) -> int:
    """Generate, look, track, score, print."""
    from tqdm import tqdm

    from occ_perception.geometry.voxel_grid import OCC3D_GRID
    from occ_perception.metrics.tracking import TrackingScore, truth_objects
    from occ_perception.training.prepare import FIRST_HELD_OUT_STREET

    frames = round(args.seconds * args.rate)
    if args.streets < 1 or not 0 <= args.first < 100_000 or not 0 < args.rate <= 20 or frames < 2:
        raise ValueError(f'--streets {args.streets} --first {args.first} --seconds {args.seconds:g} --rate {args.rate:g}: at least '
                         'one street from 0 to 99999, a rate up to 20 and two frames are needed')
    score = TrackingScore()
    follower = _TrueVoxels() if args.truth else _Network(args.network, args.weights)
    with tqdm(total=args.streets * frames, unit='frame', desc='tracking') as progress:
        for street in range(args.first, args.first + args.streets):
            follower.reset()
            score.begin_stream()
            for frame in _drive(FIRST_HELD_OUT_STREET + street, frames, args.rate, small=args.truth):
                true = frame.truth
                assert true is not None
                score.add(truth_objects(true.instances, true.semantics, true.flow, true.mask_camera, OCC3D_GRID),
                          follower.objects(frame))
                progress.update()
    rows = score.rows()
    source = 'truth' if args.truth else args.network
    if args.json:
        print(json.dumps({'source': source, 'streets': args.streets, 'first': args.first, 'seconds': args.seconds,
                          'rate_hz': args.rate, 'rows': [row.as_dict() for row in rows]}, indent=2))
    else:
        print(f'{source}, {args.streets} streets, {args.seconds:g} s each at {args.rate:g} Hz\n{table(rows)}')
    return 0


def table(rows: list[TrackingRow]) -> str:
    """The figures as lines of text; shares in percent."""
    lines = [f'{"":20} {"objects":>8}{"tracks":>7}{"MOTA":>7}{"IDF1":>7}{"recall":>8}{"prec.":>7}{"switch":>8}{"frag.":>7}'
             f'{"mostly":>8}{"v err":>7}{"med.":>7}{"still":>7}']
    for row in rows:
        shares = [f'{100 * value:.1f}' if np.isfinite(value) else '-' for value in (row.mota, row.idf1, row.recall, row.precision)]
        speeds = [f'{value:.2f}' if np.isfinite(value) else '-'
                  for value in (row.velocity_error_m_s, row.velocity_median_m_s, row.standing_speed_m_s)]
        lines.append(f'{row.name.replace("_", " "):20} {row.objects:8}{row.tracks:7}{shares[0]:>7}{shares[1]:>7}{shares[2]:>8}'
                     f'{shares[3]:>7}{row.switches:8}{row.fragmentations:7}{row.mostly_tracked:8}{speeds[0]:>7}{speeds[1]:>7}{speeds[2]:>7}')
    return '\n'.join(lines)


def _drive(seed: int, frames: int, rate_hz: float, small: bool) -> Iterator[WorldFrame]:
    from occ_perception.datasets.sample_world import make_street, render_frame
    from occ_perception.datasets.sample_world.frame import DEFAULT_IMAGE_SIZE
    from occ_perception.training.prepare import TRAINING_IMAGE_SIZE

    street = make_street(seed, LEAD_S + frames / rate_hz)
    size = TRAINING_IMAGE_SIZE if small else DEFAULT_IMAGE_SIZE
    for number in range(frames):
        yield render_frame(street, LEAD_S + number / rate_hz, size, sweep=False)


def _nanoseconds(time_s: float) -> int:
    return round(1e9 * time_s)


class _TrueVoxels:
    """Follows what the true voxels show."""

    def __init__(self) -> None:
        from occ_perception.runtime.tracking import Tracker

        self._tracker = Tracker()

    def reset(self) -> None:
        self._tracker.reset()

    def objects(self, frame: WorldFrame) -> tuple[Instance, ...]:
        from occ_perception.geometry.voxel_grid import OCC3D_GRID
        from occ_perception.runtime.instances import instances_from_labels

        assert frame.truth is not None
        instances = instances_from_labels(frame.truth.semantics, OCC3D_GRID)[1]
        return self._tracker.update(_nanoseconds(frame.time_s), frame.fixed_from_ego, instances).instances


class _Network:
    """Follows what a network shows."""

    def __init__(self, name: str, weights: str | None) -> None:
        from occ_perception.runtime.predictor import Predictor

        self._predictor = Predictor(name, weights=weights)

    def reset(self) -> None:
        self._predictor.reset()

    def objects(self, frame: WorldFrame) -> tuple[Instance, ...]:
        from occ_perception.datasets.sample_world import sensor_frame

        return self._predictor.predict(sensor_frame(frame)).instances

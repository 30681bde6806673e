"""`occ world`: generated streets as a nuScenes data set with Occ3D labels, and as ROS 2 bags."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `occ world`."""
    parser.add_argument('--out', type=Path, default=Path('data/world'), help='folder of the data set')
    parser.add_argument('--scenes', type=int, default=8, help='number of streets')
    parser.add_argument('--seed', type=int, default=0, help='seed of the first street; the next ones count on from it')
    parser.add_argument('--keyframes', type=int, default=20, help='key frames per scene, 0.5 s apart')
    parser.add_argument('--image-size', type=_size, default=(800, 450), metavar='WxH', help='size of the pictures, 16:9')
    parser.add_argument('--sweeps', action='store_true', help='also what lies between key frames: cameras at 12 Hz, LiDAR at 20 Hz')
    parser.add_argument('--bags', action='store_true', help='also a ROS 2 mcap bag per scene (implies --sweeps)')
    parser.add_argument('--truth-hz', type=float, default=2.0, help='rate of the truth for scoring, under truth/; must divide 20')
    parser.add_argument('--jobs', type=int, help='processes (default: one per core)')


def run(args: argparse.Namespace) -> int:
    """Generate what is missing and say where it is."""
    from occ_perception.datasets.nuscenes_tables import VERSION
    from occ_perception.datasets.sample_world.scene_writer import SceneOptions
    from occ_perception.datasets.sample_world.world_writer import write_world

    if args.scenes < 1:
        raise ValueError(f'--scenes {args.scenes}: ask for at least one street')
    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f'--jobs {args.jobs}: at least one process is needed')
    options = SceneOptions(args.keyframes, args.image_size, args.sweeps or args.bags, args.bags, args.truth_hz)
    write_world(args.out, range(args.seed, args.seed + args.scenes), options, args.jobs)
    print(f'nuScenes tables  {args.out / VERSION}')
    print(f'Occ3D labels     {args.out / "gts"}')
    print(f'truth by stamp   {args.out / "truth"}')
    if args.bags:
        print(f'bags             {args.out / "bags"}')
    return 0


def _size(text: str) -> tuple[int, int]:
    """'800x450' -> (800, 450)."""
    width, _, height = text.partition('x')
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f'{text!r} is no picture size; write it as 800x450')
    return int(width), int(height)

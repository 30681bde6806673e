"""`occ bag`: ROS 2 bags of nuScenes scenes, made from the data set or mended by it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `occ bag nuscenes` and `occ bag calibrate`."""
    kinds = parser.add_subparsers(dest='source', metavar='SOURCE', required=True)
    nuscenes = kinds.add_parser('nuscenes', help='scenes of a nuScenes tree (also one that `occ world` wrote)',
                                description='Scenes of a nuScenes tree as bags that the vehicle would have recorded.')
    nuscenes.add_argument('--data', type=Path, required=True, metavar='ROOT', help='folder with samples/, sweeps/ and v1.0-*')
    nuscenes.add_argument('--version', help='table folder such as v1.0-mini; may be left out when there is only one')
    chosen = nuscenes.add_mutually_exclusive_group(required=True)
    chosen.add_argument('--scene', nargs='+', metavar='NAME', help='scenes by name, such as scene-0061')
    chosen.add_argument('--all', action='store_true', help='all scenes; those whose bags are there already are left as they are')
    nuscenes.add_argument('--out', type=Path, required=True, metavar='DIR', help='where the bag folders go, one per scene')
    nuscenes.add_argument('--no-sweeps', action='store_true', help='key frames (2 Hz) only')
    nuscenes.add_argument('--truth', action='store_true', help='also /truth/voxels (Occ3D labels, ROOT/gts) and /truth/instances '
                          '(annotated boxes), and DIR/truth/<scene>/<stamp>.npz for `occ score`')
    nuscenes.add_argument('--skip-corrupt', action='store_true', help='leave missing and damaged files out, and count them')
    calibrate = kinds.add_parser('calibrate', help='add CameraInfo to a bag that was written without',
                                 description='Copy a bag of a nuScenes scene and add CameraInfo from the tables of the data set.')
    calibrate.add_argument('bag', type=Path, metavar='BAG', help='ROS 2 bag with pictures, such as a conversion of nuscenes2bag')
    calibrate.add_argument('--data', type=Path, required=True, metavar='ROOT', help='folder with v1.0-*; pictures are not needed')
    calibrate.add_argument('--version', help='table folder such as v1.0-mini; may be left out when there is only one')
    calibrate.add_argument('--out', type=Path, required=True, metavar='DIR', help='where the new bag folder goes')


def run(args: argparse.Namespace) -> int:
    """Write the bags and say what is in them."""
    return _calibrate(args) if args.source == 'calibrate' else _nuscenes(args)


def _calibrate(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from occ_perception.datasets.bag_calibration import add_camera_info
    from occ_perception.datasets.nuscenes import NuScenes

    with tqdm(unit='message', desc=args.bag.stem, leave=False) as bar:
        path, added = add_camera_info(args.bag, NuScenes(args.data, args.version), args.out, _follower(bar))
    print(f'{path}: {added} CameraInfo added')
    return 0


def _nuscenes(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from occ_perception.datasets.nuscenes import NuScenes
    from occ_perception.datasets.nuscenes_bag import BagContent, write_scene_bag

    data = NuScenes(args.data, args.version)
    scenes = data.scenes() if args.all else [data.scene(name) for name in args.scene]
    content = BagContent(not args.no_sweeps, args.truth, args.skip_corrupt)
    for scene in scenes:
        if args.all and (args.out / scene.name).exists():
            print(f'{args.out / scene.name}: there already')
            continue
        with tqdm(unit='message', desc=scene.name, leave=False) as bar:
            report = write_scene_bag(data, scene, args.out, content, _follower(bar))
        print(f'{report.path}: {report.seconds:.1f} s, {report.images} images, {report.sweeps} sweeps, {report.poses} poses, '
              f'{report.odometry} odometry ({report.odometry_source})'
              + (f', {report.truths} truths' if args.truth else '')
              + (f', {report.untimed} sweeps without point times' if report.untimed else '')
              + (f', {len(report.left_out)} files left out, first {report.left_out[0]}' if report.left_out else ''), flush=True)
    return 0


def _follower(bar: Any) -> Callable[[int, int], None]:
    """What moves a progress bar."""
    def follow(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return follow

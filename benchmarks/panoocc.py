"""Time and peak memory of PanoOcc's configurations on this machine: `python -m benchmarks.panoocc [NAME ...] [--save]`.

Each configuration runs in a process of its own, with seeded random weights (they cost what trained ones cost), over two key frames
of a made drive through the whole Predictor; the second frame, whose past is known as far as it reaches, is the one told.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import numpy as np

from benchmarks.recording import print_result, save_row
from occ_perception.catalogue import NETWORKS, entry
from occ_perception.engines.example_inputs import example_images, example_rig
from occ_perception.geometry.transforms import matrix
from occ_perception.runtime.frames import CameraImage, LidarSweep, SensorFrame
from occ_perception.runtime.predictor import Predictor
from occ_perception.runtime.voxel_places import lidar_mount

NAMES = [name for name, row in NETWORKS.items() if row.family == 'panoocc']
POINTS = 34_720
"""Of a 32-beam sweep."""


def frame(name: str, number: int) -> SensorFrame:
    """A key frame of a drive at 8 m/s, half a second after the one before."""
    row = entry(name)
    stamp, pose = 500_000_000 * number, matrix(np.eye(3), (4.0 * number, 0, 0))
    intrinsics, mounts = example_rig(row)
    cameras = {camera: CameraImage(camera, stamp, image, k, mount, pose) for camera, image, k, mount
               in zip(row.cameras, example_images(row, number), intrinsics, mounts, strict=True)}
    points = np.random.default_rng(number).uniform((-50, -50, -2, 0, 0, 0), (50, 50, 4, 1, 31, 0), (POINTS, 6)).astype(np.float32)
    return SensorFrame(stamp, pose, cameras, (LidarSweep(stamp, points, lidar_mount(0.943, 0, 1.84, -90.0)),))


def measure(name: str, threads: int | None) -> dict[str, float]:
    """Stages of the second frame [ms] and the highest memory of the process [MB]."""
    predictor = Predictor(name, 'torch', 'random', threads)
    predictor.predict(frame(name, 0))
    told = predictor.predict(frame(name, 1))
    stages = {f'{stage}_ms': round(ms, 1) for stage, ms in told.timings_ms.items()}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {**stages, 'frame_ms': round(sum(told.timings_ms.values()), 1), 'peak_memory_mb': round(peak_mb)}


def main() -> int:
    """Measure one configuration after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='*', choices=[*NAMES, []], metavar='NAME', help='configurations; default: all')
    parser.add_argument('--threads', type=int, help='of PyTorch; default: all cores')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/panoocc.json')
    parser.add_argument('--json', action='store_true', help='one line of JSON per configuration')
    parser.add_argument('--here', action='store_true', help='in this very process, one configuration')
    arguments = parser.parse_args()
    names = arguments.name or NAMES
    if arguments.here:
        print_result(measure(names[0], arguments.threads), True)
        return 0
    failed = 0
    for name in names:
        command = [sys.executable, '-m', 'benchmarks.panoocc', name, '--here']
        command += ['--threads', str(arguments.threads)] if arguments.threads else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f'{name}: ended with {done.returncode}', file=sys.stderr)
            failed += 1
            continue
        figures = json.loads(done.stdout.splitlines()[-1])
        print_result({'network': name, **figures}, arguments.json)
        if arguments.save:
            save_row('panoocc', name, figures, f'python -m benchmarks.panoocc {name} --save')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())

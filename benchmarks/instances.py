"""Speed of grouping and tracking on this machine: `python -m benchmarks.instances [--json] [--save]`.

On the true voxels of a generated street; median processor time of the runs (OMP_NUM_THREADS=1 keeps it to one thread). Centre
head: maps that have a peak at each object.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.recording import print_result, save_row
from occ_perception.datasets.sample_world import make_street, render_frame
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.machine import processor
from occ_perception.runtime.frames import Instance
from occ_perception.runtime.instances import instances_from_labels
from occ_perception.runtime.panoptic import CORRECTED_CLASSES, decode_centers, instances_from_centers
from occ_perception.runtime.tracking import Tracker

STREET, TIME_S = 200_000, 1.0
RUNS = 30


def milliseconds(call: Callable[[int], object]) -> float:
    """Median processor time of a call, which is given the number of the run."""
    times = []
    for run in range(RUNS + 5):
        began = time.process_time()
        call(run)
        times.append(1e3 * (time.process_time() - began))
    return round(statistics.median(times[5:]), 2)


def head_maps(instances: Sequence[Instance]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heatmap, offsets and heights (y, x) of a centre head that sees the instances."""
    heatmap = np.random.default_rng(0).normal(-6, 0.5, (10, 200, 200)).astype(np.float32)
    reg, height = np.full((2, 200, 200), 0.5, np.float32), np.zeros((1, 200, 200), np.float32)
    index, _ = OCC3D_GRID.indices(np.array([one.center_m for one in instances]))
    for one, (x, y, _) in zip(instances, index, strict=True):
        heatmap[CORRECTED_CLASSES.label_of_channel.index(one.label), y, x] = 2
        height[0, y, x] = one.center_m[2]
    return heatmap, reg, height


def tracker_call(instances: Sequence[Instance]) -> Callable[[int], object]:
    """A tracker that sees the instances 0.1 s apart, a little elsewhere each time."""
    tracker, random = Tracker(), np.random.default_rng(0)

    def call(run: int) -> object:
        shifts = random.normal(0, 0.1, (len(instances), 2)).tolist()
        moved = [replace(one, center_m=(one.center_m[0] + x, one.center_m[1] + y, one.center_m[2]))
                 for one, (x, y) in zip(instances, shifts, strict=True)]
        return tracker.update(100_000_000 * run, np.eye(4), moved)

    return call


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print the figures as JSON')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    truth = render_frame(make_street(STREET, 2.0), TIME_S, cameras=(), sweep=False).truth
    assert truth is not None
    labels = truth.semantics
    ids, instances = instances_from_labels(labels, OCC3D_GRID)
    maps = head_maps(instances)
    centers = decode_centers(*maps)
    tracked = Tracker().update(0, np.eye(4), instances)
    figures = {
        'components': milliseconds(lambda _: instances_from_labels(labels, OCC3D_GRID)),
        'centres decoded': milliseconds(lambda _: decode_centers(*maps)),
        'centres to instances': milliseconds(lambda _: instances_from_centers(labels, centers)),
        'tracker, 60 objects': milliseconds(tracker_call(instances[:60])),
        f'tracker, {len(instances)} objects': milliseconds(tracker_call(instances)),
        'ids of the volume': milliseconds(lambda _: tracked.relabelled(ids))}
    result = {'objects': len(instances), 'voxels': int(np.count_nonzero(ids)), 'centres': len(centers.xyz), 'milliseconds': figures}
    print_result({'processor': processor(), **result}, arguments.json)
    if arguments.save:
        save_row('instances', f'street {STREET}', result, 'python -m benchmarks.instances --save')


if __name__ == '__main__':
    main()

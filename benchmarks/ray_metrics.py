"""Speed of the ray metrics on this machine: `python -m benchmarks.ray_metrics [--json] [--save] [--device cuda]`.

One sample with the full ray set, 14040 rays from each of 8 origins, cast through a generated street (the truth) and the same street
disturbed (the prediction), then counted as RayIoU and as RayPQ; the median of the runs, on one core. Beside it an empty grid, the
slowest there is, and the caster's floor: the arithmetic that no voxel traversal in NumPy goes without (two comparisons, three sums
and one read of the grid for every voxel that every ray visits).
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np

from benchmarks.recording import print_result, save_row
from benchmarks.timing import median_seconds
from occ_perception.datasets.sample_world import make_street, render_frame
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import FREE
from occ_perception.machine import processor
from occ_perception.metrics.ray_cast import BLOCK, RayHits, cast_rays, ray_starts
from occ_perception.metrics.ray_iou import RayIoU
from occ_perception.metrics.ray_pq import RayPQ
from occ_perception.metrics.ray_set import MAX_ORIGINS, lidar_rays

ORIGINS_M = np.stack([np.linspace(-38, 38, MAX_ORIGINS), np.linspace(-1, 1, MAX_ORIGINS), np.full(MAX_ORIGINS, 1.84)], axis=1)


def voxels_visited(hits: RayHits) -> int:
    """How many voxels the rays looked at: from the start to the end every step changes one index by one."""
    start = ray_starts(ORIGINS_M, lidar_rays(), OCC3D_GRID).voxel
    end = np.stack(np.unravel_index(hits.voxel, OCC3D_GRID.shape), axis=1)
    return int(np.abs(end - start).sum()) + len(start)


def floor_seconds(visits: int, runs: int) -> float:
    """Seconds for the bare arithmetic of that many steps, in blocks as the caster takes them."""
    values = np.random.default_rng(0).random((6, BLOCK))
    grid, index = np.zeros(np.prod(OCC3D_GRID.shape), np.uint8), np.random.default_rng(1).integers(0, 640_000, BLOCK)

    def step() -> None:
        np.minimum(np.minimum(values[0], values[1]), values[2])
        for axis in range(3):
            np.add(values[axis], values[axis + 3])
        grid.take(index)

    def steps() -> None:
        for _ in range(-(-visits // BLOCK)):
            step()

    return median_seconds(steps, runs)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--runs', type=int, default=5, help='timed calls of each')
    parser.add_argument('--device', help='also cast on this PyTorch device, for example cuda or cpu')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    truth = render_frame(make_street(300_900, 4.0), 1.0).truth
    assert truth is not None
    labels, ids = truth.semantics, truth.instances
    disturbed = np.roll(labels, 1, axis=0)
    predicted, true = cast_rays(disturbed, ORIGINS_M, FREE), cast_rays(labels, ORIGINS_M, FREE)
    tracemalloc.start()
    cast_rays(labels, ORIGINS_M, FREE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    calls: dict[str, Callable[[], object]] = {
        'cast_truth': lambda: cast_rays(labels, ORIGINS_M, FREE),
        'cast_prediction': lambda: cast_rays(disturbed, ORIGINS_M, FREE),
        'ray_iou': lambda: RayIoU().add(predicted, true),
        'ray_pq': lambda: RayPQ().add(predicted, true, np.roll(ids, 1, axis=0), ids)}
    seconds = {name: median_seconds(call, arguments.runs) for name, call in calls.items()}
    sample = sum(seconds.values())
    empty = np.full(labels.shape, FREE, np.uint8)
    seconds['cast_empty_grid'] = median_seconds(lambda: cast_rays(empty, ORIGINS_M, FREE), arguments.runs)
    if arguments.device:
        from occ_perception.metrics import ray_cast_torch
        seconds[f'cast_truth_torch_{arguments.device}'] = median_seconds(
            lambda: ray_cast_torch.cast_rays(labels, ORIGINS_M, FREE, device=arguments.device), arguments.runs)
    visits = voxels_visited(true)
    result = {
        'rays': len(true.labels), 'origins': len(ORIGINS_M), 'voxels_visited': visits,
        'seconds_per_sample': round(sample, 4), 'seconds': {name: round(value, 4) for name, value in seconds.items()},
        'cast_truth_floor_seconds': round(floor_seconds(visits, arguments.runs), 4), 'cast_peak_mib': round(peak / 2 ** 20, 1)}
    print_result({'processor': processor(), **result}, arguments.json)
    if arguments.save:
        on_device = f' --device {arguments.device}' if arguments.device else ''
        save_row('ray_metrics', 'one sample' + on_device.replace(' --device', ', also on'), result,
                 'python -m benchmarks.ray_metrics --save' + on_device)
    return 0


if __name__ == '__main__':
    sys.exit(main())

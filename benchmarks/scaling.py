"""How time and memory grow: `python -m benchmarks.scaling [--json] [--save]`.

One thing at a time is changed in the network of scocc_sample (random weights): the number of cameras, the size of their pictures,
the cells of the grid. Each is exported and run in OpenVINO, in the precision chosen here, in a process of its own. Beside each
stands the floor: its floating-point operations over the speed of a large matrix product in the same precision, or the bytes of
weights, inputs and outputs over that of a large copy, whichever is longer. Then what LiDAR sweeps cost: moving the newest point by
point, the earlier ones as a whole, and cutting all of them into voxels; their floor is reading and writing the points once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch

from benchmarks.gpu.timing import best_ms
from benchmarks.gpu.work_done import WorkDone, floor_ms, measured_peaks
from benchmarks.peak import product_flops
from benchmarks.recording import print_result, save_row
from benchmarks.session_run import run_apart
from benchmarks.timing import interleaved
from occ_perception.catalogue import ImagePreprocessing, NetworkEntry, entry
from occ_perception.datasets.sample_world.rig import ego_from_lidar
from occ_perception.engines.example_inputs import example_images, example_rig
from occ_perception.engines.export import trace
from occ_perception.engines.graphs import WholeGraph
from occ_perception.engines.precision import chosen_precision
from occ_perception.geometry.column_lift import LiftTables, build_lift_tables
from occ_perception.geometry.transforms import matrix
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.geometry.voxelise import VoxelSpec, voxelise_in_order
from occ_perception.networks.configs import config_of
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.runtime.intake.sweeps import move_to_reference, to_ego

NAME = 'scocc_sample'
CAMERAS, SIZES, GRIDS, SWEEPS = (1, 3, 6), ((128, 352), (192, 528), (256, 704)), ((100, 0.8), (200, 0.4), (400, 0.2)), (1, 3, 5, 10)
POINTS = 34_688
"""Of one sweep, as in nuScenes."""
VOXELS = VoxelSpec((-40.0, -40.0, -1.0), (40.0, 40.0, 5.4), (0.1, 0.1, 0.2), 10)
SPEED = {'f32': 'f32', 'bf16': 'bf16', 'int8': 'bf16'}


def variants() -> dict[str, NetworkEntry]:
    """Rows of the catalogue with one thing changed."""
    row = entry(NAME)

    def sized(height: int, width: int) -> NetworkEntry:
        return replace(row, preprocessing=ImagePreprocessing(input_height=height, input_width=width),
                       lift=replace(row.frustum, input_height=height, input_width=width))

    def gridded(cells: int, size_m: float) -> NetworkEntry:
        grid = VoxelGridSpec((-40.0, -40.0, -1.0), size_m, (cells, cells, 16))
        return replace(row, grid=grid, lift=replace(row.frustum, grid=grid))

    return ({f'{many} cameras': replace(row, cameras=row.cameras[:many]) for many in CAMERAS}
            | {f'pictures of {height}x{width}': sized(height, width) for height, width in SIZES}
            | {f'grid of {cells}x{cells}, {size_m} m': gridded(cells, size_m) for cells, size_m in GRIDS})


def peaks_here() -> dict[str, float]:
    """Speeds of this processor, see measured_peaks; products by product_flops."""
    peaks = measured_peaks(torch.device('cpu'), partial(best_ms, device=torch.device('cpu')))
    return {**peaks, **{precision: round(1e-12 * product_flops(precision), 3) for precision in ('f32', 'bf16')}}


def measure_network(row: NetworkEntry, folder: Path, peaks: dict[str, float], runs: int) -> dict:
    """Figures of one variant."""
    precision = chosen_precision('openvino', 'auto')
    torch.manual_seed(0)
    network = FlashOcc(config_of(NAME), row.preprocessing, row.frustum).eval()
    tables = build_lift_tables(row.frustum, *example_rig(row), row.frustum.default_caps(len(row.cameras)))
    feeds = {'images': example_images(row), **{name: getattr(tables, name) for name in LiftTables.NAMES}}
    graph = WholeGraph(network, tables.slots)
    inputs = [torch.from_numpy(feeds[name]) for name in graph.inputs]
    onnx.save(trace(graph, {name: feeds[name] for name in graph.inputs}, graph.outputs), folder / 'network.onnx')
    with torch.inference_mode(), WorkDone() as work:
        labels = graph(*inputs)[0]
    border = [*network.parameters(), *inputs, labels]
    floor = floor_ms(work, border, 1e12 * peaks[SPEED[precision]], 1e9 * peaks['copy'], 'f32' if precision == 'f32' else 'f16')
    return {**run_apart(folder / 'network.onnx', feeds, precision, runs), 'floor_ms': floor['whole'],
            'gflop': round(work.flops / 1e9, 1), 'precision': precision}


def measure_sweeps(many: int, peaks: dict[str, float], runs: int) -> dict:
    """Figures of so many sweeps."""
    random = np.random.default_rng(0)
    sweep = np.zeros((POINTS, 6), np.float32)
    sweep[:, :3] = random.normal(0, (15, 15, 1), (POINTS, 3))
    sweep[:, 5] = np.linspace(-0.05, 0, POINTS)
    poses = [matrix(np.eye(3), (-0.5 * age, 0, 0)) for age in range(many + 1)]
    moved = to_ego(sweep, ego_from_lidar(), poses[1], poses[0], poses[0])
    cloud = np.concatenate([moved, *(move_to_reference(moved, pose, poses[0], 0.05) for pose in poses[1:many])])

    def move() -> None:
        to_ego(sweep, ego_from_lidar(), poses[1], poses[0], poses[0])
        for age in range(1, many):
            move_to_reference(moved, poses[age], poses[0], 0.05 * age)

    times = interleaved({'moving': move, 'voxels': lambda: voxelise_in_order(cloud, VOXELS, 200_000)}, runs, 2)
    return {'milliseconds': round(sum(times.values()), 2), 'floor_ms': round(2e-6 * cloud.nbytes / peaks['copy'], 3), **times,
            'points': len(cloud), 'voxels made': len(voxelise_in_order(cloud, VOXELS, 200_000).coords)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=10, help='timed calls of each')
    parser.add_argument('--only', metavar='WORD', default='', help='rows whose key has this word: cameras, pictures, grid, sweeps')
    parser.add_argument('--json', action='store_true', help='print one JSON object per row')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    peaks = peaks_here()
    print_result({'row': 'peaks', 'cores': os.cpu_count(), **peaks}, arguments.json)
    calls = {key: partial(measure_network, row) for key, row in variants().items()}
    calls |= {f'{many} sweeps': lambda _, peaks, runs, many=many: measure_sweeps(many, peaks, runs) for many in SWEEPS}
    for key, call in calls.items():
        if arguments.only not in key:
            continue
        with tempfile.TemporaryDirectory() as folder:
            figures = call(Path(folder), peaks, arguments.runs)
        print_result({'row': key, **figures}, arguments.json)
        if arguments.save:
            save_row('scaling', key, figures, 'python -m benchmarks.scaling --save')
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""EFFOcc's sparse encoder on a cloud of ten sweeps: `python -m benchmarks.sparse_encoder [--json] [--save]`.

The cloud is measured on a generated street, ten turns 0.05 s apart. Prints the seconds of voxels, neighbour tables and encoder
(PyTorch, float32, seeded random weights), the peak memory of the process, and how near the encoder is to its floor: the
multiply-adds of neighbours that are there over the multiply-adds per second of a large matrix product on the same cores. Where the
package spconv is installed it runs the same layers beside.
"""

from __future__ import annotations

import argparse
import resource
import sys
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from benchmarks.peak import product_flops
from benchmarks.recording import print_result, save_row
from benchmarks.timing import median_seconds
from occ_perception.catalogue import entry
from occ_perception.datasets.sample_world import make_street, render_frame
from occ_perception.datasets.sample_world.rig import ego_from_lidar
from occ_perception.engines.spconv_layers import SpconvPlaces, run_by_spconv
from occ_perception.geometry.neighbour_tables import fitting_tables
from occ_perception.geometry.voxelise import voxelise_in_order
from occ_perception.networks.configs import config_of
from occ_perception.networks.effocc.config import EffOccConfig
from occ_perception.networks.parts.sparse_conv import SparseConv3d
from occ_perception.networks.parts.sparse_encoder import SparseEncoder, SparseTensors
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.intake.sweeps import move_to_reference
from occ_perception.runtime.lidar_input import points_of

NETWORK, STREET, TIME_S, SWEEP_S = 'effocc-fusion-r18', 300_003, 1.0, 0.05


def cloud() -> np.ndarray:
    """Points of the present sweep and nine earlier ones as the network takes them, (M, 5) float32."""
    spec = entry(NETWORK).lidar
    assert spec is not None
    street, sweeps = make_street(STREET, TIME_S + 1), []
    reference = None
    for age in range(1 + len(spec.ages_s)):
        frame = render_frame(street, TIME_S - SWEEP_S * age, cameras=(), truth=False)
        reference = frame.fixed_from_ego if reference is None else reference
        assert frame.sweep is not None
        points = np.zeros((len(frame.sweep.points), 6), np.float32)
        points[:, :3] = frame.sweep.points
        points[:, 3] = frame.sweep.intensity
        moved = move_to_reference(points, frame.fixed_from_ego @ ego_from_lidar(), reference, SWEEP_S * age)
        sweeps.append(LidarSweep(round(1e9 * (TIME_S - SWEEP_S * age)), moved,
                                 np.linalg.inv(reference) @ frame.fixed_from_ego @ ego_from_lidar()))
    return points_of(sweeps, spec)


def measure(runs: int) -> dict[str, float | int]:
    """All figures."""
    config = config_of(NETWORK)
    assert isinstance(config, EffOccConfig)
    branch, points = config.lidar, cloud()
    torch.manual_seed(0)
    encoder = SparseEncoder(branch).eval()
    work = 0

    def count(conv: torch.nn.Module, inputs: tuple[Tensor, Tensor], _: Tensor) -> None:
        nonlocal work
        assert isinstance(conv, SparseConv3d)
        out, *_kernel, inward = conv.weight.shape
        work += int((inputs[1] < len(inputs[0])).sum()) * out * inward

    with torch.inference_mode():
        voxels = voxelise_in_order(points, branch.voxels, len(points) if branch.most is None else branch.most)
        tables, _ = fitting_tables(voxels.coords, branch.sparse)
        features = torch.from_numpy(tables.padded_features(voxels.features))
        tensors = SparseTensors.from_arrays(tables.arrays(), branch.sparse)
        hooks = [module.register_forward_hook(count) for module in encoder.modules() if isinstance(module, SparseConv3d)]
        encoder(features, tensors)
        for hook in hooks:
            hook.remove()
        peak = product_flops() / 2
        took = median_seconds(lambda: encoder(features, tensors), runs)
        by_package = {}
        if find_spec('spconv') is not None:
            run_by_spconv(encoder)
            means, coords = torch.from_numpy(voxels.features), torch.from_numpy(voxels.coords)
            by_package['spconv with its own tables, s'] = round(median_seconds(
                lambda: encoder(means, SpconvPlaces(coords, branch.sparse)), runs), 3)
    return {
        'points': len(points), 'voxels': len(voxels.coords), 'voxels left out': voxels.left_out,
        'rows of the last level': tables.rows[-1],
        'voxels, s': round(median_seconds(lambda: voxelise_in_order(points, branch.voxels, branch.most or len(points)), runs), 3),
        'tables, s': round(median_seconds(lambda: fitting_tables(voxels.coords, branch.sparse), runs), 3),
        'encoder, s': round(took, 3), **by_package,
        'multiply-adds, G': round(work / 1e9, 2), 'measured peak, G/s': round(peak / 1e9, 1),
        'share of the floor': round(work / peak / took, 3), 'threads': torch.get_num_threads(),
        'peak memory, GB': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=5, help='timed runs (default %(default)s)')
    parser.add_argument('--json', action='store_true', help='one line of JSON')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args(words)
    figures = measure(arguments.runs)
    print_result(figures, arguments.json)
    if arguments.save:
        save_row('sparse_encoder', NETWORK, figures, f'python -m benchmarks.sparse_encoder --runs {arguments.runs} --save')
    return 0


if __name__ == '__main__':
    sys.exit(main())

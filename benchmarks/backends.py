"""Speed of a network on this machine's CPU, backend beside backend: `python -m benchmarks.backends NAME [--json] [--save]`.

Eager PyTorch float32 (contiguous NCHW, and channels last), ONNX Runtime and OpenVINO in float32 and int8, and OpenVINO in bf16
where the processor multiplies it natively; all cores, warmed, the calls in turn, medians. A call is what a Predictor does per frame
between geometry and objects: present images in, labels out, with the network's memory full. Weights are the shipped ones, or random
where none ship. Pictures, and the frames that int8 is calibrated with, are of generated streets; labels are compared on the former.
`floor_ms` is what the multiplications alone would take at the speed of a large float32 matrix product on all cores, see peak.py.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.full_history import full_memory, network_of
from benchmarks.peak import product_flops
from benchmarks.recording import print_result, save_row
from benchmarks.timing import interleaved
from occ_perception.catalogue import NETWORKS, NetworkEntry, entry
from occ_perception.engines.export import export_network
from occ_perception.engines.graph_engine import GraphEngine, Session, StereoGraphEngine, stage_files
from occ_perception.engines.narrow_files import write_int8
from occ_perception.engines.onnxruntime_session import OnnxRuntimeSession
from occ_perception.engines.openvino_engine import OpenVinoSession
from occ_perception.engines.precision import precision_file
from occ_perception.engines.protocol import Engine
from occ_perception.engines.torch_engine import TorchEngine
from occ_perception.evaluation.parity_frames import CALIBRATION_FROM, generated_frames
from occ_perception.evaluation.recorded_feeds import recorded_feeds
from occ_perception.machine import multiplies_bf16, processor

CALIBRATION_FRAMES = 8


def graph_engine(row: NetworkEntry, path: Path, session: Callable[[Path], Session]) -> Engine:
    """The exported network in a runtime."""
    if row.history.stereo:
        encode, match = stage_files(path)
        return StereoGraphEngine(session(encode), session(match), session(path))
    return GraphEngine(session(path))


def seen(row: NetworkEntry) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Images (N, H, W, 3) uint8 of a generated street, and the rig: intrinsics and mounts."""
    frame, = generated_frames(row, 1)
    cameras = [frame.sensors.cameras[name] for name in row.cameras]
    return np.stack([camera.image for camera in cameras]), (np.stack([camera.intrinsics for camera in cameras]),
                                                            np.stack([camera.ego_from_camera for camera in cameras]))


def int8_file(row: NetworkEntry, path: Path) -> Path:
    """The int8 file of an exported network, as `occ build` makes it, but of fewer frames; made when it is first asked for."""
    made = precision_file(path, 'int8')
    if not made.is_file():
        frames = generated_frames(row, CALIBRATION_FRAMES, first_street=CALIBRATION_FROM)
        write_int8(path, row, 'benchmark', recorded_feeds(row, path, frames))
    return made


@torch.inference_mode()
def measure(row: NetworkEntry, runs: int) -> dict:
    """All figures of one network."""
    network = network_of(row)
    images, rig = seen(row)
    engines: dict[str, Engine] = {'torch_f32': TorchEngine(copy.deepcopy(network), channels_last=False),
                                  'torch_f32_channels_last': TorchEngine(copy.deepcopy(network))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'{row.name}.onnx'
        written = export_network(network, row, path)
        agreement = {file.path.name: {runtime: asdict(compared) for runtime, compared in file.compared.items()} for file in written}
        size_mb = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        engines['onnxruntime_f32'] = graph_engine(row, path, OnnxRuntimeSession)
        for precision in ('f32', *(['bf16'] if multiplies_bf16() else [])):
            engines[f'openvino_{precision}'] = graph_engine(row, path, partial(OpenVinoSession, precision=precision))
        for backend, session in (('openvino', OpenVinoSession), ('onnxruntime', OnnxRuntimeSession)):
            engines[f'{backend}_int8'] = graph_engine(row, int8_file(row, path), partial(session, precision='int8'))
        frames = {name: full_memory(engine, row, images, rig) for name, engine in engines.items()}
        with FlopCounterMode(display=False) as counter:
            expected = engines['torch_f32'].infer(images, frames['torch_f32']).labels
        alike = {name: float((engine.infer(images, frames[name]).labels == expected).mean()) for name, engine in engines.items()}
        medians = interleaved({name: partial(engine.infer, images, frames[name]) for name, engine in engines.items()}, runs)
    flops = counter.get_total_flops()
    fastest = min((name for name in medians if not name.startswith('torch')), key=medians.__getitem__)
    return {
        'network': row.name, 'weights': 'shipped' if row.weights else 'random', 'processor': processor(), 'cores': os.cpu_count(),
        'torch': torch.__version__, 'openvino': engines['openvino_f32'].description, 'gflop': round(flops / 1e9, 1),
        'onnx_mb': round(size_mb, 1), 'milliseconds': medians, 'floor_ms': round(1e3 * flops / product_flops(), 1),
        'fastest': fastest, 'speedup_over_eager_torch': round(medians['torch_f32'] / medians[fastest], 2),
        'speedups_over_eager_torch': {name: round(medians['torch_f32'] / value, 2) for name, value in medians.items()},
        'labels_as_torch': {name: round(share, 5) for name, share in alike.items()}, 'export_agreement': agreement}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='+', choices=list(NETWORKS), metavar='NAME', help='networks of the catalogue (occ networks)')
    parser.add_argument('--runs', type=int, default=5, help='timed calls of each')
    parser.add_argument('--json', action='store_true', help='print one JSON object per network')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    for name in arguments.name:
        result = measure(entry(name), arguments.runs)
        print_result(result, arguments.json)
        if arguments.save:
            save_row('backends', name, result, f'python -m benchmarks.backends {name} --save')
    return 0


if __name__ == '__main__':
    sys.exit(main())

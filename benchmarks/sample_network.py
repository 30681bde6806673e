"""Speed of the shipped network on this machine: `python -m benchmarks.sample_network [--json] [--save]`.

OpenVINO as the Predictor runs it, beside eager PyTorch float32 of the same weights where torch is installed; interleaved, after
warm-up, median of the runs. Also the parts of a Predictor call, and the time that one generated frame takes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks.recording import print_result, save_row
from benchmarks.timing import interleaved
from occ_perception.catalogue import entry
from occ_perception.datasets.sample_world import make_street, render_frame, sensor_frame
from occ_perception.engines.protocol import EngineUnavailable, PlacedFrame
from occ_perception.engines.select import open_engine
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.machine import processor
from occ_perception.runtime.intake.image import fit
from occ_perception.runtime.predictor import Predictor

NETWORK = 'scocc_sample'


def _render(process: int, frames: int) -> float:
    """Seconds that one process takes for frames of one street (images and sweep, no truth), making the street left out."""
    street = make_street(300_900 + process, 4.0)
    render_frame(street, 0.5, truth=False)
    began = time.perf_counter()
    for index in range(frames):
        render_frame(street, 1.0 + 0.1 * index, truth=False)
    return time.perf_counter() - began


def world_frame_ms(processes: int, frames: int = 8) -> float:
    """Milliseconds per generated frame when every core renders a street of its own."""
    with ProcessPoolExecutor(processes) as pool:
        slowest = max(pool.map(_render, range(processes), [frames] * processes))
    return round(1e3 * slowest / (frames * processes), 1)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--runs', type=int, default=20, help='timed calls of each')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    world = {'world_frame_all_cores': world_frame_ms(os.cpu_count() or 1)}
    frame = sensor_frame(render_frame(make_street(300_900, 4.0), 1.0))
    predictor = Predictor(NETWORK, 'openvino')
    stages: dict[str, list[float]] = {}
    calls: dict[str, Callable[[], object]] = {}

    def predict() -> None:
        for stage, value in predictor.predict(frame).timings_ms.items():
            stages.setdefault(stage, []).append(value)

    calls['predictor'] = predict
    row = entry(NETWORK)
    cameras = [frame.cameras[name] for name in row.cameras]
    fitted = [fit(camera.image, camera.intrinsics, row.preprocessing) for camera in cameras]
    images = np.stack([image for image, _ in fitted])
    mounts = np.stack([camera.ego_from_camera for camera in cameras])
    lift, intrinsics = row.frustum, np.stack([k for _, k in fitted])
    tables = build_lift_tables(lift, intrinsics, mounts, lift.default_caps(len(cameras))).arrays()
    frames = [PlacedFrame(None, tables)]
    calls['openvino'] = lambda: predictor.engine.infer(images, frames)
    try:
        torch_engine = open_engine(row, 'torch')
        calls['torch_f32'] = lambda: torch_engine.infer(images, frames)
    except EngineUnavailable as error:
        print(error, file=sys.stderr)
    medians = interleaved(calls, arguments.runs)
    result = {
        'engine': predictor.engine.description,
        'milliseconds': {**world, **medians},
        'stages_ms': {stage: round(statistics.median(values), 1) for stage, values in stages.items()},
        'speedup_over_eager_torch': round(medians['torch_f32'] / medians['openvino'], 2) if 'torch_f32' in medians else None}
    print_result({'processor': processor(), 'cores': os.cpu_count(), **result}, arguments.json)
    if arguments.save:
        save_row('sample_network', NETWORK, result, 'python -m benchmarks.sample_network --save')
    return 0


if __name__ == '__main__':
    sys.exit(main())

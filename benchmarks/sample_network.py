"""Speed of the shipped network on this machine: `python -m benchmarks.sample_network [--json]`.

OpenVINO as the Predictor runs it, beside eager PyTorch float32 of the same weights where torch is installed; interleaved, after
warm-up, median of the runs. Also the parts of a Predictor call, and the time that one generated frame takes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from occ_perception.catalogue import entry
from occ_perception.datasets.sample_world import make_street, render_frame
from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.engines.select import open_engine
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.machine import processor
from occ_perception.runtime.frames import CameraImage, SensorFrame
from occ_perception.runtime.intake.image import fit
from occ_perception.runtime.predictor import Predictor

NETWORK = 'scocc_sample'


def interleaved(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median milliseconds of each call; the calls take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 2):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if run >= 2:
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def sensor_frame(seed: int, time_s: float) -> SensorFrame:
    """A generated frame as the Predictor takes it."""
    frame = render_frame(make_street(seed, 4.0), time_s)
    cameras = {name: CameraImage(name, round(view.time_s * 1e9), view.image, view.intrinsics, view.ego_from_camera,
                                 view.fixed_from_ego) for name, view in frame.cameras.items()}
    return SensorFrame(round(frame.time_s * 1e9), frame.fixed_from_ego, cameras)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--runs', type=int, default=20, help='timed calls of each')
    arguments = parser.parse_args()
    street = make_street(300_900, 4.0)
    world = interleaved({'world_frame': lambda: render_frame(street, 1.0, truth=False)}, 4)
    frame = sensor_frame(300_900, 1.0)
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
    tables = build_lift_tables(row.lift, np.stack([k for _, k in fitted]), mounts, row.lift.default_caps(len(cameras))).arrays()
    calls['openvino'] = lambda: predictor.engine.infer(images, tables)
    try:
        torch_engine = open_engine(row, 'torch')
        calls['torch_f32'] = lambda: torch_engine.infer(images, tables)
    except EngineUnavailable as error:
        print(error, file=sys.stderr)
    medians = interleaved(calls, arguments.runs)
    result = {
        'processor': processor(), 'cores': os.cpu_count(), 'engine': predictor.engine.description,
        'milliseconds': {**world, **medians},
        'stages_ms': {stage: round(statistics.median(values), 1) for stage, values in stages.items()},
        'speedup_over_eager_torch': round(medians['torch_f32'] / medians['openvino'], 2) if 'torch_f32' in medians else None}
    if arguments.json:
        print(json.dumps(result))
    else:
        print('\n'.join(f'{name}: {value}' for name, value in result.items()))
    return 0


if __name__ == '__main__':
    sys.exit(main())

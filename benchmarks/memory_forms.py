"""What memory brings and costs on held-out streets: `python -m benchmarks.memory_forms [--json] [--save]`.

Runs scocc_sample (one frame) and scocc_sample_2f with its two forms of memory, exact (features lifted again) and warped (maps
moved), over drives at 4 frames per second, with the same OpenVINO settings and the frames in turn; prints scores, the share of
voxels that the two forms label alike, and the milliseconds of geometry and network. With --torch NAME also the times of a larger
network with random weights in PyTorch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from benchmarks.recording import print_result, save_row
from occ_perception.catalogue import entry
from occ_perception.datasets.sample_world import make_street, render_frame, sensor_frame
from occ_perception.datasets.sample_world.frame import WorldFrame
from occ_perception.engines.export import export_onnx
from occ_perception.engines.protocol import EXACT, MEMORY_FORMS, WARPED
from occ_perception.labels import UNKNOWN
from occ_perception.machine import processor
from occ_perception.metrics.miou import ConfusionMatrix
from occ_perception.runtime.predictor import Predictor

FIRST_STREET = 200_000
RATE_HZ = 4.0


def drives(streets: int, frames: int) -> Iterator[tuple[bool, WorldFrame]]:
    """(whether a street begins, frame) of held-out streets; the first half second of each is there to be remembered."""
    for seed in range(FIRST_STREET, FIRST_STREET + streets):
        street = make_street(seed, 1.0 + frames / RATE_HZ)
        for number in range(frames):
            yield not number, render_frame(street, 0.4 + number / RATE_HZ, sweep=False)


def compare(streets: int, frames: int, onnx: dict[str, Path]) -> dict:
    """Scores, agreement and times of the three."""
    predictors = {'one frame': Predictor('scocc_sample', 'openvino')}
    for form in MEMORY_FORMS:
        predictors[form] = Predictor('scocc_sample_2f', 'openvino', onnx[form], memory=form)
    scores = {name: ConfusionMatrix() for name in predictors}
    times: dict[str, list[float]] = {name: [] for name in predictors}
    alike: list[float] = []
    for begins, world in tqdm(drives(streets, frames), total=streets * frames, unit='frame'):
        assert world.truth is not None
        frame, labels = sensor_frame(world), {}
        for name, predictor in predictors.items():
            if begins:
                predictor.reset()
            prediction = predictor.predict(frame)
            labels[name] = prediction.labels
            if all(prediction.past_stamps_ns):
                times[name].append(prediction.timings_ms['geometry'] + prediction.timings_ms['network'])
                scores[name].add(prediction.labels, world.truth.semantics, world.truth.mask_camera.astype(bool)
                                 & (prediction.labels != UNKNOWN))
        alike.append(float((labels[EXACT] == labels[WARPED]).mean()))
    return {name: {'miou': round(100 * scores[name].miou(), 2), 'geometric_iou': round(100 * scores[name].geometric_iou(), 2),
                   'geometry_and_network_ms': round(statistics.median(times[name]), 1)} for name in predictors} | {
        'exact_and_warped_label_alike': round(statistics.mean(alike), 4)}


def torch_times(name: str, frames: int) -> dict[str, float]:
    """Median milliseconds of geometry and network of a larger network, full history, random weights, both forms in turn."""
    row = entry(name)
    predictors = {form: Predictor(name, 'torch', 'random', memory=form) for form in MEMORY_FORMS}
    street = make_street(FIRST_STREET, 1.0 + (row.frames + frames) / 2)
    times: dict[str, list[float]] = {form: [] for form in MEMORY_FORMS}
    for number in tqdm(range(row.frames - 1 + frames), unit='frame', desc=name):
        frame = sensor_frame(render_frame(street, 0.4 + number / 2, (480, 270), sweep=False, truth=False))
        for form, predictor in predictors.items():
            prediction = predictor.predict(frame)
            if all(prediction.past_stamps_ns):
                times[form].append(prediction.timings_ms['geometry'] + prediction.timings_ms['network'])
    return {form: round(statistics.median(values), 1) for form, values in times.items()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--streets', type=int, default=6, help='held-out streets')
    parser.add_argument('--frames', type=int, default=10, help='frames of each, 0.25 s apart')
    parser.add_argument('--torch', metavar='NAME', action='append', default=[], help='also time this network in PyTorch')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        onnx = {form: Path(folder) / f'{form}.onnx' for form in MEMORY_FORMS}
        for form, path in onnx.items():
            export_onnx('scocc_sample_2f', None, path, memory=form)
        result = {'processor': processor(), 'cores': os.cpu_count(), **compare(arguments.streets, arguments.frames, onnx)}
    for name in arguments.torch:
        result[f'{name}, torch, geometry_and_network_ms'] = torch_times(name, 3)
    print_result(result, arguments.json)
    if arguments.save:
        command = f'python -m benchmarks.memory_forms --streets {arguments.streets} --frames {arguments.frames} --save'
        command += ''.join(f' --torch {name}' for name in arguments.torch)
        # the one-frame network comes right after the rendering, which costs it time: only its scores can be compared
        save_row('memory_forms', 'scocc_sample', {name: result['one frame'][name] for name in ('miou', 'geometric_iou')}, command)
        alike = {'exact_and_warped_label_alike': result['exact_and_warped_label_alike']}
        for form in MEMORY_FORMS:
            save_row('memory_forms', f'scocc_sample_2f, {form}', result[form] | alike, command)
        for name in arguments.torch:
            for form, value in result[f'{name}, torch, geometry_and_network_ms'].items():
                save_row('memory_forms', f'{name}, {form}, torch', {'geometry_and_network_ms': value}, command)
    return 0


if __name__ == '__main__':
    sys.exit(main())

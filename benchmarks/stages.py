"""Where the time of a frame goes: `python -m benchmarks.stages [NAME ...] [--json] [--save]`.

One frame from six 1600x900 JPEGs to a published VoxelGrid in one thread, stage by stage: decoding, fitting to the network's input,
the Predictor's stages, the message, and publishing it to a subscription in this process. Under `network_parts` the network's time
in OpenVINO is shared among what comes before the lift, the lift, and what comes after it, by the layers' own times. There is no
upload on a processor. What the nodes cost around all this: benchmarks.bag_to_topic. Needs ROS.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import openvino
import rclpy

from benchmarks.drive import jpegs_of, moment
from benchmarks.recording import print_result, save_row
from benchmarks.timing import WARM_UP
from occ_msgs.msg import VoxelGrid
from occ_perception.catalogue import NETWORKS, NetworkEntry, entry
from occ_perception.datasets.sample_world import sensor_frame
from occ_perception.engines.example_inputs import example_images, example_rig
from occ_perception.engines.precision import chosen_precision
from occ_perception.engines.select import find_weights, shipped_file
from occ_perception.geometry.column_lift import LiftTables, build_lift_tables
from occ_perception.machine import usable_cores
from occ_perception.nodes import qos
from occ_perception.nodes.conversions import voxel_grid_message
from occ_perception.runtime.frames import SensorFrame
from occ_perception.runtime.intake.decode import decode_compressed
from occ_perception.runtime.intake.image import fit
from occ_perception.runtime.predictor import Predictor

SIZE = 1600, 900
SHIPPED = [name for name, row in NETWORKS.items()
           if row.weights and row.lidar is None and shipped_file(row.weights + '.onnx').is_file()]
BEFORE, LIFT, AFTER = 'images to depth and features', 'lift', 'map to labels'


def frames_of(name: str, frame: SensorFrame, jpegs: dict[str, bytes], runs: int) -> dict[str, float]:
    """Median milliseconds of every stage; the vehicle moves on by a metre a frame."""
    predictor = Predictor(name)
    row = predictor.entry
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=1 + os.getpid() % 100)
    node = rclpy.create_node('stages', context=context)
    publisher = node.create_publisher(VoxelGrid, 'voxels', qos.OUTPUT)
    node.create_subscription(VoxelGrid, 'voxels', lambda _: None, qos.OUTPUT)
    times: dict[str, list[float]] = {}
    for run in range(runs + WARM_UP + row.frames):
        marks = [time.perf_counter()]
        images = {camera: decode_compressed(data, camera) for camera, data in jpegs.items()}
        marks.append(time.perf_counter())
        fitted = {camera: fit(images[camera], frame.cameras[camera].intrinsics, row.preprocessing) for camera in images}
        marks.append(time.perf_counter())
        moved = np.eye(4)
        moved[0, 3] = run
        age_ns = run * round(1e9 / row.rate_hz)
        cameras = {camera: replace(frame.cameras[camera], image=image, intrinsics=intrinsics, fixed_from_ego=moved,
                                   stamp_ns=frame.cameras[camera].stamp_ns + age_ns)
                   for camera, (image, intrinsics) in fitted.items()}
        prediction = predictor.predict(SensorFrame(frame.stamp_ns + age_ns, moved, cameras))
        marks.append(time.perf_counter())
        message = voxel_grid_message(prediction, 'base_link', row.cameras)
        marks.append(time.perf_counter())
        publisher.publish(message)
        marks.append(time.perf_counter())
        decode, fitting, _, packing, publishing = (1e3 * (b - a) for a, b in pairwise(marks))
        stages = {'decode': decode, 'fit': fitting, **prediction.timings_ms, 'message': packing, 'publish': publishing}
        if run >= WARM_UP + row.frames:
            for stage, value in {**stages, 'all': 1e3 * (marks[-1] - marks[0])}.items():
                times.setdefault(stage, []).append(value)
    node.destroy_node()
    rclpy.shutdown(context=context)
    return {stage: round(statistics.median(values), 2) for stage, values in times.items()}


def parts_of(model: openvino.Model) -> dict[str, str]:
    """BEFORE, LIFT or AFTER by a layer's name: what follows from the lift's tables, and beyond the last of them, `cell`."""
    marked: dict[str, set[str]] = {}
    for op in model.get_ordered_ops():
        marks = {op.get_friendly_name()} & set(LiftTables.NAMES)
        for value in op.input_values():
            marks |= marked[value.get_node().get_friendly_name()]
        marked[op.get_friendly_name()] = marks
    gathers = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == 'Gather'
               and {'cell', 'sum_1'} <= marked[op.get_friendly_name()]]
    last = gathers[0]
    behind: set[str] = {last}
    for op in model.get_ordered_ops():
        if any(value.get_node().get_friendly_name() in behind for value in op.input_values()):
            behind.add(op.get_friendly_name())
    return {name: BEFORE if not marks else AFTER if name in behind - {last} else LIFT for name, marks in marked.items()}


def network_parts(row: NetworkEntry, runs: int) -> dict[str, float]:
    """Milliseconds of each part of the network, medians."""
    core = openvino.Core()
    model = core.read_model(find_weights(row, None, ('.onnx',)))
    part_of = parts_of(model)
    precision = chosen_precision('openvino', 'auto')
    compiled = core.compile_model(model, 'CPU', {
        'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': precision, 'INFERENCE_NUM_THREADS': str(usable_cores()),
        'PERF_COUNT': True})
    request = compiled.create_infer_request()
    tables = build_lift_tables(row.frustum, *example_rig(row), row.frustum.default_caps(len(row.cameras)))
    feeds = {'images': example_images(row), **{name: getattr(tables, name) for name in LiftTables.NAMES}}
    origins = {op.get_friendly_name(): op.get_rt_info()['originalLayersNames'].value.split(',')
               for op in compiled.get_runtime_model().get_ordered_ops()}
    sums: dict[str, list[float]] = {BEFORE: [], LIFT: [], AFTER: [], 'other': []}
    for run in range(runs + WARM_UP):
        request.infer(feeds, share_inputs=True)
        spent = dict.fromkeys(sums, 0.0)
        for layer in request.get_profiling_info():
            known = [part_of[name] for name in origins.get(layer.node_name, []) if name in part_of]
            spent[max(known, key=list(sums).index, default='other')] += layer.real_time.total_seconds() * 1e3
        if run >= WARM_UP:
            for part, value in spent.items():
                sums[part].append(value)
    return {part: round(statistics.median(values), 2) for part, values in sums.items()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='*', default=SHIPPED, metavar='NAME', help='camera networks that ship; default: all')
    parser.add_argument('--runs', type=int, default=20, help='timed frames')
    parser.add_argument('--json', action='store_true', help='print one JSON object per network')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    world = moment(SIZE)
    frame, jpegs = sensor_frame(world), jpegs_of(world)
    for name in arguments.name:
        figures = {'milliseconds': frames_of(name, frame, jpegs, arguments.runs)}
        if not entry(name).history.offsets_s:
            figures['network_parts'] = network_parts(entry(name), arguments.runs)
        print_result({'network': name, **figures}, arguments.json)
        if arguments.save:
            save_row('stages', name, figures, 'python -m benchmarks.stages --save')
    return 0


if __name__ == '__main__':
    sys.exit(main())

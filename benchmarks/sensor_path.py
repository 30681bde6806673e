"""What sensors and messages cost around the network: `python -m benchmarks.sensor_path [--json] [--save] [--pictures DIR]`.

Six 1600x900 JPEGs of a generated street (or the .jpg files of a folder) decoded, whole and at reduced scale, brought to the input
of a 256x704 network and to that of the shipped one, one after another and by threads as the `cameras` node does; a sweep read from
its message and moved point by point; the VoxelGrid of the shipped network's prediction; messages filled by array.array and
otherwise, and published. Calls take turns; medians. Needs ROS.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import rclpy
from PIL import Image as Picture
from sensor_msgs.msg import Image, PointCloud2, PointField
from sensor_msgs_py import point_cloud2

from benchmarks.drive import jpegs_of, moment, records_of
from benchmarks.recording import print_result, save_row
from benchmarks.timing import interleaved
from occ_msgs.msg import VoxelGrid
from occ_perception.catalogue import ImagePreprocessing, entry
from occ_perception.datasets.bag_writer import POINT_DTYPE
from occ_perception.datasets.sample_world import sensor_frame
from occ_perception.datasets.sample_world.frame import WorldFrame
from occ_perception.datasets.sample_world.rig import ego_from_lidar
from occ_perception.geometry.transforms import matrix
from occ_perception.nodes import qos
from occ_perception.nodes.conversions import header, image_message, labels_of, records_message, voxel_grid_message
from occ_perception.runtime.intake.clouds import points_from_cloud
from occ_perception.runtime.intake.decode import decode_compressed, decode_reduced
from occ_perception.runtime.intake.image import fit, resized_rows
from occ_perception.runtime.intake.sweeps import time_span, to_ego
from occ_perception.runtime.predictor import Predictor

SIZE = 1600, 900
THREADS = 2
"""Of decoding: the `cameras` node's default."""
INPUTS = {'256x704': ImagePreprocessing(), '128x352': entry('scocc_sample').preprocessing}
Files = Sequence[bytes]


def prepare(data: bytes, preprocessing: ImagePreprocessing, reduced: bool) -> np.ndarray:
    """A JPEG at the size of a network's input, as the `cameras` node makes it."""
    if reduced:
        image, _ = decode_reduced(data, 'picture', (resized_rows(SIZE[1], SIZE[0], preprocessing), preprocessing.input_width))
    else:
        image = decode_compressed(data, 'picture')
    return fit(image, np.eye(3), preprocessing)[0]


def pillow_decode(data: bytes) -> np.ndarray:
    """The same by Pillow."""
    with Picture.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert('RGB'))


def pictures(files: Files, runs: int) -> dict[str, dict]:
    """Figures of each step for all pictures together."""
    whole = [decode_compressed(data, 'picture') for data in files]
    pool = ThreadPoolExecutor(THREADS)

    def each(call: Callable[[bytes], object]) -> Callable[[], object]:
        return lambda: [call(data) for data in files]

    def together(call: Callable[[bytes], object]) -> Callable[[], object]:
        return lambda: list(pool.map(call, files))

    rows: dict[str, dict] = {}
    decoding = {'simplejpeg, whole': partial(decode_compressed, topic='picture'), 'Pillow, whole': pillow_decode}
    for words, preprocessing in INPUTS.items():
        least = resized_rows(SIZE[1], SIZE[0], preprocessing), preprocessing.input_width
        decoding[f'simplejpeg, reduced for {words}'] = partial(decode_reduced, topic='picture', least=least)
    times = interleaved({name: each(call) for name, call in decoding.items()}, runs, 2)
    rows['decode'] = {'milliseconds': times, 'kilobytes': round(sum(map(len, files)) / 1e3)}
    for words, preprocessing in INPUTS.items():
        least = resized_rows(SIZE[1], SIZE[0], preprocessing), preprocessing.input_width
        small = [decode_reduced(data, 'picture', least)[0] for data in files]
        calls = {'fit whole pictures': lambda p=preprocessing: [fit(image, np.eye(3), p) for image in whole],
                 'fit reduced pictures': lambda p=preprocessing, s=small: [fit(image, np.eye(3), p) for image in s]}
        for name, reduced in (('whole', False), ('reduced', True)):
            call = partial(prepare, preprocessing=preprocessing, reduced=reduced)
            calls |= {f'decode and fit, {name}': each(call), f'decode and fit, {name}, {THREADS} threads': together(call)}
        unlike = np.abs(np.stack([prepare(data, preprocessing, True).astype(int) - prepare(data, preprocessing, False)
                                  for data in files]))
        rows[f'to {words}'] = {
            'milliseconds': interleaved(calls, runs, 2),
            'pixels of reduced decoding': {'mean difference': round(float(unlike.mean()), 3), 'largest': int(unlike.max()),
                                           'beyond 8': f'{100 * (unlike > 8).mean():.2f} %'}}
    pool.shutdown()
    return rows


def cloud_of(records: np.ndarray) -> PointCloud2:
    """The message that a driver would publish."""
    kinds = {'<f4': PointField.FLOAT32, '<u2': PointField.UINT16}
    fields = [PointField(name=name, offset=POINT_DTYPE.fields[name][1], datatype=kinds[POINT_DTYPE.fields[name][0].str], count=1)
              for name in POINT_DTYPE.names]
    return records_message(records, fields, header(1_000_000_000, 'LIDAR_TOP'))


def sweeps(cloud: PointCloud2, runs: int) -> dict:
    """Reading a cloud without copying its points one by one, and moving each from where it was measured."""
    points, _ = points_from_cloud(cloud, 1_000_000_000, 'points')
    first_s, _ = time_span(points)
    poses = matrix(np.eye(3), (10 * first_s, 0, 0)), np.eye(4)
    names = ('x', 'y', 'z', 'intensity', 'time')
    times = interleaved({
        'points_from_cloud': lambda: points_from_cloud(cloud, 1_000_000_000, 'points'),
        'sensor_msgs_py.read_points': lambda: point_cloud2.read_points(cloud, names, skip_nans=True),
        'moved point by point': lambda: to_ego(points, ego_from_lidar(), *poses, np.eye(4))}, runs, 3)
    return {'points': len(points), 'milliseconds': times}


def grids(frame: WorldFrame, runs: int) -> dict:
    """Encoding and decoding of the shipped network's prediction of the street."""
    predictor = Predictor('scocc_sample')
    prediction = predictor.predict(sensor_frame(frame))
    assert frame.truth is not None
    true = replace(prediction, labels=frame.truth.semantics)
    make = partial(voxel_grid_message, frame_id='base_link', cameras=predictor.entry.cameras)
    packed, plain, of_truth = make(prediction), make(prediction, compress=False), make(true)
    times = interleaved({'encoded': lambda: make(prediction), 'dense': lambda: make(prediction, compress=False),
                         'decoded': lambda: labels_of(packed)}, runs, 3)
    labels, ids = len(packed.labels), len(packed.instance_ids)
    return {'milliseconds': times, 'objects': len(prediction.instances),
            'bytes': {'labels': labels, 'instance ids': ids, 'both': labels + ids, 'labels of the truth': len(of_truth.labels),
                      'both, dense': len(plain.labels) + len(plain.instance_ids)}}


def publishing(runs: int) -> dict[str, dict]:
    """Filling a message by the ways that rclpy takes, and publishing it to a subscription in this process."""
    picture = np.random.default_rng(0).integers(0, 256, (256, 704, 3), np.uint8)
    head = header(1, 'camera')
    blank = partial(Image, header=head, height=256, width=704, encoding='rgb8', step=3 * 704)

    def assigned(value: Callable[[], object]) -> Callable[[], object]:
        def make() -> Image:
            message = blank()
            message.data = value()
            return message
        return make

    ways = {'array.array filled in place': lambda: image_message(picture, head),
            'array.array assigned': assigned(lambda: array('B', picture.tobytes())),
            'bytes assigned': assigned(picture.tobytes)}
    times = interleaved(ways, runs, 3)
    times |= interleaved({'list assigned': assigned(lambda: picture.ravel().tolist())}, runs // 4, 3)  # leaves much memory behind
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=1 + os.getpid() % 100)
    node = rclpy.create_node('sensor_path', context=context)
    published = {}
    messages = {'Image of 541 kB': image_message(picture, head),
                'VoxelGrid of 640 kB': VoxelGrid(labels=array('B', bytes(640_000))),
                'VoxelGrid of 10 kB': VoxelGrid(labels=array('B', bytes(10_000)))}
    for number, (name, message) in enumerate(messages.items()):
        publisher = node.create_publisher(type(message), f'message_{number}', qos.OUTPUT)
        node.create_subscription(type(message), f'message_{number}', lambda _: None, qos.OUTPUT)
        published[name] = interleaved({'publish': partial(publisher.publish, message)}, runs, 3)['publish']
    node.destroy_node()
    rclpy.shutdown(context=context)
    return {'filling an image': {'milliseconds': times}, 'publishing': {'milliseconds': published}}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=25, help='timed calls of each')
    parser.add_argument('--pictures', type=Path, metavar='DIR', help='six 1600x900 .jpg files in place of generated ones')
    parser.add_argument('--json', action='store_true', help='print one JSON object per row')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    frame = moment(SIZE)
    assert frame.sweep is not None
    if arguments.pictures is None:
        files = list(jpegs_of(frame).values())
    else:
        files = [path.read_bytes() for path in sorted(arguments.pictures.glob('*.jpg'))]
    rows = {'six pictures: ' + name: row for name, row in pictures(files, arguments.runs).items()}
    rows['sweep'] = sweeps(cloud_of(records_of(frame.sweep)), 4 * arguments.runs)
    rows['VoxelGrid'] = grids(frame, 4 * arguments.runs)
    rows |= publishing(4 * arguments.runs)
    for key, figures in rows.items():
        print_result({'row': key, **figures}, arguments.json)
        if arguments.save:
            save_row('sensor_path', key, figures, 'python -m benchmarks.sensor_path --save')
    return 0


if __name__ == '__main__':
    sys.exit(main())

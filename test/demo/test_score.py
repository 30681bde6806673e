"""`occ score` as another process: grids over DDS, matched by stamp, with latencies from /clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from occ_perception.datasets.occ3d import OccupancyTruth, write_truth
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.runtime.live_score import load_grids

rclpy = pytest.importorskip('rclpy', reason='needs the ROS environment (make setup)')
zstandard = pytest.importorskip('zstandard')

SHAPE = (200, 200, 16)
SECOND = 1_000_000_000
START = 1_000 * SECOND


def truth(k: int) -> OccupancyTruth:
    """A road and a car that moves with k; the cameras see the front half."""
    labels = np.full(SHAPE, FREE, np.uint8)
    labels[:, :, 2] = 11
    labels[100 + 2 * k:110 + 2 * k, 90:95, 3:6] = 4
    seen = np.zeros(SHAPE, bool)
    seen[100:] = True
    return OccupancyTruth(labels, seen, seen)


@pytest.fixture
def domain() -> int:
    """A ROS domain of this test alone."""
    return 50 + os.getpid() % 50


@pytest.fixture
def node(domain: int) -> Iterator[object]:
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain)
    node = rclpy.create_node('stand_in', context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def start_score(domain: int, *words: str) -> subprocess.Popen:
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
    process = subprocess.Popen([sys.executable, '-m', 'occ_perception.cli.main', 'score', *words], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline().startswith('listening')
    return process


def message(stamp_ns: int, labels: np.ndarray, encoding: int, age: float = -0.04) -> object:
    from occ_msgs.msg import SensorStatus, VoxelGrid

    grid = VoxelGrid(resolution=0.4, size_x=200, size_y=200, size_z=16, encoding=encoding, network='stand_in')
    grid.header.stamp.sec, grid.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    grid.origin.position.x, grid.origin.position.y, grid.origin.position.z = -40.0, -40.0, -1.0
    grid.origin.orientation.w = 1.0
    data = labels.tobytes()
    grid.labels.frombytes(data if encoding == VoxelGrid.ENCODING_DENSE else zstandard.compress(data))
    grid.sensors = [SensorStatus(name='CAM_FRONT', valid=True, age=age), SensorStatus(name='CAM_BACK', valid=False, age=-9.0)]
    return grid


def test_scores_received_grids_by_stamp(tmp_path: Path, domain: int, node: object) -> None:
    from rosgraph_msgs.msg import Clock

    from occ_msgs.msg import VoxelGrid

    truths = {START + k * SECOND // 5: truth(k) for k in range(4)}
    for stamp, frame in truths.items():
        write_truth(tmp_path / 'truth' / f'{stamp}.npz', frame)
    process = start_score(domain, '--truth', str(tmp_path / 'truth'), '--timeout', '3', '--json', '--out', str(tmp_path / 'out'))
    grids, clock = node.create_publisher(VoxelGrid, 'occ/voxels', 1), node.create_publisher(Clock, '/clock', 10)
    deadline = time.monotonic() + 20
    while not (grids.get_subscription_count() and clock.get_subscription_count()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # until the other side has found the publishers, too: the very first grid counts
    begin = time.monotonic()
    stamps = list(truths)
    sent = [(stamps[0], truths[stamps[0]].labels, VoxelGrid.ENCODING_ZSTD),
            (stamps[0], np.full(SHAPE, 15, np.uint8), VoxelGrid.ENCODING_ZSTD),     # a second grid of a stamp does not count
            (stamps[1] + 7, truths[stamps[1]].labels, VoxelGrid.ENCODING_ZSTD),     # no truth has this stamp
            (stamps[2], np.full(SHAPE, UNKNOWN, np.uint8), VoxelGrid.ENCODING_DENSE)]
    ages_ms = []
    for stamp, labels, encoding in sent:
        reading = Clock()
        now = START + round((time.monotonic() - begin) * 1e9)
        reading.clock.sec, reading.clock.nanosec = divmod(now, SECOND)
        clock.publish(reading)
        while START + round((time.monotonic() - begin) * 1e9) < stamp + SECOND // 10:
            time.sleep(0.005)
        ages_ms.append((START - stamp) * 1e-6 + 1e3 * (time.monotonic() - begin) - 40)
        grids.publish(message(stamp, labels, encoding))
        time.sleep(0.05)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    result = json.loads(output)
    assert (result['due'], result['received'], result['dropped'], result['unmatched']) == (4, 2, 2, 1)
    assert result['network'] == 'stand_in'
    # first frame all right, third all missed: half of the road and of the car, nothing else
    assert result['iou']['driveable_surface'] == result['iou']['car'] == result['miou'] == 50.0
    assert result['iou']['bus'] is None
    assert result['geometric_iou'] == 50.0
    received = load_grids(tmp_path / 'out')
    # the newest sensor of a set came 40 ms after its reference; a delayed /clock message can only shorten what is measured
    for grid, age_ms in ((received[0], ages_ms[0]), (received[-1], ages_ms[3])):
        assert abs(grid.newest_sensor_ns - grid.stamp_ns - 40_000_000) < 1000
        assert age_ms - 50 < grid.latency_ms < age_ms + 1500
    assert {grid.stamp_ns for grid in received} >= {stamps[0], stamps[2]}
    np.testing.assert_array_equal(received[0].labels, truths[stamps[0]].labels)
    assert json.loads((tmp_path / 'out' / 'score.json').read_text()) == result


def test_nothing_received_is_said(tmp_path: Path, domain: int) -> None:
    write_truth(tmp_path / f'{START}.npz', truth(0))
    process = start_score(domain, '--truth', str(tmp_path), '--start-timeout', '1')
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert 'no VoxelGrid came on occ/voxels' in errors
    assert 'mIoU' not in output

"""From a bag to a topic: `python -m benchmarks.bag_to_topic [NAME ...] [--json] [--save]`.

Six 1600x900 JPEG cameras at 12 Hz and a LiDAR at 20 Hz are played in real time over DDS; this process receives the VoxelGrids. The
latency of a grid goes from the stamp of the newest reading in it to the callback here. All nodes in one process, and each in its
own; then the same nodes around a network that answers at once, which leaves what nodes, messages and decoding cost. `stages` are
the medians of what the occupancy node says of itself. Needs ROS.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor

from benchmarks import idle_network
from benchmarks.drive import moment, write_drive
from benchmarks.recording import print_result, save_row
from occ_msgs.msg import StageTimings
from occ_perception.catalogue import entry
from occ_perception.cli.up import with_overrides
from occ_perception.datasets.sample_world import sensor_frame
from occ_perception.evaluation.received import due_stamps
from occ_perception.nodes import qos, system
from occ_perception.nodes.dds import use_default_profile
from occ_perception.nodes.scorer import Scorer
from occ_perception.runtime.predictor import Predictor

SIZE = 1600, 900
IDLE = 'no network'
START_S, SILENCE_S = 300.0, 5.0
"""Longest wait for the first grid, in which the network is loaded, and for every other."""


class Receiver(Scorer):
    """A subscriber of grids that also notes the stages of each."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: dict[str, list[float]] = {}
        self.create_subscription(StageTimings, 'occ/timings', self._on_timings, qos.OUTPUT)

    def _on_timings(self, message: StageTimings) -> None:
        for stage, milliseconds in zip(message.stages, message.milliseconds, strict=True):
            self.stages.setdefault(stage, []).append(milliseconds)


def programs(network: str, bag: Path, apart: bool, answer: Path, changes: Sequence[str]) -> list[list[str]]:
    """Arguments of the Python processes that serve a bag; network: IDLE for the nodes around the answer alone."""
    name = 'scocc_sample' if network == IDLE else network
    changes = ['player.listener:=scorer', *changes]
    idle = f'from benchmarks import idle_network; idle_network.take_over({str(answer)!r})\n' if network == IDLE else ''
    if not apart:
        words = ['up', name, '--bag', str(bag), *(word for change in changes for word in ('-p', change))]
        return [['-c', f'import sys\n{idle}from occ_perception.cli.main import main\nsys.exit(main({words!r}))']]
    specs = with_overrides(system.nodes(name, system.sources_of(str(bag)), replay=system.Replay(str(bag))), changes)
    each = []
    for spec in specs:
        words = ['--ros-args', *(word for key, value in spec.parameters.items() for word in ('-p', f'{key}:={json.dumps(value)}'))]
        each.append(['-c', f'import sys\n{idle}from occ_perception.nodes.{spec.name} import main\nsys.exit(main({words!r}))'])
    return each


@contextlib.contextmanager
def running(commands: Sequence[Sequence[str]], log: Path) -> Iterator[list[subprocess.Popen]]:
    """The processes, interrupted and reaped at the end."""
    with log.open('w') as out:
        processes = [subprocess.Popen([sys.executable, *command], stdout=out, stderr=subprocess.STDOUT) for command in commands]
        try:
            yield processes
        finally:
            for process in processes:
                process.send_signal(signal.SIGINT)
            for process in processes:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def receive(commands: Sequence[Sequence[str]], due: int, log: Path) -> dict:
    """Figures of one run."""
    rclpy.init(args=[])
    receiver, executor = Receiver(), SingleThreadedExecutor()
    executor.add_node(receiver)
    try:
        with running(commands, log) as processes:
            began = time.monotonic()
            while receiver.count < due and all(process.poll() is None for process in processes):
                executor.spin_once(timeout_sec=0.2)
                waited = time.monotonic() - (receiver.last_arrival if receiver.count else began)
                if waited > (SILENCE_S if receiver.count else START_S):
                    break
            ended = time.monotonic() + 0.5
            while time.monotonic() < ended:
                executor.spin_once(timeout_sec=0.1)
        grids = receiver.grids()
    finally:
        executor.shutdown()
        receiver.destroy_node()
        rclpy.try_shutdown()
    if not grids:
        raise RuntimeError('no grid came:\n' + '\n'.join(log.read_text().splitlines()[-15:]))
    latencies = [grid.latency_ms for grid in grids]
    return {'due': due, 'received': len(grids),
            'latency_ms': {f'p{p}': round(float(np.percentile(latencies, p)), 1) for p in (50, 95, 99)},
            'stages_ms': {name: round(statistics.median(values), 2) for name, values in receiver.stages.items()}}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='*', default=['scocc_sample'], metavar='NAME', help='networks with shipped weights')
    parser.add_argument('--seconds', type=float, default=20.0, help='length of the bag')
    parser.add_argument('-p', '--parameter', action='append', default=[], metavar='NODE.PARAM:=VALUE',
                        help='set a parameter of a node, such as cameras.reduced_decoding:=true')
    parser.add_argument('--json', action='store_true', help='print one JSON object per row')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    use_default_profile()
    words = ''.join(f', {change.split(".", 1)[1]}' for change in arguments.parameter)
    command = 'python -m benchmarks.bag_to_topic' + ''.join(f' -p {change}' for change in arguments.parameter) + ' --save'
    with tempfile.TemporaryDirectory() as folder:
        frame = moment(SIZE)
        sweeps = write_drive(Path(folder) / 'drive', frame, arguments.seconds)
        answer = Path(folder) / 'answer.npz'
        idle_network.keep(Predictor('scocc_sample').predict(sensor_frame(frame)), answer)
        for network in (*arguments.name, IDLE):
            due = len(due_stamps(sweeps, entry('scocc_sample' if network == IDLE else network).rate_hz))
            for apart in (False, True):
                commands = programs(network, Path(folder) / 'drive', apart, answer, arguments.parameter)
                figures = receive(commands, due, Path(folder) / 'log')
                key = f'{network}, {"a process per node" if apart else "one process"}{words}'
                print_result({'row': key, **figures}, arguments.json)
                if arguments.save:
                    save_row('bag_to_topic', key, figures, command)
    return 0


if __name__ == '__main__':
    sys.exit(main())

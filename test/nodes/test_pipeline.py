"""The nodes over real DDS: bag in, grids out, in one process and apart."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_predictor import FakePredictor
from live import SUPPORT, Ear, child, environment, node_code, ros, running, until
from small_bag import SPEED_M_S, START_NS, camera_mount, transform, write_bag

from occ_msgs.msg import InstanceArray, StageTimings, VoxelGrid
from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.dialects import DIALECTS
from occ_perception.geometry.transforms import matrix, rotation_from_quaternion
from occ_perception.nodes import qos, system
from occ_perception.nodes.conversions import labels_of, stamp_ns

SECOND = 1_000_000_000


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp('bags') / 'drive', 2.0)


def specs_of(bag: Path, **replay):
    return system.nodes('scocc_sample', system.sources_of(str(bag)), replay=system.Replay(str(bag), **replay))


def due_stamps(seconds: float = 2.0) -> list[int]:
    return [START_NS + i * SECOND // 5 for i in range(int(seconds * 5))]


def test_every_due_reference_gets_one_grid_and_frames_are_right(bag: Path) -> None:
    made: list[FakePredictor] = []

    def make(network: str, *_: object) -> FakePredictor:
        made.append(FakePredictor(network))
        return made[-1]

    with ros() as context, running(specs_of(bag, lockstep=True), context, make) as system_, contextlib.closing(
            Ear(context, voxels=(VoxelGrid, 'occ/voxels', 20), instances=(InstanceArray, 'occ/instances', 20),
                timings=(StageTimings, 'occ/timings', 20))) as ear:
        assert system_.start()
        assert system_.finished.wait(20)
        assert ear.wait(lambda heard: all(len(messages) == 10 for messages in heard.values()))
        tally = system_.tally()
    assert (tally.due, tally.published, sum(tally.dropped.values())) == (10, 10, 0)
    assert [stamp_ns(grid.header.stamp) for grid in ear.heard['voxels']] == due_stamps()
    grid = ear.heard['voxels'][3]
    assert grid.header.frame_id == 'base_link'
    assert [sensor.name for sensor in grid.sensors] == list(NUSCENES_CAMERAS)
    assert all(sensor.valid and abs(sensor.age) < 0.1 for sensor in grid.sensors)
    assert len(grid.labels) < 100_000
    labels, ids = labels_of(grid)
    assert labels.shape == (200, 200, 16)
    assert ids.max() == 1
    assert ear.heard['instances'][3].header == grid.header
    assert 'network' in ear.heard['timings'][3].stages
    frame = made[0].frames[3]
    seconds = (frame.stamp_ns - START_NS) / SECOND
    np.testing.assert_allclose(frame.fixed_from_ego[:3, 3], [SPEED_M_S * seconds, 0, 0], atol=1e-6)
    for name, camera in frame.cameras.items():
        place, quaternion = camera_mount(name)
        np.testing.assert_allclose(camera.ego_from_camera, matrix(rotation_from_quaternion(*quaternion), place), atol=1e-6)
        np.testing.assert_allclose(camera.fixed_from_ego[0, 3], SPEED_M_S * (camera.stamp_ns - START_NS) / SECOND, atol=1e-6)
        assert camera.image.shape == (128, 352, 3)
        assert camera.intrinsics[0, 0] == pytest.approx(120 * 352 / 160)


def test_one_process_and_apart_give_the_same_labels(bag: Path) -> None:
    def received(ear: Ear) -> dict[tuple, np.ndarray]:
        """Labels by reference stamp and the ages of the pictures used: on a busy machine a best-effort picture may get lost."""
        return {(stamp_ns(grid.header.stamp), *(sensor.age for sensor in grid.sensors)): labels_of(grid)[0]
                for grid in ear.heard['voxels']}

    specs = specs_of(bag, lockstep=True)
    with ros() as context, contextlib.closing(Ear(context, voxels=(VoxelGrid, 'occ/voxels', 20))) as ear:
        with running(specs, context, lambda *_: FakePredictor()) as system_:
            assert system_.start()
            assert system_.finished.wait(20)
            assert ear.wait(lambda heard: len(heard['voxels']) == 10)
        together = received(ear)
        ear.heard['voxels'].clear()
        with contextlib.ExitStack() as stack:
            processes = [stack.enter_context(child('-c', node_code(spec.name, spec.parameters, spec.name == 'occupancy')))
                         for spec in specs if spec.name != 'views']
            assert processes[-1].wait(60) == 0, processes[-1].stdout.read()
            ear.wait(lambda heard: len(heard['voxels']) == 10, 2)
        apart = received(ear)
    assert {stamp for stamp, *_ in together} == set(due_stamps())
    same_frames = set(together) & set(apart)
    assert len(same_frames) >= 5
    for key in same_frames:
        np.testing.assert_array_equal(apart[key], together[key])
    assert len({labels.tobytes() for labels in together.values()}) == 10


def test_planner_in_another_process_gets_grid_labels_and_map(bag: Path) -> None:
    with ros() as context, child(str(SUPPORT / 'planner.py'), '25') as planner:
        assert planner.stdout.readline() == 'ready\n'
        with running(specs_of(bag, loop=True), context, lambda *_: FakePredictor()) as system_:
            assert system_.start()
            got = json.loads(planner.stdout.readline())
    voxels, labels, grid = got['voxels'], got['labels'], got['grid']
    assert voxels['shape'] == [200, 200, 16]
    assert (voxels['frame'], voxels['resolution'], voxels['network']) == ('base_link', 0.4, 'scocc_sample')
    assert voxels['corner'] == pytest.approx([-40, -1])
    assert voxels['unknown'] == 20 * 200 * 16
    assert voxels['road'] > 100_000 / 2
    assert voxels['bytes'] < 100_000
    assert labels['set'] == 'occ3d_nuscenes'
    assert len(labels['names']) == 18
    assert labels['names']['4'] == 'car'
    assert (labels['free'], labels['unknown'], labels['drivable']) == (17, 255, ['driveable_surface'])
    assert grid == {'size': [200, 200], 'resolution': 0.4, 'frame': 'base_link', 'values': [-1, 0, 100]}


def test_lockstep_waits_for_a_slow_network(bag: Path) -> None:
    """A network that takes 0.4 s for sets that come every 0.2 s loses none in lockstep, and some without."""
    published = {}
    with ros() as context:
        for lockstep in (True, False):
            specs = specs_of(bag, lockstep=lockstep)
            occupancy = next(spec for spec in specs if spec.name == 'occupancy')
            occupancy.parameters['backlog'] = 1
            with running(specs, context, lambda *_: FakePredictor(delay_s=0.4)) as system_:
                assert system_.start()
                assert system_.finished.wait(30)
                assert until(lambda: (t := system_.tally()).published + sum(t.dropped.values()) >= 9, 5)
                published[lockstep] = system_.tally().published
    assert published[True] == 10
    assert published[False] < 9


def test_loop_starts_anew(bag: Path) -> None:
    made: list[FakePredictor] = []

    def make(*_: str) -> FakePredictor:
        made.append(FakePredictor())
        return made[-1]

    with ros() as context, running(specs_of(bag, loop=True, lockstep=True, duration_s=1.2), context, make) as system_:
        assert system_.start()
        assert until(lambda: system_.tally().published >= 12, 20)
        tally = system_.tally()
    stamps = [frame.stamp_ns for frame in made[0].frames]
    assert made[0].resets >= 1
    assert stamps.count(stamps[1]) >= 2
    assert sum(tally.dropped.values()) <= made[0].resets


@pytest.mark.parametrize(('index', 'storage'), [(1, 'mcap'), (2, 'sqlite3')])
def test_other_converters_bags_play(tmp_path: Path, index: int, storage: str) -> None:
    made = FakePredictor()
    dialect = DIALECTS[index]

    def change(topic: str, message, seconds: float):
        """WATonomous: poses at key frames only, the next one's along with them; R of CameraInfo is no rotation."""
        if index == 1 and topic == '/tf':
            key_frame = round(seconds * 50) % 25 == 0
            ahead = START_NS + round((seconds + 0.5) * SECOND)
            following = transform(ahead, dialect.fixed_frame, dialect.base_frame, (SPEED_M_S * (seconds + 0.5), 0, 0))
            return [*message, following] if key_frame else None
        if index == 1 and topic.endswith('/camera_info'):
            return dataclasses.replace(message, r=np.array([1, 0, 0, 1, 0, 0, 1, 0, 0.0]))
        return message

    path = write_bag(tmp_path / 'bag', 1.0, dialect, storage=storage, change=change)
    with ros() as context, running(specs_of(path, lockstep=True), context, lambda *_: made) as system_:
        assert system_.start()
        assert system_.finished.wait(20)
        # In WATonomous' bags the first pictures are older than the first pose: that set cannot be served.
        assert until(lambda: system_.tally().published == (4 if index == 1 else 5), 5), system_.tally()
        assert dict(system_.tally().dropped) == ({'too_few_cameras': 1} if index == 1 else {})
    assert all(len(frame.cameras) == 6 for frame in made.frames)


def test_namespace_holds_everything(bag: Path) -> None:
    with ros() as context, running(specs_of(bag, duration_s=0.8), context, lambda *_: FakePredictor(), 'car1') as system_, \
            contextlib.closing(Ear(context, voxels=(VoxelGrid, '/car1/occ/voxels', qos.OUTPUT))) as ear:
        assert system_.start()
        assert ear.wait(lambda heard: len(heard['voxels']) >= 2)
        names = {f'{namespace.rstrip("/")}/{name}' for name, namespace in ear.get_node_names_and_namespaces()}
    assert {'/car1/cameras', '/car1/lidar', '/car1/occupancy', '/car1/views', '/car1/player', '/car1/occ_transforms',
            '/car1/occupancy_switch'} <= names


SHIPPED = Path(system.__file__).resolve().parents[1] / 'weights' / 'scocc_sample.onnx'
UP = ('-m', 'occ_perception.cli.main', 'up', 'scocc_sample')


@pytest.mark.skipif(not SHIPPED.exists(), reason='the shipped network is not there')
def test_occ_up_runs_the_shipped_network_and_says_what_became_of_the_sets(bag: Path) -> None:
    command = [sys.executable, *UP, '--bag', str(bag), '--lockstep', '--duration', '0.7', '-p', 'occupancy.max_rate:=10']
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('5 sets due, 5 grids published, dropped: none\nprocessing p50')


@pytest.mark.skipif(not SHIPPED.exists(), reason='the shipped network is not there')
def test_occ_up_ends_quietly_on_two_sigints(bag: Path) -> None:
    with child(*UP, '--bag', str(bag), '--loop') as process:
        while 'active' not in (line := process.stdout.readline()):
            assert line, 'ended before it was active'
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert 'Traceback' not in process.stdout.read()

"""While a plan is built by another process, a stand-in answers; the switch comes between two frames and forgets nothing."""

import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from occ_perception.engines import building as module
from occ_perception.engines import tensorrt_engine
from occ_perception.engines.building import BuildingEngine
from occ_perception.engines.example_inputs import example_images, example_rig
from occ_perception.engines.graph_engine import engine_of
from occ_perception.engines.protocol import FrameMemory, Inference, LidarInput, Match, PlacedFrame
from occ_perception.engines.select import shipped_file
from occ_perception.engines.sessions import session_opener
from occ_perception.runtime.frames import CameraImage, SensorFrame
from occ_perception.runtime.predictor import Predictor

NETWORK = 'scocc_sample_2f'
KEY_FRAME_NS = 500_000_000

SLOW = """
import json, sys
print(json.dumps({'phase': 'Timing tactics', 'fraction': 0.25, 'seconds': 3.0}), flush=True)
sys.stdin.readline()
"""
WAIT_S = 20.0


class Counting:
    """An engine whose label says who answered, and which keeps what it was given. batched: memory as torch engines have it."""

    def __init__(self, label: int, batched: bool) -> None:
        self.description, self._label, self._batched = f'engine {label}', label, batched
        self.given: list[list[PlacedFrame]] = []

    def infer(self, images, frames, lidar=None):
        self.given.append(list(frames))
        values = torch.full((1, 2, 3), float(self._label))
        memory = FrameMemory(values, values + 1) if self._batched else FrameMemory(values[0].numpy(), values[0].numpy() + 1)
        return Inference(np.full((1, 1, 1), self._label, np.uint8), None, memory)


def until(condition) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < WAIT_S
        time.sleep(0.01)


@pytest.fixture
def building(monkeypatch):
    """An engine whose build ends when `finish` is called."""
    pipes = []
    popen = subprocess.Popen

    def open_with_input(command, **options):
        pipes.append(popen(command, stdin=subprocess.PIPE, **options))
        return pipes[-1]
    monkeypatch.setattr(module.subprocess, 'Popen', open_with_input)
    engine = BuildingEngine(Counting(1, True), [sys.executable, '-c', SLOW], lambda: Counting(2, False))

    def finish():
        pipes[0].stdin.write('\n')
        pipes[0].stdin.flush()
    engine.finish = finish
    yield engine
    engine.close()


def test_the_stand_in_answers_and_the_progress_is_told(building):
    until(lambda: 'Timing' in building.news)
    assert building.news == 'building, 25 %: Timing tactics, 3 s; engine 1 serves'
    assert building.infer(np.zeros(1), [PlacedFrame(None)]).labels[0, 0, 0] == 1
    assert building.description == 'engine 1'


def test_the_switch_keeps_what_was_remembered(building):
    old = building.infer(np.zeros(1), [PlacedFrame(None)]).memory
    building.finish()
    until(lambda: building.news == '')
    stand_in = PlacedFrame(None, match=Match(old, np.zeros(1)))
    seen = [stand_in, PlacedFrame(old), stand_in]
    done = building.infer(np.zeros(1), seen)
    assert done.labels[0, 0, 0] == 2
    assert building.description == 'engine 2'
    first, second, third = building._serving.given[0]
    assert first is third
    assert second.memory is first.match.before
    assert isinstance(second.memory.prepared, np.ndarray) and second.memory.prepared.shape == (2, 3)
    assert second.memory.stereo[0, 0] == 2.0 and second.memory.map is None
    building.infer(np.zeros(1), [PlacedFrame(None), PlacedFrame(old), PlacedFrame(done.memory)])
    _, again, own = building._serving.given[1]
    assert again.memory is second.memory
    assert own.memory is done.memory


def test_points_are_answered_by_the_engine_whose_room_they_were_padded_to(building):
    points = LidarInput(np.zeros((1, 5)), {})
    assert building.voxel_caps is None
    building.finish()
    until(lambda: building.news == '')
    building._built.voxel_caps = (7, 3)
    assert building.infer(np.zeros(1), [PlacedFrame(None)], points).labels[0, 0, 0] == 1
    assert building.voxel_caps == (7, 3)
    assert building.infer(np.zeros(1), [PlacedFrame(None)], points).labels[0, 0, 0] == 2


def test_a_build_that_fails_is_told_and_the_stand_in_stays():
    code = "import sys; print('not enough memory', file=sys.stderr); sys.exit(3)"
    engine = BuildingEngine(Counting(1, True), [sys.executable, '-c', code], lambda: Counting(2, False))
    until(lambda: 'failed' in engine.news)
    assert engine.news == 'build failed: ValueError: not enough memory; engine 1 serves'
    assert engine.infer(np.zeros(1), [PlacedFrame(None)]).labels[0, 0, 0] == 1


def test_an_engine_that_does_not_load_is_told():
    def fail():
        raise RuntimeError('out of memory')
    engine = BuildingEngine(Counting(1, True), [sys.executable, '-c', 'pass'], fail)
    until(lambda: 'failed' in engine.news)
    assert 'RuntimeError: out of memory' in engine.news


def frames(row, count: int) -> list[SensorFrame]:
    """A drive of half a metre per key frame past smooth random pictures."""
    intrinsics, poses = example_rig(row)
    drive = []
    for k in range(count):
        fixed_from_ego = np.eye(4)
        fixed_from_ego[0, 3] = 0.5 * k
        cameras = {name: CameraImage(name, k * KEY_FRAME_NS, image, intrinsics[0], pose, fixed_from_ego)
                   for name, image, pose in zip(row.cameras, example_images(row, k), poses, strict=True)}
        drive.append(SensorFrame((k + 1) * KEY_FRAME_NS, fixed_from_ego, cameras))
    return drive


def test_a_live_network_goes_from_torch_to_the_built_engine_with_its_history(monkeypatch):
    """The whole way with real engines; OpenVINO takes TensorRT's place, and a slow process that of its builder."""
    if not shipped_file(f'{NETWORK}.onnx').is_file():
        pytest.skip('the shipped network is not in this checkout')
    openvino = session_opener('openvino', 'f32')
    monkeypatch.setattr(tensorrt_engine, 'open_on_device',
                        lambda files, precision, row, memory: engine_of([openvino(file) for file in files], memory))
    monkeypatch.setattr(tensorrt_engine, 'local_plan', lambda file, precision: SimpleNamespace(read=lambda: None))
    command = [sys.executable, '-c', 'import time; time.sleep(1.5)']
    monkeypatch.setattr(tensorrt_engine, 'building_command', lambda files, precision: command)
    live = Predictor(NETWORK, 'tensorrt', precision='f32', wait=False)
    drive = frames(live.entry, 3)
    assert live.engine.description.startswith('torch')
    assert live.news.endswith('serves')
    before = live.predict(drive[0])
    until(lambda: live.news == '')
    after = live.predict(drive[1])
    assert live.engine.description.startswith('openvino')
    assert after.past_stamps_ns == (before.stamp_ns,)
    assert not after.forgotten
    expected = Predictor(NETWORK, 'openvino', precision='f32')
    assert (expected.predict(drive[0]).labels == before.labels).mean() > 0.999
    assert (expected.predict(drive[1]).labels == after.labels).mean() > 0.999
    assert (expected.predict(drive[2]).labels == live.predict(drive[2]).labels).mean() > 0.999

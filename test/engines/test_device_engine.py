"""Frames that stay on a device give what the host's way gives; here the device is the CPU, and everything runs but CUDA graphs."""

from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from occ_perception.catalogue import NETWORKS, entry
from occ_perception.engines import protocol
from occ_perception.engines.device_engine import DeviceEngine, TorchGraph
from occ_perception.engines.example_inputs import ExampleDrive, example_images, example_rig
from occ_perception.engines.graphs import graphs_of
from occ_perception.engines.protocol import EXACT, WARPED, FrameMemory, Inference, PlacedFrame
from occ_perception.engines.torch_engine import TorchEngine
from occ_perception.geometry.column_lift import LiftCapacityError, LiftCaps
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import UNKNOWN
from occ_perception.networks.build import build_network
from occ_perception.networks.flashocc.config import BackboneConfig
from occ_perception.runtime import predictor as module
from occ_perception.runtime.camera_input import camera_input
from occ_perception.runtime.frames import CameraImage, SensorFrame
from occ_perception.runtime.predictor import Predictor

CPU = torch.device('cpu')
KEY_FRAME_NS = 500_000_000
LIGHT = {'neck_channels': 16, 'lift_channels': 8, 'bev_widths': (16, 16, 16), 'bev_channels': 16, 'head_channels': 16}
"""Changes of the configurations that are large."""


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other cost more than they bring on pictures this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small(monkeypatch):
    """Makes a network's row small: pictures of 64 x 176, 50 x 50 x 16 voxels. Called with its name."""
    def shrink(name: str):
        row = entry(name)
        preprocessing = replace(row.preprocessing, input_height=64, input_width=176)
        grid = VoxelGridSpec((-40.0, -40.0, -1.0), 1.6, (50, 50, 16))
        lift = replace(row.frustum, input_height=64, input_width=176, grid=grid)
        row = replace(row, lift=lift, grid=grid, preprocessing=preprocessing)
        monkeypatch.setitem(NETWORKS, name, row)
        return row
    return shrink


def device_engine(row, memory: str = EXACT):
    """A lively network on the device, and the same as a TorchEngine."""
    torch.manual_seed(0)
    caps = row.frustum.default_caps(len(row.cameras))
    backbone = BackboneConfig('basic', 8, (8, 16, 24, 32), (1, 1, 1, 1), (0, 2, 3) if row.history.stereo else (2, 3))
    network = build_network(row, {**LIGHT, 'backbone': backbone} if 'r50' in row.name else {}).eval()
    drive = ExampleDrive(network, row, caps)
    drive.enliven()
    graphs = graphs_of(network, Path('x.onnx'), caps.slots, memory).values()
    graphs_here = [TorchGraph(graph, drive.feeds(graph), CPU) for graph in graphs]
    return DeviceEngine(graphs_here, row, CPU, memory), TorchEngine(network, channels_last=False)


def rig(device: DeviceEngine, row):
    """Numbers of the example rig, in place of tables."""
    intrinsics, poses = example_rig(row)
    return device.tables_of(intrinsics, poses, np.ones(6, bool), np.stack([np.eye(3)] * 6))


def drive(row, count: int, raw: bool) -> list[SensorFrame]:
    """Key frames half a metre apart, the last without a camera; raw: pictures 1.25 times as large as the network takes."""
    intrinsics, poses = example_rig(row)
    frames = []
    for k in range(count):
        fixed_from_ego = np.eye(4)
        fixed_from_ego[0, 3] = 0.5 * k
        images, k_matrix = example_images(row, k), intrinsics[0]
        if raw:
            images = np.repeat(np.repeat(images, 5, 1), 5, 2)[:, ::4, ::4].copy()
            k_matrix = np.diag([1.25, 1.25, 1.0]) @ k_matrix
        cameras = {camera: CameraImage(camera, 0, image, k_matrix, pose, fixed_from_ego)
                   for camera, image, pose in zip(row.cameras, images, poses, strict=True)}
        if k == count - 1:
            del cameras[row.cameras[1]]
        frames.append(SensorFrame((k + 1) * KEY_FRAME_NS, fixed_from_ego, cameras))
    return frames


@pytest.mark.parametrize(('name', 'memory', 'raw'), [
    ('scocc_sample', EXACT, True), ('scocc_sample_2f', EXACT, False), ('scocc_sample_2f', WARPED, False),
    pytest.param('flashocc-r50-4d-stereo', EXACT, False, marks=pytest.mark.heavy),
    pytest.param('panoptic-flashocc-r50-depth4d-pano', EXACT, False, marks=pytest.mark.heavy)])
def test_a_drive_is_labelled_as_on_the_host(small, monkeypatch, name, memory, raw):
    predictions = []
    for engine in device_engine(small(name), memory):
        monkeypatch.setattr(module, 'open_engine', lambda *_, engine=engine: engine)
        predictor = Predictor(name, memory=memory)
        predictions.append([predictor.predict(frame) for frame in drive(predictor.entry, 3, raw)])
    for here, there in zip(*predictions, strict=True):
        assert here.past_stamps_ns == there.past_stamps_ns
        assert (here.labels == there.labels).mean() > 0.999
        np.testing.assert_array_equal(here.labels == UNKNOWN, there.labels == UNKNOWN)
        assert len(np.unique(here.labels)) > 2
        assert len(here.instances) == len(there.instances)


def test_two_frames_may_be_under_way(small):
    row = small('scocc_sample')
    device, _ = device_engine(row)
    place, pictures = PlacedFrame(None, rig(device, row)), [example_images(row, seed) for seed in range(2)]
    alone = [device.infer(images, [place]).labels for images in pictures]
    pending = [device.submit(images, [place]) for images in pictures]
    assert not np.array_equal(*alone)
    for frame, labels in zip(pending, alone, strict=True):
        np.testing.assert_array_equal(frame.result().labels, labels)
    np.testing.assert_array_equal(device.resident(pictures[0], [place])().numpy(), alone[0])


@pytest.mark.parametrize(('name', 'memory'), [('scocc_sample_2f', EXACT), ('scocc_sample_2f', WARPED)])
def test_predictions_under_way_are_those_made_one_after_another(small, monkeypatch, name, memory):
    """Each frame is submitted before the result of the one before is taken; a jump back in time and a reset come in between."""
    device, _ = device_engine(small(name), memory)
    monkeypatch.setattr(module, 'open_engine', lambda *_: device)
    frames = drive(entry(name), 4, False) + drive(entry(name), 3, False)
    one, two = Predictor(name, memory=memory), Predictor(name, memory=memory)
    expected, found, pending = [], [], deque()
    for number, frame in enumerate(frames):
        if number == 6:
            one.reset()
        expected.append(one.predict(frame))
    for number, frame in enumerate(frames):
        if number == 6:
            two.reset()
        pending.append(two.submit(frame))
        if len(pending) == 2:
            found.append(pending.popleft().result())
    found.append(pending.popleft().result())
    assert [prediction.forgotten for prediction in found] == ['', '', '', '', 'time_jump', '', '']
    assert [len(prediction.past_stamps_ns) - prediction.past_stamps_ns.count(0) for prediction in found] == [0, 1, 1, 1, 0, 1, 0]
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_array_equal(here.labels, there.labels)
        np.testing.assert_array_equal(here.instance_ids, there.instance_ids)
        assert here.instances == there.instances
        assert (here.past_stamps_ns, here.forgotten) == (there.past_stamps_ns, there.forgotten)
    assert found[2].instances


@pytest.mark.parametrize('on_device', [True, False])
def test_pictures_may_be_tensors_already(small, monkeypatch, on_device):
    """As a decoder on the device leaves them; an engine of the host gets them back, and so does a set of mixed kinds."""
    engine = device_engine(small('scocc_sample'))[0 if on_device else 1]
    monkeypatch.setattr(module, 'open_engine', lambda *_: engine)
    predictor = Predictor('scocc_sample')
    for frame in drive(predictor.entry, 2, True):
        expected = predictor.predict(frame)
        tensors = {name: replace(camera, image=torch.from_numpy(camera.image)) for name, camera in frame.cameras.items()}
        for cameras in (tensors, {**tensors, 'CAM_BACK': frame.cameras['CAM_BACK']}):
            predictor.reset()
            np.testing.assert_array_equal(predictor.predict(replace(frame, cameras=cameras)).labels, expected.labels)
        images, _ = camera_input(tensors, predictor.entry, on_device)
        assert isinstance(images, torch.Tensor) == on_device and images.shape[1:3] == ((80, 220) if on_device else (64, 176))


def test_unknown_is_written_on_the_device(small):
    """As on the host, with a mask that stays and one that changes while two frames are under way."""
    row = small('scocc_sample')
    device, _ = device_engine(row)
    place, images = PlacedFrame(None, rig(device, row)), example_images(row)
    labels = device.infer(images, [place]).labels
    assert UNKNOWN not in labels
    random = np.random.default_rng(0)
    masks = [random.random(labels.shape) < share for share in (0.2, 0.5, 0.8)]
    pending = []
    for mask in (masks[0], masks[0], masks[1], None, masks[2]):
        pending.append((mask, device.submit(images, [place], None, mask)))
        if len(pending) == 2:
            mask, frame = pending.pop(0)
            np.testing.assert_array_equal(frame.result().labels, labels if mask is None else np.where(mask, labels, UNKNOWN))
    other = SimpleNamespace(infer=lambda *_: Inference(labels.copy(), None, None))
    on_host = protocol.submit(other, images, [place], None, masks[2])
    np.testing.assert_array_equal(on_host.result().labels, pending[0][1].result().labels)


def test_a_rig_that_needs_larger_tables_is_told(small, monkeypatch):
    row = small('scocc_sample')
    device, _ = device_engine(row)
    monkeypatch.setattr(device, '_caps', LiftCaps(1, (8, 8, 8)))
    with pytest.raises(LiftCapacityError):
        device.infer(example_images(row), [PlacedFrame(None, rig(device, row))])


def test_memory_of_another_engine_is_taken(small):
    """As after the switch from a stand-in: in arrays."""
    row = small('scocc_sample_2f')
    device, _ = device_engine(row)
    present = PlacedFrame(None, rig(device, row))
    old = device.infer(example_images(row), [present, present]).memory
    found = []
    for form in (old, FrameMemory(prepared=old.prepared.numpy())):
        places = [PlacedFrame(None, rig(device, row)), PlacedFrame(form, rig(device, row))]
        found.append(device.infer(example_images(row, 1), places).labels)
    np.testing.assert_array_equal(*found)

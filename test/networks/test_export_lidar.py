"""Networks with a LiDAR branch as ONNX: what torch gives, frame by frame through the Predictor, too, and what TensorRT takes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_networks import lines_with_lidar, small_lidar_config, small_lidar_network, small_row

from occ_perception.catalogue import NETWORKS, NetworkEntry
from occ_perception.checkpoints import save_weights
from occ_perception.engines.comparison import torch_outputs
from occ_perception.engines.device_engine import DeviceEngine, TorchGraph
from occ_perception.engines.example_inputs import example_images, example_rig
from occ_perception.engines.export import export_graph, export_onnx
from occ_perception.engines.exportable import exportable
from occ_perception.engines.folding import folded
from occ_perception.engines.lidar_graph import LidarDrive
from occ_perception.engines.narrow_files import write_int8
from occ_perception.engines.narrowing import in_float16
from occ_perception.engines.protocol import WARPED, EngineUnavailable, LidarInput
from occ_perception.engines.tensorrt_rtx import build_with_tensorrt_rtx
from occ_perception.evaluation.parity import Choice, compare_engines
from occ_perception.evaluation.parity_files import network_files
from occ_perception.evaluation.parity_frames import ParityFrame
from occ_perception.evaluation.recorded_feeds import recorded_feeds
from occ_perception.networks.build import LidarNetwork
from occ_perception.runtime.frames import CameraImage, LidarSweep, SensorFrame
from occ_perception.runtime.predictor import Predictor

LIDAR_ALONE, WITH_HISTORY = 'effocc-lidar-waymo', 'fusionocc-swinb-512x1408'
SECOND = 1_000_000_000


@pytest.mark.parametrize('name', lines_with_lidar())
def test_runtimes_give_what_torch_gives_and_tensorrt_takes_the_files(name: str, tmp_path: Path) -> None:
    network, drive = small_lidar_network(name)
    path = tmp_path / 'small.onnx'
    graph = exportable(network, drive.row, path).graphs[path]
    file = export_graph(graph, path, drive, {})
    assert set(file.compared) == {'onnxruntime', 'openvino'} and file.good, file.compared
    assert len(np.unique(torch_outputs(graph, drive.feeds(graph))[0]['labels'])) > 4
    model = onnx.load(path)
    assert {node.domain for node in model.graph.node} == {''}
    assert not {node.op_type for node in model.graph.node if 'Scatter' in node.op_type or node.op_type in ('Loop', 'If', 'NonZero')}
    half = path.with_suffix('.f16.onnx')
    onnx.save(in_float16(folded(path)), half)
    try:
        assert build_with_tensorrt_rtx(path).layers > 100
        assert build_with_tensorrt_rtx(half).layers > 100
    except EngineUnavailable as missing:
        pytest.skip(str(missing))


def test_inputs_are_those_of_the_sensors_and_the_history() -> None:
    tables = ['slot', 'sum_1', 'sum_2', 'sum_3', 'cell']
    neighbours = [*(f'near_{level}' for level in range(4)), *(f'step_{level}' for level in range(4)), 'cells']
    for name, inputs, outputs in (
            (LIDAR_ALONE, ['voxels', *neighbours], ['labels']),
            ('effocc-fusion-r18-flow', ['images', *tables, 'hints', 'voxels', *neighbours], ['labels', 'flow']),
            (WITH_HISTORY, ['images', *tables, 'cameras', 'past', 'hints', 'voxels', *(n for n in neighbours if n != 'step_3')],
             ['labels', 'prepared'])):
        network, drive = small_lidar_network(name)
        path = Path('x.onnx')
        graph = exportable(network, drive.row, path).graphs[path]
        assert (graph.inputs, graph.outputs) == (inputs, outputs)
        feeds = drive.feeds(graph)
        if name == WITH_HISTORY:
            assert [len(feeds[each]) for each in ('slot', 'sum_1', 'cell', 'cameras', 'past')] == [2, 2, 2, 2, 1]


@dataclass
class Small:
    """A small network in place of one of the catalogue, with its files."""

    name: str
    row: NetworkEntry
    network: LidarNetwork
    drive: LidarDrive
    weights: Path
    onnx: Path


@pytest.fixture(scope='module', params=[LIDAR_ALONE, WITH_HISTORY])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    network, drive = small_lidar_network(name)
    row, config = small_row(name), small_lidar_config(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, name, row)
        patch.setitem(importlib.import_module(f'occ_perception.networks.{row.family}.config').CONFIGS, name, config)
        weights, path = folder / 'w.safetensors', folder / 'w.onnx'
        save_weights(network.state_dict(), weights, half=False)
        (written,) = export_onnx(name, weights, path)
        assert written.path == path
        yield Small(name, row, network, drive, weights, path)


def frame(row: NetworkEntry, number: int, points: int = 1_500) -> SensorFrame:
    """A key frame of a drive at 1 m/s: the example rig, a floor with posts in the present sweep and in that of the frame before."""
    intrinsics, poses = example_rig(row)
    stamp, fixed_from_ego = (number + 10) * SECOND // 2, np.eye(4)
    fixed_from_ego[0, 3] = 0.5 * number
    cameras = {name: CameraImage(name, stamp, image, k, pose, fixed_from_ego) for name, image, k, pose
               in zip(row.cameras, example_images(row, number) if row.cameras else (), intrinsics, poses, strict=True)}
    sweeps = []
    for age in (0, 1):
        random = np.random.default_rng(1 + number - age)
        cloud = np.zeros((points, 6), np.float32)
        cloud[:, :2] = random.uniform(-16, 16, (points, 2))
        cloud[:, 2] = np.where(random.random(points) < 0.3, random.uniform(0, 4, points), 0)
        cloud[:, 3:5] = random.uniform(0, (90, 32), (points, 2)).astype(int)
        cloud[:, 5] = 0.5 * age
        sweeps.append(LidarSweep(stamp - age * SECOND // 2, cloud, np.eye(4)))
    return SensorFrame(stamp, fixed_from_ego, cameras, tuple(sweeps))


@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_a_drive_through_the_exported_file_is_labelled_as_in_torch(small: Small, backend: str) -> None:
    exported = Predictor(small.name, backend, small.onnx, precision='f32', everywhere=True)
    plain = Predictor(small.name, 'torch', small.weights, everywhere=True)
    drive = [frame(small.row, number) for number in range(3)]
    first = []
    for each in drive:
        found, expected = exported.predict(each), plain.predict(each)
        assert found.past_stamps_ns == expected.past_stamps_ns
        assert found.voxels_left_out == expected.voxels_left_out == 0
        assert (found.labels == expected.labels).mean() >= 0.9999
        assert len(np.unique(found.labels)) > 4
        first.append(found.labels)
    exported.reset()
    again = [exported.predict(each).labels for each in drive]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    if small.row.frames > 1:
        assert found.past_stamps_ns == (drive[1].stamp_ns,)
        exported.reset()
        assert (exported.predict(drive[-1]).labels != first[-1]).mean() > 0.001  # without the past


def test_engines_are_compared_and_narrow_files_are_made(small: Small, tmp_path: Path) -> None:
    frames = [ParityFrame('drive', frame(small.row, number), None) for number in range(2)]
    files = network_files(small.name, str(small.onnx), tmp_path)
    assert (files.checkpoint, files.note) == (small.weights, '')
    ((f32,), missing) = (run := compare_engines(files, frames, [Choice('openvino', 'f32')], layers=False)).engines, run.missing
    assert not missing and f32.agreement >= 0.9999
    assert ('prepared' in f32.memory) == (small.row.frames > 1)
    (written,) = write_int8(small.onnx, small.row, 'test', recorded_feeds(small.row, small.onnx, frames))
    assert written.quantised > 4
    narrow = Predictor(small.name, 'onnxruntime', small.onnx, precision='int8', everywhere=True)
    whole = Predictor(small.name, 'onnxruntime', small.onnx, precision='f32', everywhere=True)
    assert (narrow.predict(frames[0].sensors).labels == whole.predict(frames[0].sensors).labels).mean() > 0.5


def test_a_cloud_with_more_voxels_than_there_is_room_for_is_cut_and_told(small: Small) -> None:
    exported = Predictor(small.name, 'openvino', small.onnx, precision='f32', everywhere=True)
    told = exported.predict(frame(small.row, 0, 90_000))
    assert told.voxels_left_out > 1_000 and told.labels.shape == small.row.grid.shape


def test_frames_on_a_device_and_on_the_host_are_labelled_alike(small: Small) -> None:
    """The way of TensorRT, run in torch on the CPU; networks without cameras have the host's way there, too."""
    if small.row.lift is None:
        pytest.skip('a network without cameras goes no device way')
    cpu = torch.device('cpu')
    graph, = exportable(small.network, small.row, Path('x.onnx')).graphs.values()
    device = Predictor(small.name, 'torch', small.weights, everywhere=True)
    device.engine = DeviceEngine([TorchGraph(graph, small.drive.feeds(graph), cpu)], small.row, cpu)
    host = Predictor(small.name, 'torch', small.weights, everywhere=True)
    for number in range(2):
        given = frame(small.row, number)
        found, expected = device.predict(given), host.predict(given)
        assert (found.labels == expected.labels).mean() > 0.999


def test_missing_points_are_asked_for(small: Small) -> None:
    engine = Predictor(small.name, 'openvino', small.onnx, precision='f32').engine
    with pytest.raises(ValueError, match='this network takes LiDAR points'):
        engine.infer(np.zeros((0, 1, 1, 3), np.uint8), [])
    if small.row.cameras:
        given = small.drive.feeds(exportable(small.network, small.row, Path('x')).graphs[Path('x')])
        with pytest.raises(ValueError, match='and depth hints'):
            engine.infer(given['images'], [], LidarInput(given['voxels'], {}))


def test_fusionocc_has_one_form_of_memory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="remembers in the form 'exact' alone"):
        Predictor(WITH_HISTORY, 'torch', 'random', memory=WARPED)
    network, drive = small_lidar_network(WITH_HISTORY)
    with pytest.raises(ValueError, match="remembers in the form 'exact' alone"):
        exportable(network, drive.row, tmp_path / 'x.onnx', memory=WARPED)

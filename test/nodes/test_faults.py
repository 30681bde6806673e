"""What goes wrong is said and counted, and the nodes live on."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from array import array
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from fake_predictor import FakePredictor
from live import Ear, child, environment, node_code, ros, running, until
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter as RosParameter
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from small_bag import write_bag

from occ_msgs.msg import VoxelGrid
from occ_msgs.srv import ResetMemory, SwitchNetwork
from occ_perception.catalogue import entry
from occ_perception.nodes import system
from occ_perception.nodes.cameras import CamerasNode
from occ_perception.nodes.lidar import LidarNode
from occ_perception.nodes.parameters import ParameterError
from occ_perception.nodes.running import Spinner
from occ_perception.runtime.intake.decode import DecodeError


def serve(path: Path, make=lambda *_: FakePredictor(), during=None, **replay):
    """Play a bag through the composition; returns (tally, grids, health counts by node)."""
    replay = {'lockstep': True, **replay}
    specs = system.nodes('scocc_sample', system.sources_of(str(path)), replay=system.Replay(str(path), **replay))
    with ros() as context, running(specs, context, make) as system_, \
            contextlib.closing(Ear(context, voxels=(VoxelGrid, 'occ/voxels', 50))) as ear:
        assert system_.start()
        if during is not None:
            during(context, system_, ear)
        assert system_.finished.wait(30)
        settled = until(lambda: (t := system_.tally()).published + sum(t.dropped.values()) == t.due, 5)
        assert settled, system_.tally()
        counts = {name: dict(system_.nodes[name]._health._counts) for name in ('cameras', 'lidar', 'occupancy')
                  if name in system_.nodes}
        return system_.tally(), ear.heard['voxels'], counts


def used(grid: VoxelGrid) -> set[str]:
    return {sensor.name for sensor in grid.sensors if sensor.valid}


def test_broken_pictures_leave_out_their_camera_only(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """CAM_BACK is cut short, CAM_FRONT_LEFT is empty, CAM_BACK_LEFT's size contradicts its CameraInfo: three cameras remain."""
    def change(topic: str, message, seconds: float):
        if topic == '/CAM_BACK/image_rect/compressed':
            message = dataclasses.replace(message, data=message.data[:len(message.data) // 2])
        if topic == '/CAM_FRONT_LEFT/image_rect/compressed':
            message = dataclasses.replace(message, data=np.zeros(0, np.uint8))
        if topic == '/CAM_BACK_LEFT/camera_info':
            message = dataclasses.replace(message, width=message.width * 2)
        return message

    tally, grids, counts = serve(write_bag(tmp_path / 'bag', 1.0, change=change))
    log = capfd.readouterr().err
    assert (tally.due, tally.published) == (5, 5)
    assert all(used(grid) == {'CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_RIGHT'} for grid in grids)
    assert '/CAM_BACK/image_rect/compressed: broken JPEG' in log
    assert '/CAM_FRONT_LEFT/image_rect/compressed: empty picture' in log
    assert '/CAM_BACK_LEFT/image_rect/compressed: picture is 160x90, but /CAM_BACK_LEFT/camera_info describes 320x90' in log
    assert log.count('broken JPEG') == 1
    assert counts['cameras']['CAM_BACK']['decode_error'] >= 5
    assert counts['occupancy']['CAM_BACK']['left_out'] == 5


def test_implausible_calibration_leaves_out_its_camera(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    def change(topic: str, message, seconds: float):
        if topic == '/CAM_FRONT/camera_info':
            message = dataclasses.replace(message, k=np.zeros(9), p=np.zeros(12))
        if topic == '/CAM_BACK/camera_info':
            message = dataclasses.replace(message, r=np.array([1, 0, 0, 1, 0, 0, 1, 0, 0.0]))
        return message

    tally, grids, counts = serve(write_bag(tmp_path / 'bag', 0.8, change=change), lockstep=False)
    log = capfd.readouterr().err
    assert tally.published == tally.due == 4
    assert all(len(used(grid)) == 5 and 'CAM_FRONT' not in used(grid) for grid in grids)
    assert '/CAM_FRONT/camera_info: focal lengths fx = 0' in log
    assert '/CAM_BACK/camera_info: R = ' in log
    assert counts['cameras']['CAM_FRONT']['bad_camera_info'] > 5


def test_empty_clouds_are_counted_and_cameras_go_on(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    def change(topic: str, message, seconds: float):
        if topic == '/LIDAR_TOP/points' and 0.34 < seconds < 0.66:
            message = dataclasses.replace(message, width=0, row_step=0, data=np.zeros(0, np.uint8))
        return message

    tally, grids, counts = serve(write_bag(tmp_path / 'bag', 1.2, change=change))
    assert counts['lidar']['sweeps']['empty_cloud'] == 7
    assert '/LIDAR_TOP/points: empty cloud' in capfd.readouterr().err
    assert len(grids) == tally.published == tally.due == 6


def test_gap_in_tf_drops_sets_with_a_reason_and_ends(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """Without poses from 0.5 s to the end nothing is made up: sets are dropped as no_pose."""
    tally, grids, _ = serve(write_bag(tmp_path / 'bag', 1.2, tf_gap=(0.5, 9.9)))
    assert tally.due == 6
    assert tally.dropped['no_pose'] == 3
    assert len(grids) == 3
    assert 'no transform odom <- base_link' in capfd.readouterr().err


def test_short_gap_is_bridged_by_interpolation(tmp_path: Path) -> None:
    tally, _, _ = serve(write_bag(tmp_path / 'bag', 1.2, tf_gap=(0.41, 0.55)), make=lambda *_: FakePredictor())
    assert tally.published == tally.due == 6


def test_missing_camera_and_missing_lidar(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    skip = ('/CAM_BACK/image_rect/compressed', '/CAM_BACK/camera_info', '/LIDAR_TOP/points')
    path = write_bag(tmp_path / 'bag', 1.0, skip=skip)
    assert system.sources_of(str(path)).missing == ('/CAM_BACK/image_rect/compressed', '/CAM_BACK/camera_info', '/LIDAR_TOP/points')
    tally, grids, _ = serve(path)
    assert tally.published == tally.due >= 4
    assert all(len(used(grid)) == 5 for grid in grids)


def test_prediction_that_fails_is_dropped_and_the_next_one_served(tmp_path: Path) -> None:
    class Moody(FakePredictor):
        def predict(self, frame):
            prediction = super().predict(frame)
            if len(self.frames) % 2 == 0:
                raise RuntimeError('out of memory')
            return prediction

    tally, grids, _ = serve(write_bag(tmp_path / 'bag', 1.2), make=lambda *_: Moody())
    assert tally.dropped['prediction_error'] == 3
    assert len(grids) == tally.published == 3


def call(node, kind, name: str, request, timeout_s: float = 10.0):
    client = node.create_client(kind, name)
    assert client.wait_for_service(timeout_s)
    done = threading.Event()
    future = client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    assert done.wait(timeout_s)
    return future.result()


def test_services_and_bad_parameters_while_running(tmp_path: Path) -> None:
    def set_parameters(node, target: str, **values):
        wanted = [RosParameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        return call(node, SetParameters, f'{target}/set_parameters', SetParameters.Request(parameters=wanted)).results[0]

    made = []

    def make(network: str, weights: str, _: object) -> FakePredictor:
        if weights == 'broken.onnx':
            raise ValueError('broken.onnx is no ONNX file')
        made.append(FakePredictor(network))
        return made[-1]

    def during(context, system_, ear: Ear) -> None:
        assert ear.wait(lambda heard: len(heard['voxels']) >= 2)
        for target, values, words in (
                ('occupancy', {'max_rate': -1.0}, 'max_rate'), ('occupancy', {'min_cameras': 7}, 'min_cameras is 7'),
                ('occupancy', {'network': 'scocc-r50'}, 'read-only'),
                ('cameras', {'network': 'resnet'}, "'resnet', must be one of"),
                ('views', {'obstacle_max_height': -1.0}, 'must be above obstacle_min_height')):
            result = set_parameters(ear, target, **values)
            assert not result.successful
            assert words in result.reason
        assert set_parameters(ear, 'occupancy', max_rate=10.0).successful
        assert call(ear, ResetMemory, 'occupancy/reset_memory', ResetMemory.Request()).success
        answer = call(ear, SwitchNetwork, 'occupancy/switch_network', SwitchNetwork.Request(network='resnet'))
        assert not answer.success
        assert 'scocc_sample' in answer.message
        request = SwitchNetwork.Request(network='scocc-r50', weights='broken.onnx')
        answer = call(ear, SwitchNetwork, 'occupancy/switch_network', request)
        assert (answer.success, answer.message) == (False, 'scocc-r50 could not be loaded: broken.onnx is no ONNX file')
        answer = call(ear, SwitchNetwork, 'occupancy/switch_network', SwitchNetwork.Request(network='scocc-r50'))
        assert (answer.success, answer.message) == (True, 'serving scocc-r50')
        assert ear.wait(lambda heard: heard['voxels'][-1].network == 'scocc-r50')

    tally, grids, _ = serve(write_bag(tmp_path / 'bag', 6.0), make=make, during=during)
    networks = [grid.network for grid in grids]
    assert networks == sorted(networks, reverse=True)
    assert set(networks) == {'scocc_sample', 'scocc-r50'}
    assert made[0].resets + made[1].resets == 1
    assert made[1].frames[-1].cameras['CAM_FRONT'].image.shape == (256, 704, 3)
    assert tally.published + sum(tally.dropped.values()) == tally.due


def test_bad_parameter_at_the_start_is_named() -> None:
    with ros() as context:
        with pytest.raises(ParameterError, match=r"cameras: parameter network.* must be one of"):
            CamerasNode(context=context, parameter_overrides=[RosParameter('network', value='resnet')])
        with pytest.raises(ParameterError, match=r'parameter decode_threads must be 1 \.\.\. 32'):
            CamerasNode(context=context, parameter_overrides=[RosParameter('decode_threads', value=0)])
        with pytest.raises(ParameterError, match='parameter rectified must be a bool'):
            CamerasNode(context=context, parameter_overrides=[RosParameter('rectified', value='yes')])


def test_reduced_decoding_keeps_the_geometry_of_whole_pictures() -> None:
    ramp = np.repeat(np.linspace(0, 255, 1600).astype(np.uint8)[None, :, None], 900, 0).repeat(3, 2)
    picture = CompressedImage(format='jpeg', data=array('B', simplejpeg.encode_jpeg(ramp, 95)))
    intrinsics = np.array([[1200.0, 0, 800], [0, 1200, 450], [0, 0, 1]])
    made = []
    with ros() as context:
        for reduced in (False, True):
            node = CamerasNode(context=context, parameter_overrides=[RosParameter('reduced_decoding', value=reduced)])
            made.append(node._make(node._cameras[0], picture, intrinsics, (900, 1600), entry('scocc-r50').preprocessing))
            with pytest.raises(DecodeError, match=r'1600x900.*describes 800x450'):
                node._make(node._cameras[0], picture, intrinsics, (450, 800), entry('scocc-r50').preprocessing)
            node.destroy_node()
    (whole, k), (small, reduced_k) = made
    np.testing.assert_allclose(reduced_k, k)
    assert whole.shape == small.shape == (256, 704, 3)
    assert 0 < np.abs(whole.astype(int) - small).max() < 6


def occ_up(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, '-m', 'occ_perception.cli.main', 'up', *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_occ_up_refuses_what_cannot_work(tmp_path: Path) -> None:
    wrong = write_bag(tmp_path / 'wrong', 0.2, skip=tuple(f'/{camera}/camera_info' for camera in (
        'CAM_FRONT', 'CAM_FRONT_LEFT', 'CAM_FRONT_RIGHT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_BACK_RIGHT')))
    for arguments, words in ((('scocc_sample', '--bag', str(wrong)),
                              ('no CameraInfo', '/CAM_BACK/camera_info', 'occ bag calibrate')),
                             (('scocc_sample', '--bag', '/nowhere.mcap'), ('/nowhere.mcap does not exist',)),
                             (('resnet',), ("no network is called 'resnet'",)),
                             (('scocc_sample', '-p', 'engine.rate:=2'), ("no node is called 'engine'",))):
        result = occ_up(*arguments)
        assert result.returncode == 2
        assert all(word in result.stderr for word in words), result.stderr
        assert 'Traceback' not in result.stderr


@pytest.mark.parametrize('module', ['cameras', 'lidar', 'occupancy', 'views'])
def test_a_node_alone_ends_quietly_on_two_sigints(module: str) -> None:
    with child('-c', node_code(module, {}, make=module == 'occupancy')) as process:
        line = process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
        assert process.wait(15) == 0
        rest = line + process.stdout.read()
    assert 'Traceback' not in rest


def test_player_without_a_bag_says_so() -> None:
    with child('-c', node_code('player', {'bag': '/nowhere'})) as process:
        assert process.wait(30) == 2
        assert '/nowhere does not exist' in process.stdout.read()


def test_missing_topic_is_named_with_what_there_is(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    monkeypatch.setattr('occ_perception.nodes.cameras.SILENCE_S', 0.4)
    monkeypatch.setattr('occ_perception.nodes.lidar.SILENCE_S', 0.4)
    with ros() as context, contextlib.ExitStack() as stack:
        other = Ear(context, 'driver')
        stack.callback(other.close)
        other.create_publisher(Image, '/front/image_raw', 1)
        other.create_publisher(PointCloud2, '/velodyne_points', 1)
        for kind in (CamerasNode, LidarNode):
            stack.callback(Spinner(kind(context=context)).close)
        log = ''

        def said() -> bool:
            nonlocal log
            log += capfd.readouterr().err
            return 'somebody publishes: /front/image_raw' in log and 'somebody publishes: /velodyne_points' in log

        assert until(said), log
    assert 'nothing on /CAM_FRONT/image_rect/compressed' in log
    assert 'nothing on /LIDAR_TOP/points' in log

"""The launch files, run by the real ros2 launch."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from live import Ear, environment, ros
from small_bag import write_bag

from occ_msgs.msg import VoxelGrid
from occ_perception.nodes import qos, system

pytestmark = pytest.mark.distribution
MISSING = [name for name in ('launch', 'launch_ros', 'ros2cli', 'ros2launch') if importlib.util.find_spec(name) is None]
ROS2 = (sys.executable, '-c', 'import sys; from ros2cli.cli import main; sys.exit(main())')
WEIGHTS = Path(__file__).resolve().parents[2] / 'occ_perception' / 'weights'


@pytest.fixture(autouse=True)
def _real_launch() -> None:
    if MISSING:
        pytest.skip(f'not installed: {", ".join(MISSING)}')


def launch(*arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess:
    return subprocess.run([*ROS2, 'launch', 'occ_perception', *arguments], env=environment(), capture_output=True, text=True,
                          timeout=timeout_s, check=False)


@pytest.mark.parametrize(('file', 'network'), system.LAUNCHED.items())
def test_arguments_are_declared_and_described(file: str, network: str) -> None:
    shown = launch(f'{file}.launch.py', '--show-args').stdout
    for name in ('bag', 'network', 'weights', 'backend', 'precision', 'memory', 'published_centers', 'without_lidar',
                 'without_cameras', 'composed', 'rviz',
                 'use_sim_time', 'log_level', 'namespace'):
        assert f"'{name}':" in shown
    assert f"(default: '{network}')" in shown
    assert all(f"'{offered}'" in shown for offered in system.networks_of(file))
    assert (f'empty for those that ship ({file}_sample' in shown) == (file in ('scocc', 'effocc'))
    assert ('none ship with these networks' in shown) == (file not in ('scocc', 'effocc'))


def test_a_network_of_another_file_is_refused() -> None:
    result = launch('bevdet_occ.launch.py', 'network:=scocc_sample')
    assert result.returncode != 0
    assert 'bevdet-occ-r50' in result.stdout + result.stderr


@pytest.mark.parametrize('composed', ['true', 'false'])
def test_a_bag_is_played_through_and_everything_ends_cleanly(tmp_path: Path, composed: str) -> None:
    bag = write_bag(tmp_path / 'bag', 1.0)
    weights = () if (WEIGHTS / 'scocc_sample.onnx').exists() else ('weights:=random', 'backend:=torch')
    with ros() as context, contextlib.closing(Ear(context, voxels=(VoxelGrid, '/car/occ/voxels', qos.OUTPUT))) as ear:
        result = launch('scocc.launch.py', f'bag:={bag}', f'composed:={composed}', 'namespace:=car', 'lockstep:=true',
                        'memory:=warped', 'published_centers:=true', *weights)
    log = result.stdout + result.stderr
    assert result.returncode == 0, log
    assert 'Traceback' not in log
    assert 'played' in log
    processes = log.count('process started with pid')
    assert processes == (1 if composed == 'true' else 5)
    assert log.count('process has finished cleanly') == processes, log
    assert len(ear.heard['voxels']) >= 3


def test_a_wrong_bag_is_named() -> None:
    result = launch('scocc.launch.py', 'bag:=/nowhere.mcap')
    assert result.returncode != 0
    assert '/nowhere.mcap does not exist' in result.stdout + result.stderr

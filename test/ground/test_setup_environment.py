"""What set-up decides, and that the environment it made works with nothing sourced."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'scripts' / 'setup_environment.py'
ROS_VARIABLES = ('AMENT_PREFIX_PATH', 'ROS_DISTRO', 'PYTHONPATH', 'LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')

made_here = pytest.mark.skipif(ROOT not in Path(sys.prefix).parents or not Path(sys.prefix).name.startswith('.venv'),
                               reason='runs in the environment that make test sets up')
over_wheels = pytest.mark.skipif('sourced' in Path(sys.prefix).name, reason='about the environment made of wheels')


@pytest.fixture(scope='module')
def setup():
    spec = spec_from_file_location('setup_environment', SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bare_shell(monkeypatch):
    for variable in ROS_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def prefix_with_rclpy(folder):
    index = folder / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    (index / 'rclpy').touch()
    return folder


@pytest.mark.usefixtures('bare_shell')
class TestDecisions:
    def test_a_bare_shell_gets_the_jazzy_wheels(self, setup):
        ground = setup.Ground()
        assert (ground.sourced, ground.distribution, ground.prefix) == (None, 'jazzy', ROOT / '.venv')
        assert ROOT / 'underlay' in ground.base_paths()

    def test_another_distribution_gets_a_place_of_its_own(self, setup, monkeypatch):
        monkeypatch.setenv('ROS_DISTRO', 'kilted')
        ground = setup.Ground()
        assert ground.prefix == ROOT / '.venv-kilted'
        assert setup.requirement_files(ground, 'demo')[0].name == 'kilted.txt'

    def test_a_distribution_without_wheels_must_be_sourced(self, setup, monkeypatch):
        monkeypatch.setenv('ROS_DISTRO', 'humble')
        with pytest.raises(setup.SetupError, match=r'ROS_DISTRO=humble.*jazzy and kilted.*/opt/ros/humble/setup\.sh'):
            setup.Ground()

    def test_over_a_sourced_distribution_the_underlay_stays_out(self, setup, monkeypatch, tmp_path):
        installed = prefix_with_rclpy(tmp_path / 'opt' / 'ros' / 'humble')
        monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "overlay"}:{installed}')
        monkeypatch.setenv('ROS_DISTRO', 'humble')
        ground = setup.Ground()
        assert ground.sourced == 'humble'
        assert ground.prefix == ROOT / '.venv-sourced-humble'
        assert ground.base_paths() == [ROOT, ROOT / 'occ_msgs']
        assert [path.name for path in setup.requirement_files(ground, 'test')] == ['build.txt', 'demo.txt', 'test.txt']
        assert setup.constraint_files(ground) == []

    def test_an_environment_of_ours_is_no_distribution(self, setup, monkeypatch, tmp_path):
        ours = prefix_with_rclpy(tmp_path / '.venv')
        (ours / 'pyvenv.cfg').touch()
        monkeypatch.setenv('AMENT_PREFIX_PATH', str(ours))
        assert setup.Ground().sourced is None

    def test_what_the_machine_lacks_is_said_with_one_apt_line(self, setup, monkeypatch):
        monkeypatch.setattr(setup.shutil, 'which', lambda tool: None if tool in ('cmake', 'g++') else f'/usr/bin/{tool}')
        monkeypatch.setattr(setup.sysconfig, 'get_path', lambda name: '/nowhere')
        with pytest.raises(setup.SetupError) as error:
            setup.check_system()
        text = str(error.value)
        assert 'cmake' in text
        assert 'g++' in text
        assert '/nowhere/Python.h' in text
        assert [line for line in text.splitlines() if 'apt install' in line] == [f'    {setup.APT_LINE}']
        assert all(package in setup.APT_LINE for package in ('python3-venv', 'python3-dev', 'g++', 'cmake', 'make'))


def test_the_demo_level_asks_for_neither_torch_nor_cuda():
    folder = ROOT / 'scripts' / 'requirements'
    for name in ('jazzy', 'kilted', 'build', 'demo'):
        lines = [line for line in (folder / f'{name}.txt').read_text().lower().splitlines() if not line.startswith('#')]
        assert not [line for line in lines if any(word in line for word in ('torch', 'nvidia', 'cuda', 'triton', 'opencv'))]


def run(*command, cwd='/', **variables):
    """Run a command in a shell without ROS variables but these."""
    environment = {name: value for name, value in os.environ.items() if name not in ROS_VARIABLES}
    return subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True, timeout=60, check=False)


TRIAL = ('import rclpy, occ_msgs.msg, occ_perception; occ_msgs.msg.VoxelGrid.__class__.__import_type_support__(); '
         'print(rclpy.__file__)')


@made_here
@over_wheels
class TestEnvironment:
    def test_python_works_with_nothing_sourced(self):
        done = run(sys.executable, '-c', TRIAL)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(sys.prefix)

    def test_a_child_of_another_environment_finds_its_own_libraries(self):
        done = run(sys.executable, '-c', TRIAL, _ROS_WHEELS_BOOTSTRAP_COMPLETE='1', LD_LIBRARY_PATH='/somewhere/else/lib')
        assert done.returncode == 0, done.stderr

    def test_a_sourced_distribution_does_not_get_in(self, tmp_path):
        foreign = prefix_with_rclpy(tmp_path / 'opt' / 'ros' / 'other')
        modules = foreign / 'lib' / 'python3' / 'site-packages'
        modules.mkdir(parents=True)
        (modules / 'rclpy.py').write_text('raise ImportError("this is the other rclpy")')
        done = run(sys.executable, '-c', TRIAL, AMENT_PREFIX_PATH=str(foreign), PYTHONPATH=str(modules), ROS_DISTRO='other')
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(sys.prefix)

    def test_a_workspace_sourced_on_top_goes_first(self):
        code = 'import os; print(os.environ["AMENT_PREFIX_PATH"])'
        done = run(sys.executable, '-c', code, AMENT_PREFIX_PATH='/my/workspace/install')
        assert done.stdout.strip() == f'/my/workspace/install:{sys.prefix}'

    def test_the_package_and_its_files_are_found(self):
        code = ('from ament_index_python.packages import get_package_share_directory as share\n'
                'import os\nprint(sorted(os.listdir(share("occ_perception"))))\nprint(os.path.exists(share("occ_perception") + '
                '"/config/fastdds.xml"), os.environ["ROS_DISTRO"])')
        done = run(sys.executable, '-c', code)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stdout for name in ("'config'", "'launch'", "'package.xml'", "'rviz'", 'True'))

    def test_running_set_up_again_is_quick(self):
        level = ('--level', 'test')
        first = run(sys.executable, str(SCRIPT), *level, ROS_DISTRO=os.environ.get('ROS_DISTRO', 'jazzy'))
        assert first.returncode == 0, first.stderr
        began = time.monotonic()
        again = run(sys.executable, str(SCRIPT), *level, ROS_DISTRO=os.environ.get('ROS_DISTRO', 'jazzy'))
        assert again.returncode == 0, again.stderr
        assert again.stdout == ''
        assert time.monotonic() - began < 3.0


@made_here
def test_the_commands_are_installed():
    done = run(str(Path(sys.prefix) / 'bin' / 'occ'), '--help')
    assert done.returncode == 0, done.stderr
    assert 'occ demo' in done.stdout
    for node in ('cameras', 'lidar', 'occupancy', 'views', 'player'):
        assert os.access(Path(sys.prefix) / 'lib' / 'occ_perception' / node, os.X_OK)

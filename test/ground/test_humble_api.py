"""Nodes and launch files use only what ROS 2 Humble, the oldest supported distribution, has.

Three things are checked against humble_api.txt: names imported from ROS packages, keyword arguments in calls of such names, and
attributes and keyword arguments that the rclpy installed here has but Humble has not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LINE = re.compile(r'([\w.]+)(?:\(([^)]*)\))?$')


def checked_files():
    return sorted([*(ROOT / 'occ_perception' / 'nodes').rglob('*.py'), *(ROOT / 'launch').rglob('*.py')])


class Api:
    """A listing: names and what calling them accepts (None: not callable)."""

    def __init__(self, lines):
        self.parameters: dict[str, set[str] | None] = {}
        for line in lines:
            match = LINE.match(line.strip())
            if match:
                self.parameters[match[1]] = None if match[2] is None else set(match[2].split())
        self.packages = {name.split('.')[0] for name in self.parameters}
        self.by_last: dict[str, list[str]] = {}
        for name in self.parameters:
            self.by_last.setdefault(name.rpartition('.')[2], []).append(name)

    def has(self, name):
        return name in self.parameters or any(known.startswith(f'{name}.') for known in self.parameters)

    def is_module(self, name):
        """Whether a name stands for a module, with other names inside."""
        return self.parameters.get(name) is None and any(known.startswith(f'{name}.') for known in self.parameters)

    def accepted(self, last_name, package=None):
        """Parameters of everything callable with this last name, {'**'} included when there may be others; None: nothing known."""
        known = [self.parameters[name] for name in self.by_last.get(last_name, []) if package in (None, name.split('.')[0])]
        sets = [parameters for parameters in known if parameters is not None]
        return set().union(*sets) if sets else None


@pytest.fixture(scope='module')
def humble():
    return Api((HERE / 'humble_api.txt').read_text().splitlines())


@pytest.fixture(scope='module')
def installed():
    spec = find_spec('rclpy')
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip('rclpy is not installed')
    tool_spec = spec_from_file_location('list_ros_api', ROOT / 'scripts' / 'list_ros_api.py')
    tool = module_from_spec(tool_spec)
    tool_spec.loader.exec_module(tool)
    return Api(tool.listing('rclpy', Path(next(iter(spec.submodule_search_locations)))))


def imports(tree: ast.Module, packages: set[str]) -> Iterator[tuple[ast.AST, str, str]]:
    """Node, local name and full name of each import from these packages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or '').split('.')[0] in packages:
            yield from ((node, alias.asname or alias.name, f'{node.module}.{alias.name}') for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split('.')[0] in packages:
                    yield node, alias.asname or alias.name.split('.')[0], alias.name if alias.asname else alias.name.split('.')[0]


def dotted(node: ast.AST) -> str:
    """a.b.c of an attribute chain, empty when it starts with something else than a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (start := dotted(node.value)):
        return f'{start}.{node.attr}'
    return ''


def complaints(tree: ast.Module, humble: Api, installed: Api | None = None) -> Iterator[str]:
    """What in a module Humble has not."""
    local = {}
    for node, name, full in imports(tree, humble.packages):
        local[name] = full
        if not humble.has(full):
            yield f'line {node.lineno}: {full}'
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            start, _, rest = dotted(node).partition('.')
            full = f'{local[start]}.{rest}' if start in local else ''
            if full and not humble.has(full) and humble.is_module(full.rpartition('.')[0]):
                yield f'line {node.lineno}: {full}'
            elif installed and node.attr in installed.by_last and node.attr not in humble.by_last:
                yield f'line {node.lineno}: attribute {node.attr}, which newer rclpy has'
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            start = called.partition('.')[0]
            last = getattr(node.func, 'attr', None) or local.get(called, '').rpartition('.')[2]
            accepted = humble.accepted(last, local[start].split('.')[0] if start in local else None)
            if accepted is not None and '**' not in accepted:
                newer = (installed.accepted(last) or set()) if installed else set()
                yield from (f'line {node.lineno}: {called or last}({keyword.arg}=)' for keyword in node.keywords
                            if keyword.arg and keyword.arg not in accepted and (start in local or keyword.arg in newer))


@pytest.mark.parametrize('path', checked_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_names_that_humble_has(path, humble, installed):
    found = list(complaints(ast.parse(path.read_text()), humble, installed))
    assert not found, f'{path.relative_to(ROOT)} uses what Humble has not: {"; ".join(found)}'


@pytest.mark.parametrize(('source', 'complaint'), [
    ('from rclpy.executors import EventsExecutor', 'rclpy.executors.EventsExecutor'),
    ('import rclpy\nwith rclpy.init_nothing():\n    pass', 'rclpy.init_nothing'),
    ('from tf2_ros import TransformListener\nTransformListener(1, 2, tf_topic="tf")', 'TransformListener(tf_topic=)'),
    ('from launch.actions import Nothing', 'launch.actions.Nothing'),
    ('def f(node, group):\n    node.create_timer(1.0, print, autostart=False)', 'create_timer(autostart=)'),
    ('from sensor_msgs.msg import Image\nImage(hight=3)', 'Image(hight=)'),
    ('def f(node):\n    node.wait_for_node("x", 1.0)', 'attribute wait_for_node'),
])
def test_newer_names_are_found(source, complaint, humble, installed):
    assert any(complaint in found for found in complaints(ast.parse(source), humble, installed))


def test_usual_names_pass(humble, installed):
    source = '''
import rclpy
from launch import LaunchDescription
from launch_ros.actions import Node
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointField
from tf2_ros import Buffer, TransformException

rclpy.init(args=None)
Clock(clock_type=ClockType.STEADY_TIME)
QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LaunchDescription([Node(package='a', executable='b', output='screen')])
PointField(name='x', datatype=PointField.FLOAT32)

def f(node, pool):
    node.create_subscription(int, 't', print, qos_profile=1, callback_group=None, raw=True)
    pool.shutdown(wait=True)
'''
    assert not list(complaints(ast.parse(source), humble, installed))

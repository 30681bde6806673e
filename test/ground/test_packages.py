"""The ROS packages: declared dependencies, executables, and the interfaces field by field."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INTERFACES = sorted([*(ROOT / 'occ_msgs').rglob('*.msg'), *(ROOT / 'occ_msgs').rglob('*.srv')])
MODULE_PACKAGES = {'tf2_ros': 'tf2_ros_py'}
"""Python modules whose ROS package is called otherwise."""
ROS_MODULES = {
    'ament_index_python', 'builtin_interfaces', 'cv_bridge', 'diagnostic_msgs', 'geometry_msgs', 'launch', 'launch_ros',
    'lifecycle_msgs', 'message_filters', 'nav_msgs', 'occ_msgs', 'rcl_interfaces', 'rclpy', 'rosgraph_msgs', 'sensor_msgs',
    'sensor_msgs_py', 'std_msgs', 'std_srvs', 'tf2_msgs', 'tf2_py', 'tf2_ros', 'tf_transformations', 'visualization_msgs'}

CONTRACT = {
    'msg/VoxelGrid.msg': 'std_msgs/Header header; geometry_msgs/Pose origin; float32 resolution; uint32 size_x; uint32 size_y; '
                         'uint32 size_z; uint8 encoding; uint8[] labels; uint8[] instance_ids; uint8[] confidence; '
                         'SensorStatus[] sensors; string network; string intended_network; string fallback',
    'msg/SensorStatus.msg': 'string name; bool valid; float32 age; uint8 readings',
    'msg/ClassLabel.msg': 'uint8 id; string name; std_msgs/ColorRGBA color; bool thing; bool drivable',
    'msg/LabelInfo.msg': 'std_msgs/Header header; string label_set; uint8 free_id; uint8 unknown_id; ClassLabel[] classes',
    'msg/Instance.msg': 'uint32 id; uint8 class_id; float32 score; geometry_msgs/Pose pose; geometry_msgs/Vector3 size; '
                        'geometry_msgs/Vector3 velocity; uint32 voxel_count',
    'msg/InstanceArray.msg': 'std_msgs/Header header; string network; Instance[] instances',
    'msg/StageTimings.msg': 'std_msgs/Header header; string[] stages; float32[] milliseconds',
    'msg/SweepInfo.msg': 'std_msgs/Header header; builtin_interfaces/Time[] stamps; geometry_msgs/Pose[] poses; uint32[] points',
    'msg/VoxelFlow.msg': 'std_msgs/Header header; geometry_msgs/Pose origin; float32 resolution; uint32 size_x; uint32 size_y; '
                         'uint32 size_z; float32 unit; uint8 encoding; uint8[] velocities; string network',
    'srv/ResetMemory.srv': 'bool success; string message',
    'srv/SwitchNetwork.srv': 'string network; string weights; bool success; string message',
}


def declarations(path):
    """The lines of an interface that declare a field or constant."""
    return [line for line in path.read_text().splitlines() if re.match(r'[a-zA-Z]\S*\s+\w', line)]


def declared_dependencies(path):
    root = ElementTree.parse(path).getroot()
    return {element.text for element in root if element.tag in ('depend', 'exec_depend', 'build_depend')}


def imported_packages(folder):
    for path in sorted(folder.rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield (node.module or '').split('.')[0]


def test_interfaces_are_those_agreed_on():
    assert {str(path.relative_to(ROOT / 'occ_msgs')) for path in INTERFACES} == set(CONTRACT)
    for name, fields in CONTRACT.items():
        lines = [line.split('#')[0].split() for line in declarations(ROOT / 'occ_msgs' / name) if '=' not in line.split('#')[0]]
        assert '; '.join(' '.join(line) for line in lines) == fields, name


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_every_field_says_what_it_is(path):
    bare = [line for line in declarations(path) if not re.search(r'#\s*\S{2}', line)]
    assert not bare, f'{path.name}: no comment at {bare}'


def test_interfaces_are_all_built():
    text = (ROOT / 'occ_msgs' / 'CMakeLists.txt').read_text()
    assert all(str(path.relative_to(ROOT / 'occ_msgs')) in text for path in INTERFACES)


def test_voxel_grid_constants():
    messages = pytest.importorskip('occ_msgs.msg')
    assert (messages.VoxelGrid.ENCODING_DENSE, messages.VoxelGrid.ENCODING_ZSTD, messages.VoxelGrid.UNKNOWN) == (0, 1, 255)


def test_what_nodes_and_launch_files_import_is_declared():
    used = ROS_MODULES & {*imported_packages(ROOT / 'occ_perception'), *imported_packages(ROOT / 'launch')}
    declared = declared_dependencies(ROOT / 'package.xml')
    assert not {MODULE_PACKAGES.get(name, name) for name in used} - declared


def test_only_nodes_import_ros():
    rooms = [path for path in (ROOT / 'occ_perception').iterdir() if path.is_dir() and path.name not in ('nodes', '__pycache__')]
    outside = {room.name: ROS_MODULES & set(imported_packages(room)) for room in rooms}
    assert not {room: names for room, names in outside.items() if names}


@pytest.mark.parametrize('package', sorted((ROOT / 'underlay').iterdir()), ids=lambda path: path.name)
def test_underlay_packages_are_whole(package):
    root = ElementTree.parse(package / 'package.xml').getroot()
    assert root.findtext('name') == package.name
    if (package / 'setup.py').exists():
        assert (package / 'resource' / package.name).exists()
        declared = declared_dependencies(package / 'package.xml')
        used = ROS_MODULES & set(imported_packages(package)) - {package.name, package.name.removesuffix('_py')}
        assert not {MODULE_PACKAGES.get(name, name) for name in used} - declared

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_bag import write_bag

from occ_perception.catalogue import NETWORKS, NUSCENES_CAMERAS, LidarSpec
from occ_perception.cli import up
from occ_perception.datasets.bag_reader import Bag, BagError, header_stamp_ns
from occ_perception.datasets.dialects import CAMERA_INFO, COMPRESSED, DIALECTS, POINTS, RAW, detect
from occ_perception.nodes import system

ROOT = Path(__file__).resolve().parents[2]


def topics_of(dialect_index: int, kind: str) -> dict[str, str]:
    dialect = DIALECTS[dialect_index]
    out = {f'/{dialect.points}': POINTS, '/tf': 'tf2_msgs/msg/TFMessage'}
    for camera in NUSCENES_CAMERAS:
        out |= {f'/{dialect.image_topic(camera)}': kind, f'/{dialect.info_topic(camera)}': CAMERA_INFO}
    return out


@pytest.mark.parametrize(('index', 'kind', 'transport', 'fixed_frame', 'image'), [
    (0, COMPRESSED, 'compressed', 'odom', 'CAM_BACK/image_rect/compressed'),
    (1, COMPRESSED, 'compressed', 'map', 'CAM_BACK/image_rect_compressed'),
    (2, RAW, 'raw', 'odom', 'cam_back/raw'),
])
def test_dialects_are_told_apart(index: int, kind: str, transport: str, fixed_frame: str, image: str) -> None:
    sources = detect(topics_of(index, kind), 'bag x')
    assert sources.dialect == DIALECTS[index].name
    assert {camera.transport for camera in sources.cameras} == {transport}
    assert sources.fixed_frame == fixed_frame
    assert next(camera for camera in sources.cameras if camera.name == 'CAM_BACK').image_topic == image
    assert sources.missing == ()


def test_missing_topics_are_named_and_the_rest_is_used() -> None:
    topics = topics_of(0, COMPRESSED)
    del topics['/CAM_BACK/camera_info'], topics['/LIDAR_TOP/points']
    sources = detect(topics, 'bag x')
    assert len(sources.cameras) == 5
    assert sources.missing == ('/CAM_BACK/camera_info', '/LIDAR_TOP/points')
    assert sources.reference == 'CAM_FRONT'
    names = [spec.name for spec in system.nodes('scocc_sample', sources)]
    assert names == ['cameras', 'occupancy', 'views']


def test_wrong_bag_says_what_is_there_and_what_was_expected() -> None:
    words = r'(?s)bag x: no camera.*?/scan \(sensor_msgs/msg/LaserScan\).*?/CAM_FRONT/image_rect/compressed'
    with pytest.raises(ValueError, match=words):
        detect({'/scan': 'sensor_msgs/msg/LaserScan'}, 'bag x')


def test_replay_is_told_to_every_node_once() -> None:
    sources = detect(topics_of(1, COMPRESSED), 'bag x')
    replay = system.Replay('x', lockstep=True)
    specs = {spec.name: spec.parameters for spec in system.nodes('flashocc-r50-M0', sources, replay=replay)}
    assert list(specs) == ['cameras', 'lidar', 'occupancy', 'views', 'player']
    assert all(specs[name]['use_sim_time'] for name in ('cameras', 'lidar', 'occupancy', 'views'))
    assert specs['player']['max_rate'] == specs['occupancy']['max_rate']
    assert specs['player']['reference_topic'] == 'LIDAR_TOP'
    assert specs['occupancy']['fixed_frame'] == specs['lidar']['fixed_frame'] == 'map'
    assert specs['cameras']['network'] == 'flashocc-r50-M0'


def parameters_of(file: str) -> dict[str, dict[str, Any]]:
    """Parameters by node of a file in config/, nested names joined by dots."""
    yaml = pytest.importorskip('yaml')

    def flat(values: dict, prefix: str = '') -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in values.items():
            out |= flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {f'{prefix}{key}': value}
        return out

    read = yaml.safe_load((ROOT / 'config' / f'{file}.yaml').read_text())
    return {node: flat(block['ros__parameters']) for node, block in read.items()}


@pytest.mark.parametrize(('family', 'network'), [(None, 'scocc_sample'), *system.LAUNCHED.items()])
def test_parameter_files_equal_what_is_started(family: str | None, network: str) -> None:
    """The rig's file alone, and with the one of each family behind it."""
    given = parameters_of('nuscenes')
    for node, changed in parameters_of(family).items() if family else ():
        given[node] |= changed
    assert given == {spec.name: spec.parameters for spec in system.nodes(network, system.sources_of(None))}


def test_the_later_parameter_file_counts() -> None:
    """Asked of the real parser: a node started as the files' heads say."""
    rclpy = pytest.importorskip('rclpy', reason='needs the ROS environment (make setup)')
    context = rclpy.context.Context()
    files = [ROOT / 'config' / f'{name}.yaml' for name in ('nuscenes', 'flashocc')]
    rclpy.init(args=['--ros-args', *(word for file in files for word in ('--params-file', str(file)))], context=context)
    try:
        node = rclpy.create_node('occupancy', context=context, automatically_declare_parameters_from_overrides=True)
        assert node.get_parameter('network').value == system.LAUNCHED['flashocc']
        assert node.get_parameter('CAM_BACK.offset').value == -0.011
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


def test_every_network_belongs_to_one_launch_file() -> None:
    offered = [name for launch_file in system.LAUNCHED for name in system.networks_of(launch_file)]
    assert sorted(offered) == sorted(NETWORKS)
    for launch_file, default in system.LAUNCHED.items():
        assert default in system.networks_of(launch_file)
        assert f"describe('{launch_file}')" in (ROOT / 'launch' / f'{launch_file}.launch.py').read_text()
    assert {path.name.removesuffix('.launch.py') for path in (ROOT / 'launch').glob('*.launch.py')} == set(system.LAUNCHED)


def test_memory_and_centres_reach_the_node() -> None:
    specs = system.nodes('scocc_sample_2f', system.sources_of(None), memory='warped', published_centers=True)
    parameters = next(spec.parameters for spec in specs if spec.name == 'occupancy')
    assert (parameters['memory'], parameters['published_centers']) == ('warped', True)
    parser = argparse.ArgumentParser()
    up.add_arguments(parser)
    arguments = parser.parse_args(['scocc_sample_2f', '--memory', 'warped', '--published-centers'])
    assert (arguments.memory, arguments.published_centers) == ('warped', True)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_bag_is_read_raw_in_order_of_time(tmp_path: Path, storage: str) -> None:
    path = write_bag(tmp_path / 'bag', 0.5, storage=storage)
    with Bag(path) as bag:
        messages = list(bag.messages())
        stamps = [message.recorded_ns for message in messages]
        assert stamps == sorted(stamps)
        points = [message for message in messages if message.topic == '/LIDAR_TOP/points']
        assert [header_stamp_ns(message.data) for message in points] == [message.recorded_ns for message in points]
        assert len(points) == 10
        assert bag.start_ns == stamps[0]
    assert system.sources_of(str(path)).dialect == 'occ_perception'
    single = next(path.glob('*.mcap' if storage == 'mcap' else '*.db3'))
    assert system.sources_of(str(single)).missing == ()


def test_bags_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(BagError, match='does not exist'):
        Bag(tmp_path / 'nothing')
    (tmp_path / 'junk.mcap').write_bytes(b'this is no mcap file' * 10)
    with pytest.raises(BagError, match=r'junk\.mcap cannot be read'):
        Bag(tmp_path / 'junk.mcap')
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0')
    with pytest.raises(BagError, match='ROS 1 bag'):
        Bag(tmp_path / 'old.bag')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(BagError, match='cannot be read'):
        Bag(tmp_path / 'folder')


def test_what_serves_without_an_input_reaches_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default the network itself, masked, where it was trained for that; sets without cameras only where asked for."""
    def parameters(**given: str) -> dict[str, Any]:
        specs = system.nodes('scocc_sample', system.sources_of(None), **given)
        return next(spec.parameters for spec in specs if spec.name == 'occupancy')

    assert not {'fallback_without_lidar', 'fallback_without_cameras', 'min_cameras'} & set(parameters())
    assert parameters()['stand_ins'][0] == 'CAM_FRONT' and len(set(parameters()['stand_ins'])) == 6
    row = replace(NETWORKS['scocc_sample'], lidar=LidarSpec(), maskable=True)
    monkeypatch.setitem(NETWORKS, 'scocc_sample', row)
    masked = parameters()
    assert (masked['fallback_without_lidar'], masked['fallback_without_cameras'], masked['min_cameras']) == ('mask', 'mask', 0)
    named = parameters(without_lidar='scocc_sample_2f', without_cameras='')
    assert named['fallback_without_lidar'] == 'scocc_sample_2f' and 'min_cameras' not in named

"""RViz's configuration against the running publishers: topic, type and QoS of each display."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from fake_predictor import FakePredictor
from live import Ear, ros, running, until
from nav_msgs.msg import OccupancyGrid
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from small_bag import write_bag
from visualization_msgs.msg import MarkerArray

from occ_perception.nodes import system

CONFIG = Path(__file__).resolve().parents[2] / 'rviz' / 'occupancy.rviz'
TYPES = {'PointCloud2': PointCloud2, 'MarkerArray': MarkerArray, 'Map': OccupancyGrid, 'Image': Image}
STANDARD = {'Grid', 'TF', *TYPES}


def displays() -> list[dict]:
    yaml = pytest.importorskip('yaml')
    return yaml.safe_load(CONFIG.read_text())['Visualization Manager']['Displays']


def test_only_standard_displays_and_the_voxels_are_boxes() -> None:
    kinds = [display['Class'] for display in displays()]
    assert all(kind.startswith('rviz_default_plugins/') and kind.split('/')[1] in STANDARD for kind in kinds)
    assert [kind.split('/')[1] for kind in kinds] == ['Grid', 'TF', 'PointCloud2', 'MarkerArray', 'MarkerArray', 'Map', 'Image',
                                                      'Image']
    voxels = next(display for display in displays() if display['Class'].endswith('PointCloud2'))
    assert (voxels['Style'], voxels['Color Transformer']) == ('Boxes', 'RGB8')
    assert voxels['Size (m)'] == pytest.approx(0.4)


def test_each_display_receives_from_the_running_nodes(tmp_path: Path) -> None:
    wanted = {}
    for display in displays():
        if 'Topic' in display:
            topic = display['Topic']
            reliability, durability = (topic[f'{name} Policy'].upper().replace(' ', '_') for name in ('Reliability', 'Durability'))
            profile = QoSProfile(depth=topic['Depth'], reliability=ReliabilityPolicy[reliability],
                                 durability=DurabilityPolicy[durability])
            wanted[display['Name'].replace(' ', '_')] = (TYPES[display['Class'].split('/')[1]], topic['Value'], profile)
    path = write_bag(tmp_path / 'bag', 2.0)
    specs = system.nodes('scocc_sample', system.sources_of(str(path)), replay=system.Replay(str(path), loop=True))
    with ros() as context, running(specs, context, lambda *_: FakePredictor()) as system_:
        assert system_.start()
        views = system_.nodes['views']
        assert until(lambda: system_.tally().published > 2)
        assert views._inputs == {}, 'views works although nobody looks'
        with contextlib.closing(Ear(context, **wanted)) as ear:
            for _, topic, _ in wanted.values():
                types = [info.topic_type for info in ear.get_publishers_info_by_topic(topic)]
                assert len(types) == 1, topic
            assert ear.wait(lambda heard: all(heard.values()), 20), {name: len(got) for name, got in ear.heard.items()}
        assert until(lambda: views._inputs == {}, 5), 'views goes on although nobody looks any more'
    cloud = ear.heard['Voxels'][0]
    assert [field.name for field in cloud.fields] == ['x', 'y', 'z', 'rgb', 'label']
    assert cloud.width > 72_000
    markers = ear.heard['Instances'][0].markers
    assert [(marker.ns, marker.id, marker.text) for marker in markers] == [('instances', 1, ''), ('names', 1, 'car 1')]
    image = ear.heard['Front'][0]
    assert (image.width, image.height, image.encoding, image.header.frame_id) == (352, 128, 'rgb8', 'CAM_FRONT')
    grid = ear.heard['2D_grid'][0]
    assert (grid.info.width, grid.info.height, grid.header.frame_id) == (200, 200, 'base_link')
    assert (grid.info.origin.position.x, grid.info.origin.position.y) == (-40.0, -40.0)

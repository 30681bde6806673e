"""Layouts of bags told apart by their topics, and what is said of those that will not do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from converter_bags import write_nuscenes2bag

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.bag_reader import Bag
from occ_perception.datasets.dialects import CAMERA_INFO, COMPRESSED, DIALECTS, POINTS, RAW, detect

ROOT = Path(__file__).resolve().parents[2]


def topics_of(name: str, kind: str) -> dict[str, str]:
    dialect = next(each for each in DIALECTS if each.name == name)
    out = {f'/{dialect.points}': POINTS, '/tf': 'tf2_msgs/msg/TFMessage'}
    for camera in NUSCENES_CAMERAS:
        out |= {f'/{dialect.image_topic(camera)}': kind, f'/{dialect.info_topic(camera)}': CAMERA_INFO}
    return out


@pytest.mark.parametrize(('name', 'kind', 'image', 'points', 'fixed_frame'), [
    ('occ_perception', COMPRESSED, 'CAM_BACK/image_rect/compressed', 'LIDAR_TOP/points', 'odom'),
    ('nuscenes_to_ros2bag', COMPRESSED, 'CAM_BACK/image_rect_compressed', 'LIDAR_TOP', 'map'),
    ('nuscenes2bag', RAW, 'cam_back/raw', 'lidar_top', 'odom'),
    ('nuscenes2bag, compressed', COMPRESSED, 'cam_back/compressed', 'lidar_top', 'odom'),
    ('nuscenes_to_ros2bag, C++', RAW, 'nuscenes/cam_back/image_raw', 'nuscenes/lidar_top', 'map')])
def test_every_layout_is_told_by_its_topics(name: str, kind: str, image: str, points: str, fixed_frame: str) -> None:
    sources = detect(topics_of(name, kind), 'bag x')
    back = next(camera for camera in sources.cameras if camera.name == 'CAM_BACK')
    assert (sources.dialect, back.image_topic, sources.points_topic, sources.fixed_frame) == (name, image, points, fixed_frame)
    assert back.transport == ('raw' if kind == RAW else 'compressed')
    assert back.offset_s < 0
    assert len(sources.cameras) == 6 and not sources.missing


def test_no_poses_at_all_is_said() -> None:
    topics = topics_of('nuscenes_to_ros2bag, C++', RAW)
    del topics['/tf']
    assert detect(topics, 'bag x').missing == ('/tf', '/tf_static')
    assert detect({**topics, '/tf_static': 'tf2_msgs/msg/TFMessage'}, 'bag x').missing == ('/tf',)


@pytest.mark.parametrize('compressed', [False, True])
def test_pictures_without_calibration_name_the_mend(tmp_path: Path, compressed: bool) -> None:
    """What clynamen/nuscenes2bag writes has no CameraInfo."""
    path = write_nuscenes2bag(tmp_path / 'bag', 0.5, compressed=compressed, infos=False)
    image = 'cam_back/compressed' if compressed else 'cam_back/raw'
    with Bag(path) as bag, pytest.raises(ValueError, match=rf'/{image}.*no CameraInfo; .*/cam_back/camera_info.*occ bag nuscenes'):
        detect(bag.topics, 'bag x')


def test_names_of_converted_bags_get_their_slash(tmp_path: Path) -> None:
    with Bag(write_nuscenes2bag(tmp_path / 'bag', 0.5)) as bag:
        assert bag.topics['/lidar_top'] == POINTS
        assert bag.topics['/tf'] == 'tf2_msgs/msg/TFMessage'
        assert all(topic.startswith('/') for topic in bag.topics)
        assert {message.topic for message in bag.messages({'/lidar_top'})} == {'/lidar_top'}


def test_every_layout_has_its_row_in_the_docs() -> None:
    text = (ROOT / 'docs' / 'dialects.md').read_text()
    rows = re.findall(r'^\| `([^`]+)`', text, re.MULTILINE)
    assert set(rows) >= {dialect.name for dialect in DIALECTS}
    for dialect in DIALECTS:
        assert f'/{dialect.image_topic("CAM_FRONT")}' in text, dialect.name
        assert f'/{dialect.points}' in text

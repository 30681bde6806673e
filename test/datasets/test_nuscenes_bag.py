"""`occ bag nuscenes`: the bag of a nuScenes tree holds what the drivers would have published, or says why it cannot."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

pytest.importorskip('embreex', reason='the sample world needs embreex')

from rosbags.typesys import Stores, get_typestore

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.cli.main import main
from occ_perception.datasets.bag_reader import SECOND, Bag, header_stamp_ns
from occ_perception.datasets.bag_writer import POINT_DTYPE
from occ_perception.datasets.message_types import register_occ_messages
from occ_perception.datasets.nuscenes import LIDAR, NuScenes
from occ_perception.datasets.nuscenes_bag import BagContent, BrokenTree, write_scene_bag
from occ_perception.datasets.nuscenes_objects import occ3d_class
from occ_perception.datasets.occ3d import read_truth
from occ_perception.datasets.pose_track import PoseTrack
from occ_perception.datasets.sample_world.scene_writer import SceneOptions, scene_name
from occ_perception.datasets.sample_world.world_writer import write_world
from occ_perception.geometry.transforms import inverse, matrix, rotation_from_quaternion

SEED = 11
NAME = scene_name(SEED)
STORE = get_typestore(Stores.ROS2_JAZZY)
register_occ_messages(STORE)


@pytest.fixture(scope='module')
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('world')
    write_world(root, [SEED], SceneOptions(keyframes=2, image_size=(160, 90), sweeps=True, bags=True), jobs=1, progress=False)
    return root


@pytest.fixture(scope='module')
def bag(tree: Path) -> Path:
    out = tree / 'made'
    assert main(['bag', 'nuscenes', '--data', str(tree), '--scene', NAME, '--out', str(out), '--truth']) == 0
    return out / NAME


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    """The tree once more, to be broken: files are links that must be removed before they are written."""
    for part in ('v1.0-sample', 'samples', 'sweeps', 'gts'):
        shutil.copytree(tree / part, tmp_path / part, copy_function=os.link)
    return tmp_path


def pose_of(message: Any) -> np.ndarray:
    """(4, 4) of a Transform, or of a Pose."""
    q = message.rotation if hasattr(message, 'rotation') else message.orientation
    t = message.translation if hasattr(message, 'translation') else message.position
    return matrix(rotation_from_quaternion(q.x, q.y, q.z, q.w), (t.x, t.y, t.z))


class Read:
    """A bag's messages by topic and stamp, and its poses."""

    def __init__(self, path: Path) -> None:
        self.by_topic: dict[str, dict[int, Any]] = defaultdict(dict)
        poses = []
        with Bag(path) as opened:
            self.types = opened.topics
            self.latched = opened.latched
            self.order = [message.recorded_ns for message in opened.messages()]
            for raw in opened.messages():
                message = STORE.deserialize_cdr(raw.data, self.types[raw.topic])
                if raw.topic in ('/tf', '/tf_static'):
                    for entry in message.transforms:
                        stamp = entry.header.stamp.sec * SECOND + entry.header.stamp.nanosec
                        if raw.topic == '/tf':
                            assert (entry.header.frame_id, entry.child_frame_id) == ('odom', 'base_link')
                            poses.append((stamp, pose_of(entry.transform)))
                        else:
                            self.by_topic['/tf_static'][entry.child_frame_id] = (entry.header.frame_id, pose_of(entry.transform))
                else:
                    assert header_stamp_ns(raw.data) == raw.recorded_ns
                    assert raw.recorded_ns not in self.by_topic[raw.topic]
                    self.by_topic[raw.topic][raw.recorded_ns] = message
        self.pose_stamps = [stamp for stamp, _ in poses]
        self.track = PoseTrack(poses)

    def points(self, stamp: int) -> np.ndarray:
        return np.frombuffer(self.by_topic['/LIDAR_TOP/points'][stamp].data, POINT_DTYPE)


def test_it_replays_the_same_sensor_data_as_the_bag_of_the_same_drive(tree: Path, bag: Path) -> None:
    ours, theirs = Read(bag), Read(tree / 'bags' / NAME)
    for camera in NUSCENES_CAMERAS:
        for topic in (f'/{camera}/image_rect/compressed', f'/{camera}/camera_info'):
            assert ours.types[topic] == theirs.types[topic]
            assert list(ours.by_topic[topic]) == list(theirs.by_topic[topic])
            for stamp, message in theirs.by_topic[topic].items():
                assert STORE.serialize_cdr(ours.by_topic[topic][stamp], ours.types[topic]) == \
                    STORE.serialize_cdr(message, theirs.types[topic])
    assert list(ours.by_topic['/LIDAR_TOP/points']) == list(theirs.by_topic['/LIDAR_TOP/points'])
    for stamp in theirs.by_topic['/LIDAR_TOP/points']:
        a, b = ours.points(stamp), theirs.points(stamp)
        assert len(a) == len(b)
        for name in 'xyz':
            np.testing.assert_allclose(a[name], b[name], atol=1e-3)
        np.testing.assert_allclose(a['time'], b['time'], atol=5e-5)
        np.testing.assert_array_equal(a['ring'], b['ring'])
        np.testing.assert_array_equal(a['intensity'], b['intensity'])
    speed = np.linalg.norm(theirs.track.velocity(theirs.pose_stamps[20])[0])
    assert speed > 1.0  # else the poses say little
    for stamp in ours.pose_stamps:
        np.testing.assert_allclose(ours.track.at(stamp), theirs.track.at(stamp), atol=2e-3)
    assert ours.by_topic['/tf_static'].keys() == theirs.by_topic['/tf_static'].keys()
    for child, (parent, mount) in theirs.by_topic['/tf_static'].items():
        assert ours.by_topic['/tf_static'][child][0] == parent
        np.testing.assert_allclose(ours.by_topic['/tf_static'][child][1], mount, atol=1e-6)
    assert ours.latched == theirs.latched == {'/tf_static'}
    assert ours.order == sorted(ours.order)


def test_tf_has_every_ego_pose_once_and_begins_before_the_first_turn(tree: Path, bag: Path) -> None:
    read, data = Read(bag), NuScenes(tree)
    readings = [r for channel in data.channels(data.scene(NAME)) for r in data.stream(data.scene(NAME), channel)]
    assert len(set(read.pose_stamps)) == len(read.pose_stamps)
    assert set(read.pose_stamps[1:]) == {reading.stamp_ns for reading in readings}
    for reading in readings:
        np.testing.assert_allclose(read.track.at(reading.stamp_ns), reading.fixed_from_ego, atol=1e-9)
    first = min(read.by_topic['/LIDAR_TOP/points'])
    assert read.pose_stamps[0] < first + float(read.points(first)['time'].min()) * SECOND
    camera_info = next(iter(read.by_topic['/CAM_FRONT/camera_info'].values()))
    np.testing.assert_array_equal(camera_info.r, np.eye(3).ravel())
    np.testing.assert_array_equal(camera_info.p.reshape(3, 4)[:, :3].ravel(), camera_info.k)
    assert (camera_info.p.reshape(3, 4)[:, 3] == 0).all()
    assert camera_info.k[0] > 50


def test_odometry_of_ego_poses_has_the_vehicles_own_axes(bag: Path) -> None:
    read = Read(bag)
    stamps = list(read.by_topic['/odom'])
    middle = stamps[len(stamps) // 2]
    message = read.by_topic['/odom'][middle]
    assert (message.header.frame_id, message.child_frame_id) == ('odom', 'base_link')
    np.testing.assert_allclose(pose_of(message.pose.pose), read.track.at(middle), atol=1e-9)
    forward = message.twist.twist.linear
    step = read.track.at(middle + 50_000_000)[:3, 3] - read.track.at(middle - 50_000_000)[:3, 3]
    assert forward.x == pytest.approx(np.linalg.norm(step) / 0.1, rel=0.02)
    assert abs(forward.y) < 0.1 * forward.x


def test_odometry_comes_from_the_can_bus_where_there_is_one(copy: Path, tmp_path: Path) -> None:
    data = NuScenes(copy)
    first = data.stream(data.scene(NAME), LIDAR)[0]
    position = [float(v) for v in first.fixed_from_ego[:3, 3]]
    records = [{'utime': first.stamp_ns // 1000 + 20_000 * i, 'pos': position, 'orientation': [1.0, 0.0, 0.0, 0.0],
                'vel': [5.0, 0.1 * i, 0.0], 'rotation_rate': [0.0, 0.0, 0.2], 'accel': [0.0, 0.0, 9.8]} for i in range(-50, 20)]
    (copy / 'can_bus').mkdir()
    file = copy / 'can_bus' / f'{NAME}_pose.json'
    file.write_text(json.dumps(records))
    report = write_scene_bag(data, data.scene(NAME), tmp_path / 'out', BagContent(sweeps=False))
    assert report.odometry_source == 'CAN bus'
    odometry = Read(report.path).by_topic['/odom']
    assert len(odometry) == report.odometry < len(records)
    twist = odometry[first.stamp_ns].twist.twist
    assert (twist.linear.x, twist.linear.y, twist.angular.z) == (5.0, 0.0, 0.2)
    assert min(odometry) > first.stamp_ns - SECOND // 2
    file.write_text('[{"utime": 3}]')
    with pytest.raises(ValueError, match=rf'{NAME}_pose.json is no list of CAN bus poses'):
        write_scene_bag(data, data.scene(NAME), tmp_path / 'again')


def test_truth_topics_and_files(tree: Path, bag: Path) -> None:
    read, data = Read(bag), NuScenes(tree)
    samples = data.samples(data.scene(NAME))
    grids, objects = read.by_topic['/truth/voxels'], read.by_topic['/truth/instances']
    assert list(grids) == list(objects) == [sample.stamp_ns for sample in samples]
    ids: dict[int, int] = {}
    for sample in samples:
        truth = read_truth(tree / 'gts' / NAME / sample.token / 'labels.npz')
        copied = read_truth(bag.parent / 'truth' / NAME / f'{sample.stamp_ns}.npz')
        np.testing.assert_array_equal(copied.labels, truth.labels)
        grid = grids[sample.stamp_ns]
        unpack = zstandard.ZstdDecompressor().decompress
        labels, confidence = (np.frombuffer(unpack(bytes(field)), np.uint8).reshape(grid.size_x, grid.size_y, grid.size_z)
                              for field in (grid.labels, grid.confidence))
        np.testing.assert_array_equal(labels, truth.labels)
        np.testing.assert_array_equal(confidence == 255, truth.mask_camera)
        np.testing.assert_array_equal(confidence > 0, truth.mask_camera | truth.mask_lidar)
        assert (grid.header.frame_id, grid.resolution, grid.origin.position.z) == ('base_link', pytest.approx(0.4), -1)
        boxes = data.boxes(sample)
        found = {each.id: each for each in objects[sample.stamp_ns].instances}
        assert len(found) == len(boxes) > 0
        ego_from_fixed = inverse(data.key_data(sample)[LIDAR].fixed_from_ego)
        for box in boxes:
            place = (ego_from_fixed @ box.fixed_from_box)[:3, 3]
            nearest = min(found.values(), key=lambda each: np.linalg.norm(pose_of(each.pose)[:3, 3] - place))
            np.testing.assert_allclose(pose_of(nearest.pose), ego_from_fixed @ box.fixed_from_box, atol=1e-6)
            assert (nearest.size.x, nearest.size.y, nearest.size.z) == box.size_m
            assert nearest.class_id == occ3d_class(box.category)
            assert ids.setdefault(box.instance_token, nearest.id) == nearest.id


@pytest.mark.parametrize(('category', 'label'), [
    ('vehicle.bus.bendy', 3), ('vehicle.car', 4), ('vehicle.construction', 5), ('human.pedestrian.construction_worker', 7),
    ('human.pedestrian.stroller', 0), ('vehicle.emergency.police', 0), ('static_object.bicycle_rack', 0), ('vehicle.bicycle', 2)])
def test_classes_of_categories(category: str, label: int) -> None:
    assert occ3d_class(category) == label


def test_key_frames_alone(tree: Path, tmp_path: Path) -> None:
    data = NuScenes(tree)
    report = write_scene_bag(data, data.scene(NAME), tmp_path, BagContent(sweeps=False))
    read = Read(report.path)
    counts = Counter({topic: len(messages) for topic, messages in read.by_topic.items()})
    assert counts['/LIDAR_TOP/points'] == counts['/CAM_BACK/image_rect/compressed'] == 2
    assert report.images == 12 and report.sweeps == 2
    assert len(read.pose_stamps) > 20
    last = max(read.by_topic['/LIDAR_TOP/points'])
    assert read.points(last)['time'].min() == pytest.approx(-0.05, abs=1e-3)


def broken(copy: Path, how: str) -> Path:
    folder = copy / ('sweeps/LIDAR_TOP' if how == 'sweep cut short' else 'samples/CAM_BACK')
    path = sorted(folder.iterdir())[0]
    content = path.read_bytes()
    path.unlink()
    if how == 'sweep cut short':
        path.write_bytes(content[:-7])
    elif how == 'picture cut short':
        path.write_bytes(content[: len(content) // 2])
    elif how == 'no picture':
        path.write_bytes(b'<html>404</html>')
    return path


@pytest.mark.parametrize(('how', 'words'), [
    ('missing', '1 of 53 files of .* are missing: samples/CAM_BACK/{}'),
    ('sweep cut short', '{} holds .* bytes, no multiple of 20'),
    ('picture cut short', '{} is cut short'), ('no picture', '{} is no JPEG file')])
def test_a_broken_tree_is_refused_or_left_out_and_counted(copy: Path, how: str, words: str) -> None:
    path = broken(copy, how)
    data, out = NuScenes(copy), copy / 'out'
    scene = data.scene(NAME)
    with pytest.raises(BrokenTree, match=words.format(path.name)):
        write_scene_bag(data, scene, out)
    assert not out.exists() or not any(out.iterdir())
    report = write_scene_bag(data, scene, out, BagContent(skip_corrupt=True))
    assert report.left_out == [str(path)]
    assert report.images + report.sweeps == 52
    topic = '/LIDAR_TOP/points' if how == 'sweep cut short' else '/CAM_BACK/image_rect/compressed'
    read = Read(report.path)
    assert len(read.by_topic[topic]) == report.sweeps if topic == '/LIDAR_TOP/points' else 6
    assert len(read.by_topic['/CAM_BACK/camera_info']) == len(read.by_topic['/CAM_BACK/image_rect/compressed'])


def test_a_picture_of_another_size_than_its_record_is_refused(copy: Path) -> None:
    table = copy / 'v1.0-sample' / 'sample_data.json'
    text = table.read_text().replace('"width": 160', '"width": 1600')
    table.unlink()
    table.write_text(text)
    data = NuScenes(copy)
    with pytest.raises(BrokenTree, match=r'is 160x90, its sample_data record says 1600x90'):
        write_scene_bag(data, data.scene(NAME), copy / 'out')


def test_missing_truth_names_the_page(copy: Path) -> None:
    shutil.rmtree(copy / 'gts')
    data = NuScenes(copy)
    with pytest.raises(FileNotFoundError, match=r'no Occ3D labels .*/Occ3D into .*--truth'):
        write_scene_bag(data, data.scene(NAME), copy / 'out', BagContent(truth=True))


def test_command_keeps_what_is_there(tree: Path, bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ['bag', 'nuscenes', '--data', str(tree), '--out', str(bag.parent)]
    before = (bag / f'{NAME}.mcap').stat().st_mtime_ns
    assert main([*common, '--scene', NAME]) == 2
    assert f'{bag} exists already' in capsys.readouterr().err
    assert main([*common, '--all']) == 0
    assert 'there already' in capsys.readouterr().out
    assert (bag / f'{NAME}.mcap').stat().st_mtime_ns == before
    assert main([*common, '--scene', 'scene-9999']) == 2
    assert f'has no scene scene-9999; it has {NAME}' in capsys.readouterr().err

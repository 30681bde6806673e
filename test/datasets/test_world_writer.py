"""What `occ world` writes: whole nuScenes tables, labels by token and stamp, a bag that follows the contract, nothing twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

pytest.importorskip('embreex', reason='the sample world needs embreex')

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.cli.main import main
from occ_perception.datasets.nuscenes_tables import TABLES, VERSION
from occ_perception.datasets.occ3d import read_truth, truth_by_stamp
from occ_perception.datasets.sample_world.scene_writer import SceneOptions, scene_name, write_keyframe
from occ_perception.datasets.sample_world.world_writer import write_world
from occ_perception.geometry.transforms import interpolate, inverse, matrix, rotation_from_quaternion
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import FREE

SEED = 9
OPTIONS = SceneOptions(keyframes=2, image_size=(160, 90), sweeps=True, bags=True, truth_hz=5)


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('world')
    write_world(root, [SEED], OPTIONS, jobs=1, progress=False)
    return root


def tables(root: Path) -> dict[str, list[dict]]:
    return {name: json.loads((root / VERSION / f'{name}.json').read_text()) for name in TABLES}


def test_tables_refer_to_each_other(world: Path) -> None:
    t = tables(world)
    tokens = {name: [r['token'] for r in records] for name, records in t.items()}
    for name, records in t.items():
        assert records and len(set(tokens[name])) == len(records), name
        for record in records:
            for field, value in record.items():
                target = field.removesuffix('_token').removesuffix('_tokens')
                target = {'first_sample': 'sample', 'last_sample': 'sample', 'first_annotation': 'sample_annotation',
                          'last_annotation': 'sample_annotation', 'prev': name, 'next': name}.get(target, target)
                if target in t and (field in ('prev', 'next') or field.endswith(('_token', '_tokens'))):
                    for one in value if isinstance(value, list) else [value]:
                        assert one in tokens[target] or (one == '' and target == name), (name, field, one)


def test_readings_are_there_with_their_sizes(world: Path) -> None:
    data = tables(world)['sample_data']
    counts = Counter((r['filename'].split('/')[0], r['filename'].split('/')[1]) for r in data)
    for camera in NUSCENES_CAMERAS:
        assert counts['samples', camera] == 2 and counts['sweeps', camera] == 5
    assert counts['samples', 'LIDAR_TOP'] == 2 and counts['sweeps', 'LIDAR_TOP'] == 9
    for record in data:
        content = (world / record['filename']).read_bytes()
        if record['fileformat'] == 'jpg':
            assert simplejpeg.decode_jpeg(content).shape == (record['height'], record['width'], 3) == (90, 160, 3)
        else:
            points = np.frombuffer(content, np.float32).reshape(-1, 5)
            assert len(points) > 10_000 and set(np.unique(points[:, 4])) <= set(range(32))


def pose(record: dict) -> np.ndarray:
    w, x, y, z = record['rotation']
    return matrix(rotation_from_quaternion(x, y, z, w), np.array(record['translation']))


def test_annotated_boxes_hold_the_lidar_points_they_claim(world: Path) -> None:
    t = tables(world)
    by_token = {name: {r['token']: r for r in records} for name, records in t.items()}
    moves = {r['token'] for r in t['attribute'] if r['name'].endswith(('moving', 'with_rider'))}
    checked = 0
    for record in t['sample_data']:
        if not (record['is_key_frame'] and record['fileformat'] == 'pcd'):
            continue
        mount = pose(by_token['calibrated_sensor'][record['calibrated_sensor_token']])
        world_from_lidar = pose(by_token['ego_pose'][record['ego_pose_token']]) @ mount
        points = np.fromfile(world / record['filename'], np.float32).reshape(-1, 5)[:, :3]
        points = points @ world_from_lidar[:3, :3].T + world_from_lidar[:3, 3]
        for box in t['sample_annotation']:
            if box['sample_token'] != record['sample_token'] or box['num_lidar_pts'] < 20 or moves & set(box['attribute_tokens']):
                continue
            width, length, height = box['size']
            local = points @ inverse(pose(box))[:3, :3].T + inverse(pose(box))[:3, 3]
            inside = (np.abs(local) <= np.array([length, width, height]) / 2 + 0.15).all(axis=1).sum()
            category = by_token['category'][by_token['instance'][box['instance_token']]['category_token']]['name']
            assert inside >= 0.8 * box['num_lidar_pts'], category
            checked += 1
    assert checked > 20


def test_labels_by_token_and_truth_by_stamp(world: Path) -> None:
    t, name = tables(world), scene_name(SEED)
    truth = truth_by_stamp(world / 'truth' / name)
    start = t['sample'][0]['timestamp']
    assert [round((stamp // 1000 - start) / 1e5) for stamp in truth] == [0, 2, 4, 5]
    annotations = json.loads((world / 'annotations.json').read_text())
    for sample in t['sample']:
        path = annotations['scene_infos'][name][sample['token']]['gt_path']
        labels, again = read_truth(world / path), read_truth(truth[1000 * sample['timestamp']])
        assert (labels.labels == again.labels).all() and labels.mask_camera.sum() > 10_000
        assert labels.instances is not None and labels.flow is not None and labels.flow.shape == (200, 200, 16, 2)


def test_bag_follows_the_contract(world: Path) -> None:
    bag, name = world / 'bags' / scene_name(SEED), scene_name(SEED)
    store = get_typestore(Stores.ROS2_JAZZY)
    messages: dict[str, list] = {}
    with AnyReader([bag], default_typestore=store) as reader:
        latched = {c.topic for c in reader.connections if c.ext.offered_qos_profiles[0].durability.name == 'TRANSIENT_LOCAL'}
        previous = 0
        for connection, recorded, raw in reader.messages():
            messages.setdefault(connection.topic, []).append((recorded, reader.deserialize(raw, connection.msgtype)))
            assert recorded >= previous
            previous = recorded
    assert latched == {'/tf_static'} and (bag / f'{name}.mcap').is_file()

    def stamp(header) -> int:
        return header.stamp.sec * 10**9 + header.stamp.nanosec

    for camera in NUSCENES_CAMERAS:
        pictures, infos = messages[f'/{camera}/image_rect/compressed'], messages[f'/{camera}/camera_info']
        assert [stamp(m.header) for _, m in pictures] == [stamp(m.header) for _, m in infos] == [r for r, _ in pictures]
        assert np.allclose(np.diff([r for r, _ in pictures]) / 1e9, 1 / 12, atol=1e-5)
        info = infos[0][1]
        assert (info.width, info.height, info.header.frame_id) == (160, 90, camera)
        assert np.allclose(info.p.reshape(3, 4)[:, :3], info.k.reshape(3, 3)) and info.k[0] > 50
    static = {t.child_frame_id: t for t in messages['/tf_static'][0][1].transforms}
    assert set(static) == {'odom', 'LIDAR_TOP', *NUSCENES_CAMERAS}
    poses = {r: m.transforms[0] for r, m in messages['/tf']}
    odometry = [r for r, _ in messages['/odom']]
    readings = {r for topic, those in messages.items() if topic.endswith(('compressed', 'points')) for r, _ in those}
    assert set(np.diff(odometry)) == {20_000_000} and set(poses) == {*odometry, *readings}
    assert len(messages['/tf']) == len(poses)
    twist = messages['/odom'][10][1].twist.twist
    assert 4 < twist.linear.x < 11 and abs(twist.linear.y) < 0.5

    def at(transform) -> np.ndarray:
        q, v = transform.transform.rotation, transform.transform.translation
        return matrix(rotation_from_quaternion(q.x, q.y, q.z, q.w), np.array([v.x, v.y, v.z]))

    truth = truth_by_stamp(world / 'truth' / name)
    clouds = {stamp(m.header): m for _, m in messages['/LIDAR_TOP/points']}
    assert set(truth) <= set(clouds) and set(np.diff(sorted(clouds))) == {50_000_000}
    cloud = clouds[next(iter(truth))]
    assert [(f.name, f.datatype, f.offset) for f in cloud.fields] == [
        ('x', 7, 0), ('y', 7, 4), ('z', 7, 8), ('intensity', 7, 12), ('ring', 4, 16), ('time', 7, 20)]
    dtype = np.dtype({'names': ['x', 'y', 'z', 'time'], 'formats': ['<f4'] * 4, 'offsets': [0, 4, 8, 20], 'itemsize': 24})
    points = np.frombuffer(cloud.data.tobytes(), dtype)
    assert points['time'].max() <= 0
    when = sorted(poses)
    now = stamp(cloud.header)
    odom_from_ego = {}
    for lag in np.unique(points['time']):
        t = now + round(float(lag) * 1e9)
        k = int(np.searchsorted(when, t)) - 1
        odom_from_ego[lag] = interpolate(at(poses[when[k]]), at(poses[when[k + 1]]), (t - when[k]) / (when[k + 1] - when[k]))
    ego_now = inverse(at(poses[now]))
    xyz = np.stack([points[a] for a in 'xyz'], 1).astype(float)
    moved = np.empty_like(xyz)
    for lag, ego_then in odom_from_ego.items():
        chain = ego_now @ ego_then @ at(static['LIDAR_TOP'])
        moved[points['time'] == lag] = xyz[points['time'] == lag] @ chain[:3, :3].T + chain[:3, 3]
    index, inside = OCC3D_GRID.indices(moved)
    labels = read_truth(truth[now]).labels[tuple(index[inside].T)]
    assert (labels != FREE).mean() > 0.95


def test_running_again_does_nothing_and_other_options_are_refused(world: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in world.rglob('*')
              if p.is_file() and VERSION not in p.parts and p.name != 'annotations.json'}
    write_world(world, [SEED], OPTIONS, jobs=1, progress=False)
    assert before == {p: p.stat().st_mtime_ns for p in before}
    assert not list(world.rglob('.parts')) and not list(world.rglob('*.partial'))
    with pytest.raises(ValueError, match='was written with options'):
        write_world(world, [SEED], SceneOptions(keyframes=3, image_size=(160, 90)), jobs=1, progress=False)


def test_a_broken_off_run_goes_on_where_it_was(tmp_path: Path) -> None:
    options = SceneOptions(keyframes=2, image_size=(160, 90))
    write_keyframe(tmp_path, SEED, 0, options)
    first = next((tmp_path / 'samples' / 'CAM_FRONT').glob('*.jpg'))
    written = first.stat().st_mtime_ns
    write_world(tmp_path, [SEED], options, jobs=2, progress=False)
    assert first.stat().st_mtime_ns == written
    assert len(tables(tmp_path)['sample']) == 2 and not (tmp_path / 'sweeps').exists()


def test_devkit_opens_it(world: Path) -> None:
    nuscenes = pytest.importorskip('nuscenes.nuscenes', reason='nuscenes-devkit is not installed (it needs numpy < 2)')
    devkit = nuscenes.NuScenes(VERSION, str(world), verbose=False)
    sample = devkit.get('sample', devkit.scene[0]['first_sample_token'])
    path, boxes, _ = devkit.get_sample_data(sample['data']['LIDAR_TOP'])
    assert Path(path).is_file() and len(boxes) == len(sample['anns']) > 10


@pytest.mark.parametrize(('words', 'message'), [
    (['--image-size', '640x480'], '640x480 is not 16:9'), (['--truth-hz', '3'], '3 Hz does not divide'),
    (['--scenes', '0'], 'at least one street'), (['--keyframes', '0'], '0 key frames'), (['--jobs', '0'], 'at least one process')])
def test_wrong_options_are_named(tmp_path: Path, capsys: pytest.CaptureFixture, words: list[str], message: str) -> None:
    assert main(['world', '--out', str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err

"""nuScenes tables: records by token, chains of sweeps, boxes, splits; what is absent or damaged is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_tree import SPEED_M_S, START_US, pose, write_tree

from occ_perception.datasets import json_table
from occ_perception.datasets.json_table import JsonTable
from occ_perception.datasets.nuscenes import NuScenes
from occ_perception.datasets.nuscenes_splits import VAL, split_scenes

SCENES = ('scene-0061', 'scene-0103')


@pytest.fixture(scope='module')
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp('tree'), scenes=SCENES, key_frames=3)


def test_scenes_samples_and_readings(tree: Path) -> None:
    tables = NuScenes(tree)
    assert tables.version == 'v1.0-mini'
    assert [scene.name for scene in tables.scenes()] == list(SCENES)
    scene = tables.scene('scene-0103')
    assert scene == tables.scene(scene.token)
    assert (scene.location, scene.logfile) == ('here', 'n-scene-0103')
    samples = tables.samples(scene)
    assert [sample.stamp_ns for sample in samples] == [1000 * (START_US + 60_000_000 + 500_000 * k) for k in range(3)]
    readings = tables.key_data(samples[1])
    assert len(readings) == 7 and all(reading.is_key_frame for reading in readings.values())
    front = readings['CAM_FRONT']
    assert front.path.is_file() and front.modality == 'camera' and (front.width, front.height) == (160, 90)
    assert front.intrinsics is not None and front.intrinsics[0, 2] == 80
    assert readings['LIDAR_TOP'].intrinsics is None
    seconds = front.stamp_ns * 1e-9 - (START_US + 60_000_000) * 1e-6
    np.testing.assert_allclose(front.fixed_from_ego, pose(seconds), atol=1e-6)
    np.testing.assert_allclose(front.ego_from_sensor[:3, 2], [1, 0, 0], atol=1e-12)
    assert tables.channels(scene)['LIDAR_TOP'] == 'lidar'


def test_streams_follow_the_chains(tree: Path) -> None:
    tables = NuScenes(tree)
    scene = tables.scene('scene-0061')
    stream = tables.stream(scene, 'LIDAR_TOP')
    assert np.allclose(np.diff([reading.stamp_ns for reading in stream]) / 1e9, 0.05) and len(stream) == 21
    assert sum(reading.is_key_frame for reading in stream) == 3
    assert [reading.token for reading in tables.earlier(stream[2])] == [stream[1].token, stream[0].token]
    assert [reading.token for reading in tables.later(stream[-2])] == [stream[-1].token]
    assert tables.stream(scene, 'RADAR_FRONT') == []


def test_boxes_and_their_velocity(tree: Path) -> None:
    tables = NuScenes(tree)
    boxes = [tables.boxes(sample) for sample in tables.samples(tables.scene('scene-0061'))]
    assert [len(those) for those in boxes] == [1, 1, 1]
    box = boxes[1][0]
    assert (box.category, box.attributes, box.size_m) == ('vehicle.car', ('vehicle.parked',), (4.0, 2.0, 1.5))
    np.testing.assert_allclose(box.fixed_from_box[:3, 3], [16, 0, 1])
    for those in boxes:
        np.testing.assert_allclose(tables.velocity(those[0]), [2, 0, 0])
    assert np.isnan(tables.velocity(box, longest_s=0.4)).all()


def test_tables_larger_than_what_is_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{'token': f't{k}', 'owner': f'o{k % 7}', 'text': 'ü{}[],"' * (k % 11), 'number': k} for k in range(500)]
    path = tmp_path / 'table.json'
    path.write_text(json.dumps(records, indent=0, ensure_ascii=False))
    monkeypatch.setattr(json_table, 'CHUNK', 700)
    table = JsonTable(path, 'owner')
    assert list(table) == records
    assert [record['number'] for record in table.owned('o3')] == list(range(3, 500, 7))
    assert table.record('t499') == records[499] and 't500' not in table and table.owned('nobody') == []
    with pytest.raises(ValueError, match=r"table\.json has no record 'gone'"):
        table.record('gone')


def test_what_a_scan_of_a_large_table_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_table, 'LARGE', 10)
    monkeypatch.setenv('OCC_CACHE', str(tmp_path / 'cache'))
    path = tmp_path / 'table.json'
    path.write_text(json.dumps([{'token': 'a', 'owner': 'x'}, {'token': 'b', 'owner': 'y'}]))
    scans = []
    scan = JsonTable._scan
    monkeypatch.setattr(JsonTable, '_scan', lambda self, owner: scans.append(owner) or scan(self, owner))
    for _ in range(2):
        table = JsonTable(path, 'owner')
        assert table.record('b')['owner'] == 'y' and [record['token'] for record in table.owned('x')] == ['a']
    assert scans == ['owner']
    JsonTable(path)
    assert scans == ['owner', None]
    path.write_text(json.dumps([{'token': 'c', 'owner': 'x'}, {'token': 'bb', 'owner': 'y'}]))
    assert 'c' in JsonTable(path, 'owner')
    for kept in (tmp_path / 'cache').glob('*.npz'):
        kept.write_bytes(b'torn')
    assert 'c' in JsonTable(path, 'owner')


@pytest.mark.parametrize(('content', 'message'), [
    ('', 'does not end'), ('[{"token": "a"}, {"tok', 'does not end'), ('[{"token": "a"}, {"tok]', 'at byte 17 is no record'),
    ('[{"name": "a"}]', "lacks 'token'"), ('{"token": 3}', 'does not end')])
def test_damaged_tables_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / 'scene.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        JsonTable(path)
    assert str(path) in str(caught.value)


def test_what_is_absent_is_named_with_its_source(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no such folder.*nuscenes\.org.*occ world'):
        NuScenes(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='holds no table folder'):
        NuScenes(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'v1\.0-test: no such folder'):
        NuScenes(tree, 'v1.0-test')
    with pytest.raises(FileNotFoundError, match=r'lidarseg\.json: no such table.*nuScenes-lidarseg archive'):
        NuScenes(tree).table('lidarseg')
    with pytest.raises(ValueError, match='has no scene scene-9999; it has scene-0061, scene-0103'):
        NuScenes(tree).scene('scene-9999')
    (tmp_path / 'v1.0-mini').mkdir()
    (tmp_path / 'v1.0-test').mkdir()
    with pytest.raises(ValueError, match=r'holds v1\.0-mini, v1\.0-test: say which'):
        NuScenes(tmp_path)
    assert NuScenes(tmp_path, 'v1.0-test').version == 'v1.0-test'


def test_splits(tree: Path, tmp_path: Path) -> None:
    assert len(VAL) == 150 and sum(int(name[6:]) for name in VAL) == 88948
    mini = NuScenes(tree)
    names = {split: [scene.name for scene in split_scenes(mini, split)]
             for split in ('val', 'mini_val', 'train', 'all', 'scene-0103,scene-0061')}
    assert names == {'val': ['scene-0103'], 'mini_val': ['scene-0103'], 'train': ['scene-0061'], 'all': list(SCENES),
                     'scene-0103,scene-0061': ['scene-0103', 'scene-0061']}
    with pytest.raises(ValueError, match="no split or scene 'test'"):
        split_scenes(mini, 'test')
    full = NuScenes(write_tree(tmp_path / 'full', 'v1.0-trainval', ('scene-0003', 'scene-0004'), 1))
    assert [scene.name for scene in split_scenes(full, 'val')] == ['scene-0003']
    assert [scene.name for scene in split_scenes(full, 'train')] == ['scene-0004']
    own = NuScenes(write_tree(tmp_path / 'own', 'v1.0-sample', ('scene-0003', 'scene-0004'), 1))
    with pytest.raises(FileNotFoundError, match=r'annotations\.json.*occ world'):
        split_scenes(own, 'val')
    (own.root / 'annotations.json').write_text(json.dumps({'train_split': ['scene-0003'], 'val_split': ['scene-0004']}))
    assert [scene.name for scene in split_scenes(own, 'val')] == ['scene-0004']
    (own.root / 'annotations.json').write_text('{')
    with pytest.raises(ValueError, match='is damaged'):
        split_scenes(own, 'val')


def test_the_vehicle_of_the_tree_moves(tree: Path) -> None:
    """Guards the fixture that other tests rely on."""
    tables = NuScenes(tree)
    stream = tables.stream(tables.scene('scene-0061'), 'LIDAR_TOP')
    assert stream[10].fixed_from_ego[0, 3] - stream[0].fixed_from_ego[0, 3] == pytest.approx(0.5 * SPEED_M_S)

"""Labels of every kind: OpenOcc with flow, lidarseg and panoptic, OpenOccupancy, image segmentation, instances."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_tree import truth, wall, write_tree

from occ_perception.datasets import image_labels, openoccupancy
from occ_perception.datasets.files import CorruptFileError
from occ_perception.datasets.lidarseg import CLASS_OF_RAW, point_classes, point_panoptic
from occ_perception.datasets.nuscenes import NuScenes
from occ_perception.datasets.nuscenes_sequence import FrameOptions, NuScenesSequence
from occ_perception.datasets.opening import DataSource, open_sequences
from occ_perception.datasets.openocc_flow import OCC3D_OF_OPENOCC, OPENOCC_OF_OCC3D, read_openocc
from occ_perception.datasets.panoptic_labels import ClassBox, with_instances
from occ_perception.evaluation.counts import Answer, Counts
from occ_perception.evaluation.summary import summary
from occ_perception.geometry.transforms import matrix, rotation_from_quaternion
from occ_perception.labels import FREE, OCC3D
from occ_perception.metrics.label_sets import OPENOCC_SET
from occ_perception.metrics.occupancy_flow import OccupancyFlowScore
from occ_perception.metrics.ray_cast import cast_rays

SHAPE = (200, 200, 16)
NAME = 'scene-0103'


def test_openocc_labels_become_those_of_occ3d(tmp_path: Path) -> None:
    names = [info.name for info in OCC3D]
    assert [names[label] for label in OCC3D_OF_OPENOCC] == list(OPENOCC_SET.names)
    assert OPENOCC_OF_OCC3D[OCC3D_OF_OPENOCC].tolist() == list(range(17)) and OPENOCC_OF_OCC3D[0] == 16
    random = np.random.default_rng(0)
    labels, flow = random.integers(0, 17, SHAPE).astype(np.uint8), random.normal(size=(*SHAPE, 2))
    np.savez(tmp_path / 'labels.npz', semantics=labels, flow=flow)
    read = read_openocc(tmp_path / 'labels.npz')
    np.testing.assert_array_equal(OPENOCC_OF_OCC3D[read.labels], labels)
    assert read.flow is not None and read.flow.dtype == np.float32 and read.mask_camera.all() and not read.others
    np.savez(tmp_path / 'labels.npz', semantics=labels + 1, flow=flow)
    with pytest.raises(CorruptFileError, match='up to 17'):
        read_openocc(tmp_path / 'labels.npz')
    np.savez(tmp_path / 'labels.npz', semantics=labels)
    with pytest.raises(CorruptFileError, match='lacks flow'):
        read_openocc(tmp_path / 'labels.npz')
    with pytest.raises(FileNotFoundError, match='OccNet'):
        read_openocc(tmp_path / 'absent.npz')


def test_scores_on_openocc_are_those_of_its_own_label_set(tmp_path: Path) -> None:
    """Through Occ3D's labels or directly: the same RayIoU, mAVE and score."""
    random = np.random.default_rng(1)
    own = np.full(SHAPE, 16, np.uint8)
    own[:, :, 0] = 10
    own[110:140, 90:110, 1:6] = random.integers(0, 16, (30, 20, 5))
    flow = random.normal(size=(*SHAPE, 2)).astype(np.float32)
    np.savez(tmp_path / 'labels.npz', semantics=own, flow=flow)
    read = read_openocc(tmp_path / 'labels.npz')
    answer = read.labels.copy()
    answer[112:115] = 0
    answered_flow = flow + random.normal(size=flow.shape).astype(np.float32)
    origins = np.array([[0.9, 0, 1.8], [-3, 1, 1.8]])
    counts = Counts()
    counts.add(Answer(answer, None, answered_flow), read, origins)
    direct = OccupancyFlowScore(OPENOCC_SET)
    predicted, true = (cast_rays(labels, origins, 16) for labels in (OPENOCC_OF_OCC3D[answer], own))
    direct.add_flow(predicted, true, answered_flow, flow)
    scores, expected = summary(counts), direct.scores()
    assert scores['ray_iou'] == pytest.approx(100 * expected['RayIoU'], abs=1e-6) and 50 < scores['ray_iou'] < 100
    assert scores['mave'] == pytest.approx(expected['mAVE'], abs=1e-6)
    assert scores['occ_score'] == pytest.approx(100 * expected['OccScore'], abs=1e-6)


def test_a_folder_of_openocc_labels_is_read_as_such(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, key_frames=1)
    path = tree / 'openocc_v2' / NAME / f'{NAME}-0' / 'labels.npz'
    path.parent.mkdir(parents=True)
    np.savez(path, semantics=np.full(SHAPE, 3, np.uint8), flow=np.zeros((*SHAPE, 2), np.float16))
    (sequence,) = open_sequences(DataSource(tree, 'val', options=FrameOptions('openocc_v2')))
    assert (sequence.truth(0).labels == 3).all()
    path = tree / 'openocc_v2' / NAME / f'{NAME}-0' / 'labels.npz'
    np.savez(path, semantics=np.full(SHAPE, 0, np.uint8), flow=np.zeros((*SHAPE, 2), np.float16))
    assert (sequence.truth(0).labels == 4).all()


@pytest.fixture
def labelled(tmp_path: Path) -> NuScenes:
    """A tree with lidarseg and panoptic labels of its first key frame."""
    tree = write_tree(tmp_path, key_frames=1)
    count = len(wall())
    for table, name in (('lidarseg', 'a_lidarseg.bin'), ('panoptic', 'a_panoptic.npz')):
        (tree / table).mkdir()
        records = [{'token': 'l', 'sample_data_token': f'{NAME}-LIDAR_TOP-0', 'filename': f'{table}/{name}'}]
        (tree / 'v1.0-mini' / f'{table}.json').write_text(json.dumps(records))
    raw = np.arange(count) % 32
    raw.astype(np.uint8).tofile(tree / 'lidarseg' / 'a_lidarseg.bin')
    np.savez(tree / 'panoptic' / 'a_panoptic.npz', data=(raw * 1000 + 7).astype(np.uint16))
    return NuScenes(tree)


def test_point_labels(labelled: NuScenes) -> None:
    assert CLASS_OF_RAW.tolist() == [0, 0, 7, 7, 7, 0, 7, 0, 0, 1, 0, 0, 8, 0, 2, 3, 3, 4, 5, 0, 0, 6, 9, 10, 11, 12, 13, 14, 15, 0,
                                     16, 0]
    sweep = labelled.data(f'{NAME}-LIDAR_TOP-0')
    expected = CLASS_OF_RAW[np.arange(len(wall())) % 32]
    np.testing.assert_array_equal(point_classes(labelled, sweep), expected)
    np.testing.assert_array_equal(point_panoptic(labelled, sweep), expected.astype(int) * 1000 + 7)
    sequence = NuScenesSequence(labelled, labelled.scene(NAME))
    np.testing.assert_array_equal(sequence.point_classes(0), expected)
    np.testing.assert_array_equal(sequence.point_panoptic(0) // 1000, expected)


def test_wrong_point_labels_are_named(labelled: NuScenes) -> None:
    sweep, path = labelled.data(f'{NAME}-LIDAR_TOP-0'), labelled.root / 'lidarseg' / 'a_lidarseg.bin'
    path.write_bytes(b'\x01' * 5)
    with pytest.raises(CorruptFileError, match=r'a_lidarseg\.bin: 5 labels for the 21 points'):
        point_classes(labelled, sweep)
    path.write_bytes(b'\x40' * 21)
    with pytest.raises(CorruptFileError, match='up to 64'):
        point_classes(labelled, sweep)
    path.unlink()
    with pytest.raises(FileNotFoundError, match='nuScenes-lidarseg archive'):
        point_classes(labelled, sweep)
    with pytest.raises(ValueError, match='has no lidarseg labels'):
        point_classes(labelled, labelled.data(f'{NAME}-CAM_FRONT-0'))


def test_openoccupancy_rows_become_a_grid(tmp_path: Path) -> None:
    rows = np.array([[3, 20, 10, 4], [3, 20, 10, 4], [3, 20, 10, 2], [5, 6, 7, 0], [39, 511, 500, 16],
                     [0, 0, 0, 9], [0, 0, 0, 3], [0, 0, 0, 9], [0, 0, 0, 3]])
    path = openoccupancy.label_path(tmp_path, 'st', 'lt')
    assert path == tmp_path / 'nuScenes-Occupancy' / 'scene_st' / 'occupancy' / 'lt.npy'
    path.parent.mkdir(parents=True)
    np.save(path, rows)
    labels = openoccupancy.read_openoccupancy(path)
    assert labels.shape == (512, 512, 40) and (labels > 0).sum() == 4
    assert (labels[10, 20, 3], labels[7, 6, 5], labels[500, 511, 39], labels[0, 0, 0]) == (4, 255, 16, 3)
    tables = NuScenes(write_tree(tmp_path / 'tree', key_frames=1))
    of_frame = openoccupancy.label_path(tables.root, f't-{NAME}', f'{NAME}-LIDAR_TOP-0')
    of_frame.parent.mkdir(parents=True)
    np.save(of_frame, rows)
    np.testing.assert_array_equal(NuScenesSequence(tables, tables.scene(NAME)).openoccupancy(0), labels)
    np.save(path, np.column_stack([rows[:, :3], np.ones((9, 3)), rows[:, 3]]))
    np.testing.assert_array_equal(openoccupancy.read_openoccupancy(path), labels)
    far = rows + np.array([600, 0, 0, 0])
    for wrong, message in ((rows[:, :3], 'rows of 4 or 7'), (far, 'voxels outside'), (rows + 1, 'outside')):
        np.save(path, wrong)
        with pytest.raises(CorruptFileError, match=message):
            openoccupancy.read_openoccupancy(path)
    path.write_bytes(b'no')
    with pytest.raises(CorruptFileError, match='not a readable npy'):
        openoccupancy.read_openoccupancy(path)
    with pytest.raises(FileNotFoundError, match='OpenOccupancy'):
        openoccupancy.read_openoccupancy(tmp_path / 'absent.npy')


def test_image_labels_are_painted_kept_and_read(labelled: NuScenes) -> None:
    points, classes = np.array([[50.0, 30.0], [52.0, 33.0], [-1.0, 5.0], [159.5, 89.5]]), np.array([4, 7, 3, 9])
    full = image_labels.paint(points, classes, (90, 160))
    assert (full[22:38, 46:48] == 4).all() and (full[25:41, 48:56] == 7).all() and full[21, 46] == 17 and full[41, 50] == 17
    assert (full[81:, 155:] == 9).all() and not (full == 3).any()
    sweep, picture = labelled.data(f'{NAME}-LIDAR_TOP-0'), labelled.data(f'{NAME}-CAM_FRONT-0')
    in_lidar = np.fromfile(sweep.path, np.float32).reshape(-1, 5)[:, :3]
    stored = image_labels.paint_image_labels(labelled, sweep, picture, in_lidar)
    assert stored.shape == (12, 20) and (stored != 17).sum() > 10
    path = image_labels.label_path(labelled.root, picture)
    assert path == labelled.root / 'imgseg' / 'samples' / 'CAM_FRONT' / f'{picture.path.stem}.npy'
    path.parent.mkdir(parents=True)
    np.save(path, stored)
    read = image_labels.read_image_labels(path)
    assert read.shape == (96, 160)
    np.testing.assert_array_equal(read[::8, ::8], stored)
    assert (read[8:16, 8:16] == stored[1, 1]).all()
    sequence = NuScenesSequence(labelled, labelled.scene(NAME))
    with pytest.raises(FileNotFoundError, match=r'CAM_FRONT_LEFT.*paint_image_labels'):
        sequence.image_labels(0)
    np.save(path, stored.astype(int))
    with pytest.raises(CorruptFileError, match='int64'):
        image_labels.read_image_labels(path)


def test_the_wall_is_painted_where_the_camera_sees_it(labelled: NuScenes) -> None:
    """All points in one class: the painted pixels are those of the projected wall."""
    (labelled.root / 'lidarseg' / 'a_lidarseg.bin').write_bytes(bytes([28]) * len(wall()))
    sweep, picture = labelled.data(f'{NAME}-LIDAR_TOP-0'), labelled.data(f'{NAME}-CAM_FRONT-0')
    in_lidar = np.fromfile(sweep.path, np.float32).reshape(-1, 5)[:, :3]
    stored = image_labels.paint_image_labels(labelled, sweep, picture, in_lidar)
    assert set(np.unique(stored)) == {15, 17}
    rows, columns = np.nonzero(stored == 15)
    # the wall spans y -3..3 m about 1 m to the right of the axis, 14 m ahead, focal length 120 px
    middle, spread = 80 + 120 * 1 / 14, 120 * 3 / 14 + 4
    assert columns.min() * 8 == pytest.approx(middle - spread, abs=9) and columns.max() * 8 == pytest.approx(middle + spread, abs=9)
    assert rows.min() * 8 >= 30 and rows.max() * 8 <= 72


def test_instances_follow_the_boxes() -> None:
    """Two overlapping cars, a bus box without bus voxels, a left-over near a border, one far away, stuff with one id each."""
    labels = np.full(SHAPE, FREE, np.uint8)
    labels[100:112, 100:104, 3] = 4     # x 0 .. 4.8 m, y 0 .. 1.6 m
    labels[112, 100, 3] = 4             # its centre is 0.2 m ahead of the second box
    labels[114, 100, 3] = 4             # 1 m ahead of it: nobody's
    labels[0:3, :, 0], labels[3:6, :, 0] = 11, 0
    turned = rotation_from_quaternion(0, 0, 1, 0)
    boxes = [ClassBox(3, matrix(np.eye(3), (2.4, 0.8, 0.4)), (6.0, 4.0, 2.0)),
             ClassBox(4, matrix(np.eye(3), (1.2, 0.8, 0.4)), (2.8, 1.6, 1.0)),
             ClassBox(4, matrix(turned, (3.6, 0.8, 0.4)), (2.4, 1.6, 1.0))]
    true = truth(FREE)
    got = with_instances(type(true)(labels, true.mask_camera, true.mask_lidar), boxes).instances
    assert got is not None and got.dtype == np.uint16
    # centres up to 2.6 m lie in the first car's box (the bus got none), those from 2.6 m on up to 4.8 m in the second's
    assert (got[100:106, 100:104, 3] == 1).all() and (got[107:112, 100:104, 3] == 2).all()
    assert (got[106, 100:104, 3] == 1).all(), 'a voxel in both boxes, on the border of the first, belongs to the first'
    assert got[112, 100, 3] == 2 and got[114, 100, 3] == 0
    assert np.unique(got[labels == 0]).tolist() == [3] and np.unique(got[labels == 11]).tolist() == [4]
    assert (got[labels == FREE] == 0).all()


def test_instances_are_made_from_the_tables(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, key_frames=2)
    (plain,) = open_sequences(DataSource(tree, 'val'))
    (made,) = open_sequences(DataSource(tree, 'val', options=FrameOptions(make_instances=True)))
    assert plain.truth(1).instances is None
    instances = made.truth(1).instances
    assert instances is not None
    assert set(np.unique(instances)) == {0, 1}, 'one id for the whole wall, none for the car that no voxel shows'
    np.testing.assert_array_equal(instances == 1, made.truth(1).labels == 15)

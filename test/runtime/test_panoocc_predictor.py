"""PanoOcc through the Predictor: what is remembered, where the grid lies, what boxes make of voxels and points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_panoocc import MOUNT, RECURRENT, STACKED, frame, tiny_panoocc  # noqa: F401 - a fixture

from occ_perception.catalogue import LIDAR
from occ_perception.geometry.transforms import apply
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.runtime.boxes import Boxes, decode_boxes, objects_from_boxes, owners
from occ_perception.runtime.predictor import Predictor
from occ_perception.runtime.voxel_places import EgoMotion

pytest.importorskip('torch')
SECOND = 1_000_000_000


def test_volumes_are_remembered_by_age(tiny_panoocc):  # noqa: F811
    predictor = Predictor(STACKED, 'torch', tiny_panoocc[STACKED])
    made = [predictor.predict(frame(age, sweep=False)) for age in (4, 2, 0)]
    assert [prediction.past_stamps_ns for prediction in made] == [
        (0, 0, 0), (98 * SECOND, 0, 0), (99 * SECOND, 98 * SECOND, 0)]
    last = made[-1]
    assert last.labels.shape == (200, 200, 16) and set(np.unique(last.labels)) <= {*range(18), UNKNOWN}
    assert last.points is None and last.boxes is None and np.array_equal(last.ego_from_grid, np.eye(4))
    again = predictor.predict(frame(0, sweep=False))
    assert again.forgotten == 'time_jump' and again.past_stamps_ns == (0, 0, 0)
    assert (again.labels != last.labels).mean() > 0.01


def test_points_and_grid_lie_in_the_lidars_frame(tiny_panoocc):  # noqa: F811
    predictor = Predictor(RECURRENT, 'torch', tiny_panoocc[RECURRENT], everywhere=True)
    first, second = predictor.predict(frame(1)), predictor.predict(frame(0))
    assert first.past_stamps_ns == (0,) and second.past_stamps_ns == (first.stamp_ns,)
    assert second.frame == LIDAR and np.array_equal(second.ego_from_grid, MOUNT)
    assert second.grid.shape == second.labels.shape == (256, 256, 20)
    assert second.points.points.shape == (500, 3) and second.points.labels.dtype == np.uint8
    assert np.array_equal(second.points.points, frame(0).sweeps[0].points[:, :3])
    assert set(np.unique(second.points.labels)) <= set(range(17))
    assert len(second.boxes) <= 300 and all(0 <= box.score <= 1 for box in second.boxes)
    known = {instance.id for instance in second.instances}
    assert set(np.unique(second.instance_ids)) | set(np.unique(second.points.instance_ids)) <= known | {0}


def test_a_voxel_is_labelled_as_a_point_in_it_would_be(tiny_panoocc):  # noqa: F811
    """Voxels of one of whose three places the network is sure of a class have the class of the surest place."""
    predictor = Predictor(RECURRENT, 'torch', tiny_panoocc[RECURRENT], everywhere=True)
    whole = predictor.predict(frame(0))
    grid = whole.grid
    random = np.random.default_rng(0)
    index = np.stack([random.integers(0, size, 300) for size in grid.shape], 1)
    heights = (np.arange(3) + 0.5) / 3
    places = np.asarray(grid.origin_m) + grid.resolution_m * (index[:, None] + np.stack([0 * heights + 0.5] * 2 + [heights], 1))
    points = np.zeros((900, 6), np.float32)
    points[:, :3] = apply(MOUNT, places.reshape(-1, 3))
    base = frame(0)
    asked = replace(base, sweeps=(replace(base.sweeps[0], points=points),))
    predictor.reset()
    labels = predictor.predict(asked).points.labels.reshape(300, 3)
    of_voxels = whole.labels[tuple(index.T)]
    occupied = of_voxels != FREE
    # a thing inside a box may have been given the box's class
    same = (labels == of_voxels[:, None]).any(1) | (whole.instance_ids[tuple(index.T)] > 0)
    assert occupied.any() and same[occupied].all()


def test_without_a_sweep_the_grid_lies_where_the_lidar_stands_on_nuscenes(tiny_panoocc):  # noqa: F811
    prediction = Predictor(RECURRENT, 'torch', tiny_panoocc[RECURRENT]).predict(frame(0, sweep=False))
    assert prediction.points is None
    np.testing.assert_allclose(prediction.ego_from_grid[:3, 3], (0.943, 0.0, 1.840))
    assert (prediction.labels == UNKNOWN).any()


def test_first_frames_have_gone_no_way_unless_asked_for():
    drive = [frame(age).fixed_from_ego for age in (2, 1, 0)]
    motion, published = EgoMotion(), EgoMotion(published=True)
    assert not motion.next(0, drive[0])[:3].any()
    np.testing.assert_allclose(published.next(0, drive[0])[:3], drive[0][:3, 3], rtol=1e-6)
    moved = motion.next(SECOND // 2, drive[1])
    np.testing.assert_allclose(moved[:3], drive[1][:3, 3] - drive[0][:3, 3], rtol=1e-4, atol=1e-5)
    assert moved[13] == pytest.approx(8.4, abs=0.1) and moved[12] == pytest.approx(0.12, abs=0.01)
    assert moved[17] == pytest.approx(np.degrees(0.12 * 0.5), abs=0.1)
    np.testing.assert_allclose(published.next(SECOND // 2, drive[1])[:3], moved[:3], rtol=1e-4, atol=1e-5)
    motion.forget()
    published.forget()
    assert not motion.next(SECOND, drive[2])[:3].any()
    assert np.linalg.norm(published.next(SECOND, drive[2])[:3]) > 1  # against the call before, of whatever scene
    assert not motion.next(60 * SECOND, drive[0])[:3].any()


def test_a_first_frame_may_be_told_its_absolute_place(tiny_panoocc):  # noqa: F811
    usual, published = (Predictor(RECURRENT, 'torch', tiny_panoocc[RECURRENT], published_motion=flag) for flag in (False, True))
    assert not np.array_equal(usual.predict(frame(1)).labels, published.predict(frame(1)).labels)


def boxes(*rows: tuple) -> Boxes:
    center, size, yaw, score, label = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    return Boxes(center, size, yaw, np.zeros((len(rows), 2), np.float32), score, label.astype(np.int64))


def test_codes_become_boxes():
    scores = np.full((3, 10), -9.0, np.float32)
    scores[0, 0], scores[1, 8], scores[2, 3] = 2.0, 1.0, 3.0
    codes = np.zeros((3, 10), np.float32)
    codes[0] = 10, -5, np.log(2), np.log(4), 0.5, np.log(1.5), np.sin(0.3), np.cos(0.3), 3, -1
    codes[2, 0] = 70  # beyond the limit
    found = decode_boxes(scores, codes)
    assert found.label[:2].tolist() == [0, 8] and len(found) == 20  # all classes of the two queries inside
    np.testing.assert_allclose(found.center[0], (10, -5, 0.5))
    np.testing.assert_allclose(found.size[0], (4, 2, 1.5), rtol=1e-6)
    assert found.yaw[0] == pytest.approx(-0.3 - np.pi / 2) and found.score[0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found.velocity[0].tolist() == [3, -1]
    assert found.listed()[1].label == 7 and found.listed()[0].label == 4


def test_boxes_take_things_in_the_order_of_their_scores():
    points = np.array([[0, 0, 0], [1.9, 0, 0], [0, 1.9, 0], [0.5, 0.2, 0], [8, 0, 0], [8.2, 0, 0]], np.float32)
    labels = np.array([4, 4, 4, 11, 7, 7], np.uint8)
    found = boxes(((0, 0, 0), (4, 2, 2), 0.0, 0.9, 0), ((0.5, 0, 0), (4, 2, 2), 0.0, 0.5, 1),
                  ((8, 0, 0), (1, 1, 1), 0.7, 0.4, 0))
    owner = owners(points, labels, found, (4, 7, 10))
    assert owner.tolist() == [0, 0, -1, -1, 2, 2]  # turned aside, no thing; the second box comes too late
    turned = boxes(((0, 0, 0), (4, 2, 2), np.pi / 2, 0.9, 0))
    assert owners(points, labels, turned, (4, 7, 10)).tolist() == [0, -1, 0, -1, -1, -1]


def test_voxels_take_the_class_of_their_box():
    grid = VoxelGridSpec((-2.0, -2.0, -1.0), 0.5, (8, 8, 4))
    labels = np.full(grid.shape, FREE, np.uint8)
    labels[2:6, 3:5, 1:3] = 4
    labels[5, 4, 2] = 10
    labels[2:6, 3:5, 0] = 11
    found = boxes(((0, 0, 0), (2.2, 1.2, 1.2), 0.0, 0.8, 0), ((40, 0, 0), (2, 1, 1), 0.0, 0.7, 8))
    point = np.array([[0.9, 0.4, 0.4], [0, 1.9, 0]], np.float32)
    made = objects_from_boxes(labels, found, grid, point, np.array([10, 4], np.uint8))
    assert labels[5, 4, 2] == 4 and (labels[2:6, 3:5, 0] == 11).all()
    assert (made.instance_ids[2:6, 3:5, 1:3] == 1).all() and made.instance_ids.sum() == 16
    assert made.point_ids.tolist() == [1, 0]
    (instance,) = made.instances
    assert (instance.label, instance.voxel_count, instance.center_m) == (4, 16, (0.0, 0.0, 0.0))
    assert instance.score == pytest.approx(0.8)

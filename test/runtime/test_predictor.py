"""The Predictor around a network: missing cameras, unknown voxels, ego motion between exposure and reference."""

import numpy as np
import pytest

from occ_perception.engines.protocol import Inference
from occ_perception.geometry.camera_vector import published_source
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.geometry.transforms import matrix
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.runtime import predictor as module
from occ_perception.runtime.frames import CameraImage, SensorFrame

FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
K = np.array([[278.0, 0, 176], [0, 278.0, 40], [0, 0, 1]])


class RecordingEngine:
    """Answers `everything is a car in one row, else free` and keeps what it was given."""

    description = 'recording'

    def infer(self, images, frames, lidar=None):
        self.images, self.tables = images, frames[0].tables
        labels = np.full((200, 200, 16), FREE, np.uint8)
        labels[140:146, 98:102, 3:6] = 4
        return Inference(labels, None, None)


def _yaw(angle):
    return matrix(np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]), (0, 0, 0))


def _frame(names, fixed_from_ego_at_exposure=None):
    fixed = np.eye(4)
    cameras = {}
    for index, name in enumerate(names):
        image = np.full((128, 352, 3), 10 * (index + 1), np.uint8)
        pose = fixed if fixed_from_ego_at_exposure is None else fixed_from_ego_at_exposure
        cameras[name] = CameraImage(name, 950_000_000, image, K, _yaw(index) @ matrix(FORWARD, (1.0, 0, 1.5)), pose)
    return SensorFrame(1_000_000_000, fixed, cameras)


@pytest.fixture
def predictor(monkeypatch):
    monkeypatch.setattr(module, 'open_engine', lambda *_: RecordingEngine())
    return module.Predictor('scocc_sample')


def test_missing_cameras_are_black_lift_nothing_and_leave_unknown(predictor):
    prediction = predictor.predict(_frame(['CAM_FRONT']))
    images = predictor.engine.images
    assert images.shape == (6, 128, 352, 3)
    assert images.any(axis=(1, 2, 3)).tolist() == [False, True, False, False, False, False]
    assert (predictor.engine.tables['slot'][[0, 2, 3, 4, 5]] == 255).all()
    assert prediction.labels[120, 100, 5] != UNKNOWN
    assert prediction.labels[80, 100, 5] == UNKNOWN
    assert prediction.cameras_used == {'CAM_FRONT': pytest.approx(0.05)}


def test_what_no_camera_sees_may_be_answered(monkeypatch):
    monkeypatch.setattr(module, 'open_engine', lambda *_: RecordingEngine())
    labels = module.Predictor('scocc_sample', everywhere=True).predict(_frame(['CAM_FRONT'])).labels
    assert labels[80, 100, 5] != UNKNOWN and (labels != UNKNOWN).all()


def test_objects_come_out_of_the_labels(predictor):
    prediction = predictor.predict(_frame(['CAM_FRONT_LEFT', 'CAM_FRONT']))
    (car,) = prediction.instances
    assert car.label == 4
    assert (prediction.instance_ids == car.id).sum() == car.voxel_count == 6 * 4 * 3
    assert set(prediction.timings_ms) == {'preprocess', 'geometry', 'network', 'postprocess'}


def test_ego_motion_between_exposure_and_reference_is_in_the_tables(predictor):
    moved = matrix(np.eye(3), (-0.9, 0.3, 0))
    predictor.predict(_frame(predictor.entry.cameras, moved))
    got = predictor.engine.tables
    mounts = [moved @ _yaw(index) @ matrix(FORWARD, (1.0, 0, 1.5)) for index in range(6)]
    lift = predictor.entry.frustum
    source, post = published_source(np.stack([K] * 6), 128, 352)
    expected = build_lift_tables(lift, source, np.stack(mounts), lift.default_caps(6), network_from_source=post).arrays()
    for name, table in expected.items():
        np.testing.assert_array_equal(got[name], table)
    predictor.predict(_frame(predictor.entry.cameras))
    assert any((predictor.engine.tables[name] != expected[name]).any() for name in expected)


def test_a_camera_the_network_does_not_know_is_named(predictor):
    with pytest.raises(ValueError, match='kitchen'):
        predictor.predict(_frame(['CAM_FRONT', 'kitchen']))


def test_a_frame_without_cameras_is_refused(predictor):
    with pytest.raises(ValueError, match='map your camera names'):
        predictor.predict(_frame([]))

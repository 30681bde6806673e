from __future__ import annotations

from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from fake_predictor import FakePredictor

from occ_msgs.msg import VoxelGrid
from occ_perception.catalogue import LIDAR
from occ_perception.geometry.transforms import matrix, rotation_from_quaternion
from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import OCC3D
from occ_perception.nodes.conversions import (
    SWEEP_FIELDS,
    camera_info_message,
    cloud_message,
    grid_spec_of,
    header,
    image_message,
    instance_array_message,
    label_info_message,
    labels_of,
    stage_timings_message,
    stamp_ns,
    sweep_messages,
    sweep_points,
    sweeps_of,
    time_message,
    voxel_grid_message,
)
from occ_perception.nodes.detections import detection_array_message
from occ_perception.runtime.frames import Box, LidarSweep, OccupancyPrediction, SensorFrame
from occ_perception.runtime.intake.decode import decode_raw

STAMP = 1_600_000_000_123_456_789


def prediction():
    return FakePredictor().predict(SensorFrame(STAMP, np.eye(4), {}))


def test_stamps_are_exact() -> None:
    assert stamp_ns(time_message(STAMP)) == STAMP


@pytest.mark.parametrize('compress', [True, False])
def test_voxel_grid_comes_back_as_it_went(compress: bool) -> None:
    sent = prediction()
    message = voxel_grid_message(sent, 'base_link', ['A', 'B'], compress)
    labels, ids = labels_of(message)
    np.testing.assert_array_equal(labels, sent.labels)
    np.testing.assert_array_equal(ids, sent.instance_ids)
    assert grid_spec_of(message).shape == OCC3D_GRID.shape
    assert grid_spec_of(message).origin_m == pytest.approx(OCC3D_GRID.origin_m)
    assert len(message.labels) < 64_000 if compress else len(message.labels) == 640_000
    assert [sensor.valid for sensor in message.sensors] == [False, False]
    assert np.isnan(message.sensors[0].age)
    assert labels[0, 0, 0] == VoxelGrid.UNKNOWN


def test_broken_grids_are_refused() -> None:
    message = voxel_grid_message(prediction(), 'base_link', [])
    message.size_z = 8
    with pytest.raises(ValueError, match=r'labels'):
        labels_of(message)
    message.size_z, message.size_x = 16, 0
    with pytest.raises(ValueError, match='0x200x16'):
        labels_of(message)
    message.size_x, message.encoding = 200, 7
    with pytest.raises(ValueError, match='encoding is 7'):
        labels_of(message)
    message.encoding, message.labels = VoxelGrid.ENCODING_ZSTD, message.labels[:100]
    with pytest.raises(ValueError, match='broken zstd'):
        labels_of(message)


def test_label_info_says_what_ids_mean() -> None:
    info = label_info_message(STAMP)
    assert [c.name for c in info.classes] == [c.name for c in OCC3D]
    assert (info.free_id, info.unknown_id) == (17, 255)
    assert [c.id for c in info.classes if c.drivable] == [11]
    assert info.classes[4].color.b == pytest.approx(245 / 255)


def test_images_clouds_and_calibration_round_trip() -> None:
    head = header(STAMP, 'CAM_FRONT')
    image = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    message = image_message(image, head)
    np.testing.assert_array_equal(decode_raw(message.data, 6, 8, message.step, message.encoding, 't'), image)
    k = np.array([[100.5, 0, 4], [0, 101.5, 3], [0, 0, 1]])
    info = camera_info_message(k, 6, 8, head)
    np.testing.assert_array_equal(np.reshape(info.k, (3, 3)), k)
    np.testing.assert_array_equal(np.reshape(info.p, (3, 4))[:, :3], k)
    points = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    cloud = cloud_message(points, SWEEP_FIELDS, head)
    np.testing.assert_array_equal(sweep_points(cloud), points)
    with pytest.raises(ValueError, match='expected'):
        sweep_points(cloud_message(points, 'abcdefg', head))


def test_sweeps_round_trip_with_their_stamps_and_places() -> None:
    random = np.random.default_rng(0)
    sent = [LidarSweep(STAMP - number * 50_000_000, random.normal(size=(count, 6)).astype(np.float32),
                       matrix(rotation_from_quaternion(0, 0, 0.6, 0.8), (number, 0.5, 1.8)))
            for number, count in enumerate((5, 0, 3))]
    info, cloud = sweep_messages(sent, header(STAMP, 'base_link'))
    assert info.header == cloud.header
    assert sweep_points(cloud)[:, 6].tolist() == [0] * 5 + [2] * 3
    for one, back in zip(sent, sweeps_of(cloud, info), strict=True):
        assert back.stamp_ns == one.stamp_ns
        np.testing.assert_array_equal(back.points, one.points)
        np.testing.assert_allclose(back.ego_from_lidar, one.ego_from_lidar, atol=1e-12)
    info.points[0] = 4
    with pytest.raises(ValueError, match='7 points of 3 sweeps, occ/sweeps has 8'):
        sweeps_of(cloud, info)
    assert sweeps_of(*sweep_messages((), header(STAMP, 'base_link'))[::-1]) == ()


def test_a_received_sweep_is_a_view_of_its_message() -> None:
    points = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    cloud = cloud_message(points, SWEEP_FIELDS, header(STAMP, 'base_link'))
    received = sweep_points(cloud)
    cloud.data[:4] = array('B', np.float32(9).tobytes())
    assert received[0, 0] == 9


def test_fields_take_arrays_that_are_not_contiguous() -> None:
    image = np.random.default_rng(0).integers(0, 255, (6, 8, 4), np.uint8)[:, :, :3]
    assert image_message(image, header(STAMP, 'c')).data.tobytes() == image.tobytes()


def test_instances_and_timings() -> None:
    sent = prediction()
    array = instance_array_message(sent, 'base_link')
    assert [(one.id, one.class_id, one.voxel_count) for one in array.instances] == [(1, 4, 48)]
    q = array.instances[0].pose.orientation
    assert 2 * np.arctan2(q.z, q.w) == pytest.approx(0.3)
    timings = stage_timings_message({'a': 1.5, 'b': 2}, STAMP, 'base_link')
    assert timings.stages == ['a', 'b']
    assert list(timings.milliseconds) == [1.5, 2.0]


class _Plain:
    """Stands for a message of vision_msgs, which has no wheel: takes any field, nested ones come into being."""

    def __init__(self, **fields) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str):
        value = [] if name == 'detections' else _Plain()
        self.__dict__[name] = value
        return value


def test_boxes_become_detections_in_the_vehicles_frame() -> None:
    quarter = matrix(rotation_from_quaternion(0, 0, -np.sqrt(0.5), np.sqrt(0.5)), (1.0, 0.0, 2.0))
    box = Box(4, 0.75, (3.0, 1.0, -1.0), (4.0, 2.0, 1.5), 0.5, (0.0, 0.0, 0.0))
    labels = np.zeros((2, 2, 2), np.uint8)
    grid = VoxelGridSpec((0.0, 0.0, 0.0), 1.0, (2, 2, 2))
    prediction = OccupancyPrediction(5, 'x', grid, labels, labels.astype(np.uint16), (), {}, LIDAR, quarter, boxes=(box,))
    messages = SimpleNamespace(Detection3DArray=_Plain, Detection3D=_Plain, ObjectHypothesisWithPose=_Plain)
    array = detection_array_message(prediction, 'base_link', messages)
    (one,) = array.detections
    assert array.header.frame_id == one.header.frame_id == 'base_link'
    (told,) = one.results
    assert (told.hypothesis.class_id, told.hypothesis.score) == ('car', 0.75)
    centre, turn = one.bbox.center.position, one.bbox.center.orientation
    assert (centre.x, centre.y, centre.z) == pytest.approx((2.0, -3.0, 1.0))
    assert 2 * np.arctan2(turn.z, turn.w) == pytest.approx(0.5 - np.pi / 2)
    assert (one.bbox.size.x, one.bbox.size.y, one.bbox.size.z) == (4.0, 2.0, 1.5)

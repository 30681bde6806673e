"""Bags of other converters, faults included, through the nodes: sets, poses, pictures and points are right all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from converter_bags import FOCAL, LIDAR_MOUNT, PACKED, XYZIR, place, write_nuscenes2bag, write_nuscenes_to_ros2bag
from fake_predictor import FakePredictor
from live import Ear, ros, running, until
from sensor_msgs.msg import PointCloud2
from small_bag import SECOND, START_NS, camera_mount, jpeg

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.dialects import NUSCENES_OFFSETS_S
from occ_perception.geometry.transforms import matrix, rotation_from_quaternion
from occ_perception.nodes import qos, system
from occ_perception.nodes.conversions import stamp_ns, sweep_points

SECONDS = 1.5
DUE = [START_NS + i * SECOND // 5 for i in range(8)]


@pytest.mark.parametrize(('write', 'dialect', 'lost'), [
    (partial(write_nuscenes_to_ros2bag, columns=XYZIR), 'nuscenes_to_ros2bag', 1),
    (partial(write_nuscenes_to_ros2bag, columns=PACKED), 'nuscenes_to_ros2bag', 1),
    (write_nuscenes2bag, 'nuscenes2bag', 0),
    (partial(write_nuscenes2bag, compressed=True, r=np.zeros(9)), 'nuscenes2bag, compressed', 0)],
    ids=['nuscenes_to_ros2bag', 'packed points', 'nuscenes2bag', 'nuscenes2bag compressed'])
def test_foreign_bags_are_served(tmp_path: Path, write: Callable[[Path, float], Path], dialect: str, lost: int) -> None:
    made = FakePredictor()
    path = write(tmp_path / 'bag', SECONDS)
    sources = system.sources_of(str(path))
    assert (sources.dialect, sources.missing) == (dialect, ())
    specs = system.nodes('scocc_sample', sources, replay=system.Replay(str(path), lockstep=True))
    with ros() as context, running(specs, context, lambda *_: made) as system_, contextlib.closing(
            Ear(context, sweeps=(PointCloud2, 'occ/sweeps', qos.SENSOR))) as ear:
        assert system_.start()
        assert system_.finished.wait(30)
        assert until(lambda: system_.tally().published + sum(system_.tally().dropped.values()) == len(DUE), 10), system_.tally()
        # nuscenes_to_ros2bag: the first pictures are older than the first pose, so that their set cannot be served
        assert dict(system_.tally().dropped) == ({'too_few_cameras': lost} if lost else {})
    assert [frame.stamp_ns for frame in made.frames] == DUE[lost:]
    for frame in made.frames:
        np.testing.assert_allclose(frame.fixed_from_ego[:3, 3], place(frame.stamp_ns), atol=1e-6)
        assert set(frame.cameras) == set(NUSCENES_CAMERAS)
        for name, camera in frame.cameras.items():
            assert abs(camera.stamp_ns - frame.stamp_ns - 1e9 * NUSCENES_OFFSETS_S[name]) <= SECOND / 24 + 1
            np.testing.assert_allclose(camera.fixed_from_ego[:3, 3], place(camera.stamp_ns), atol=1e-6)
            xyz, turned = camera_mount(name)
            np.testing.assert_allclose(camera.ego_from_camera, matrix(rotation_from_quaternion(*turned), xyz), atol=1e-6)
            number = round((camera.stamp_ns - START_NS - 1e9 * NUSCENES_OFFSETS_S[name]) / SECOND * 12)
            picture = simplejpeg.decode_jpeg(jpeg(name, number).tobytes())
            focal, scale = camera.intrinsics[0, 0], camera.image.shape[1] / picture.shape[1]
            assert focal == pytest.approx(FOCAL * scale, rel=0.05)
            bottom, same = camera.image[-10:].mean((0, 1)), picture[-4:].mean((0, 1))
            np.testing.assert_allclose(bottom, same, atol=6)  # red stays red
    sweeps = {stamp_ns(cloud.header.stamp): sweep_points(cloud) for cloud in ear.heard['sweeps'] if cloud.width}
    assert len(sweeps) > 20
    for points in sweeps.values():
        np.testing.assert_allclose(np.linalg.norm(points[:, :2] - LIDAR_MOUNT[0][:2], axis=1), 10, atol=1e-3)
        np.testing.assert_allclose(points[:, 2], LIDAR_MOUNT[0][2], atol=1e-5)
        assert (points[:, 3] == 7).all() and (points[:, 5] == 0).all()

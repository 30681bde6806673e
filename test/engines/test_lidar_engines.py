"""The exported network of cameras and LiDAR beside torch: all inputs, either masked, clouds that are too large."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from occ_perception.catalogue import entry
from occ_perception.engines.select import shipped_file
from occ_perception.runtime.frames import CameraImage, LidarSweep, SensorFrame
from occ_perception.runtime.predictor import Predictor

NAME = 'effocc_sample'
pytestmark = pytest.mark.skipif(not shipped_file(f'{NAME}.onnx').is_file(), reason=f'{NAME} is not shipped')
FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def frame(points: int = 30_000, box_m: float = 38.0) -> SensorFrame:
    """Noise pictures of a ring of cameras, a floor with posts in three sweeps."""
    random = np.random.default_rng(0)
    cameras = {}
    for number, name in enumerate(entry(NAME).cameras):
        turn, pose = np.pi / 3 * number, np.eye(4)
        pose[:3, :3] = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]) @ FORWARD
        pose[:3, 3] = 1, 0, 1.5
        coarse = random.integers(0, 255, (16, 22, 3), np.uint8).repeat(8, 0).repeat(16, 1)
        intrinsics = np.array([[250.0, 0, 176], [0, 250.0, 40], [0, 0, 1]])
        cameras[name] = CameraImage(name, 0, np.ascontiguousarray(coarse), intrinsics, pose, np.eye(4))
    sweeps = []
    for age_s in (0.0, 0.25, 0.5):
        cloud = np.zeros((points, 6), np.float32)
        cloud[:, :2] = random.uniform(-box_m, box_m, (points, 2))
        cloud[:, 2] = np.where(random.random(points) < 0.3, random.uniform(0, 4, points), 0)
        cloud[:, 3], cloud[:, 5] = random.uniform(0, 90, points), age_s
        sweeps.append(LidarSweep(-round(1e9 * age_s), cloud, np.eye(4)))
    return SensorFrame(0, np.eye(4), cameras, tuple(sweeps))


@pytest.mark.parametrize('mode', ['both', 'cameras', 'lidar'])
def test_the_exported_network_answers_as_torch_does(mode: str) -> None:
    pytest.importorskip('torch')
    given = frame(1_200)
    given = replace(given, sweeps=()) if mode == 'cameras' else replace(given, cameras={}) if mode == 'lidar' else given
    torch, exported = (Predictor(NAME, backend, weights, precision='f32', everywhere=True).predict(given) for backend, weights in (
        ('torch', shipped_file(f'{NAME}.safetensors')), ('openvino', None)))
    assert torch.voxels_left_out == exported.voxels_left_out == 0
    assert (torch.labels == exported.labels).mean() > 0.9999
    assert len(np.unique(torch.labels)) > 3
    np.testing.assert_allclose(exported.flow, torch.flow, atol=0.02)
    assert exported.sweeps_used == (() if mode == 'cameras' else (0.0, 0.25, 0.5))


def test_a_cloud_with_more_voxels_than_there_is_room_for_is_cut_and_told() -> None:
    predictor = Predictor(NAME, 'openvino', everywhere=True)
    caps = predictor.engine.voxel_caps
    prediction = predictor.predict(frame(100_000))
    assert prediction.voxels_left_out > 10_000
    assert prediction.labels.shape == (200, 200, 16)
    assert caps is not None and len(caps) == 3

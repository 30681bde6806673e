"""Scenes of a nuScenes tree as labelled frames: poses, sweeps, frames between key frames, ray origins; broken files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_tree import START_US, pose, truth, wall, write_tree

from occ_perception.catalogue import NUSCENES_CAMERAS, LidarSpec
from occ_perception.datasets.dialects import NUSCENES_OFFSETS_S
from occ_perception.datasets.files import CorruptFileError
from occ_perception.datasets.nuscenes_sequence import FrameOptions
from occ_perception.datasets.occ3d import write_truth
from occ_perception.datasets.opening import DataSource, open_sequences
from occ_perception.datasets.sequences import DrivingSequence
from occ_perception.geometry.transforms import apply, inverse

NAME = 'scene-0103'


@pytest.fixture(scope='module')
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp('tree'), key_frames=3)


@pytest.fixture
def broken(tree: Path, tmp_path: Path) -> Path:
    """A copy whose files may be broken."""
    return Path(shutil.copytree(tree, tmp_path / 'tree'))


def opened(root: Path, **options) -> DrivingSequence:
    (sequence,) = open_sequences(DataSource(root, 'val', options=FrameOptions(**options)))
    return sequence


def test_key_frames(tree: Path) -> None:
    sequence = opened(tree)
    assert (sequence.name, len(sequence)) == (NAME, 3)
    assert [moment.token for moment in sequence.moments] == [f'{NAME}-{k}' for k in range(3)]
    frame = sequence.frame(1)
    assert frame.moment.labelled and frame.sensors.stamp_ns == 1000 * (START_US + 500_000)
    np.testing.assert_allclose(frame.sensors.fixed_from_ego, pose(0.5), atol=1e-9)
    assert list(frame.sensors.cameras) == list(NUSCENES_CAMERAS)
    for name, camera in frame.sensors.cameras.items():
        assert camera.stamp_ns - frame.sensors.stamp_ns == round(1e6 * NUSCENES_OFFSETS_S[name]) * 1000
        np.testing.assert_allclose(camera.fixed_from_ego, pose(0.5 + NUSCENES_OFFSETS_S[name]), atol=1e-6)
        assert camera.image.shape == (90, 160, 3) and abs(int(camera.image.mean()) - 100) < 3
    assert frame.truth is not None
    np.testing.assert_array_equal(frame.truth.labels, truth().labels)
    assert [each.moment.stamp_ns for each in sequence] == [moment.stamp_ns for moment in sequence.moments]


def test_sweeps_are_moved_to_the_frame(tree: Path) -> None:
    spec = LidarSpec(ages_s=(0.05, 0.11, 0.2, 9.0))
    sweeps = opened(tree, lidar=spec).sensors(1).sweeps
    expected = apply(inverse(pose(0.5)), wall())
    assert len(sweeps) == 4  # there is none of the last age
    for number, sweep in zip((0, 1, 2, 4), sweeps, strict=True):
        assert sweep.points.dtype == np.float32
        np.testing.assert_allclose(sweep.points[:, :3], expected, atol=1e-4)
        assert (sweep.points[:, 3] == 7).all()
        np.testing.assert_allclose(sweep.points[:, 5], 0.05 * number, atol=1e-6)
        assert sweep.stamp_ns == 1000 * (START_US + 500_000) - 50_000_000 * number
        mount = inverse(pose(0.5)) @ pose(0.5 - 0.05 * number)
        np.testing.assert_allclose(sweep.ego_from_lidar, mount @ sweeps[0].ego_from_lidar, atol=1e-6)
    (alone,) = opened(tree).sensors(1).sweeps
    assert len(alone.points) == len(wall())


def test_frames_between_key_frames(tree: Path) -> None:
    sequence = opened(tree, rate_hz=5.0)
    seconds = [(moment.stamp_ns - sequence.moments[0].stamp_ns) * 1e-9 for moment in sequence.moments]
    np.testing.assert_allclose(seconds, [0, 0.2, 0.4, 0.5, 0.7, 0.9, 1.0], atol=1e-6)
    assert [moment.labelled for moment in sequence.moments] == [True, False, False, True, False, False, True]
    frame = sequence.frame(1)
    assert frame.truth is None and len(frame.sensors.cameras) == 6
    for name, camera in frame.sensors.cameras.items():
        wanted = 0.2 + NUSCENES_OFFSETS_S[name]
        exposures = NUSCENES_OFFSETS_S[name] + np.arange(13) / 12
        taken = (camera.stamp_ns - sequence.moments[0].stamp_ns) * 1e-9
        assert taken == pytest.approx(exposures[np.abs(exposures - wanted).argmin()], abs=1e-6)
        np.testing.assert_allclose(camera.fixed_from_ego, pose(taken), atol=1e-5)


def test_ego_pose_of_another_sensor(tree: Path) -> None:
    plain, published = opened(tree).frame(1), opened(tree, ego_pose_of='CAM_FRONT_LEFT').frame(1)
    assert published.sensors.stamp_ns == plain.sensors.stamp_ns
    exposure = pose(0.5 + NUSCENES_OFFSETS_S['CAM_FRONT_LEFT'])
    np.testing.assert_allclose(published.sensors.fixed_from_ego, exposure, atol=1e-9)
    np.testing.assert_allclose(published.sensors.sweeps[0].points[:, :3], apply(inverse(exposure), wall()), atol=1e-4)
    with pytest.raises(ValueError, match='no reading of CAM_ROOF'):
        opened(tree, ego_pose_of='CAM_ROOF').frame(1)


def test_ray_origins_are_the_places_of_all_key_frames(tree: Path) -> None:
    origins = opened(tree, rate_hz=5.0).ray_origins(3)
    mount = np.array([[0.9, 0, 1.8]])
    expected = [apply(inverse(pose(0.5)) @ pose(0.5 * k), mount)[0] for k in range(3)]
    np.testing.assert_allclose(origins, expected, atol=1e-5)


def test_labels_with_instances_are_preferred(broken: Path) -> None:
    assert opened(broken).truth(0).instances is None
    for k in range(3):
        write_truth(broken / 'occ3d_panoptic' / NAME / f'{NAME}-{k}' / 'labels.npz', truth(instances=True))
    assert opened(broken).truth(0).instances is not None
    assert opened(broken, labels='gts').truth(0).instances is None


def test_absent_files_are_named_with_their_source(broken: Path) -> None:
    shutil.rmtree(broken / 'gts')
    with pytest.raises(FileNotFoundError, match=r'labels\.npz: no such file.*Occ3D.*occ world'):
        opened(broken).truth(0)
    picture = sorted((broken / 'samples' / 'CAM_BACK').iterdir())[0]
    picture.unlink()
    with pytest.raises(FileNotFoundError, match=rf'{picture.name}: no such file.*nuscenes\.org'):
        opened(broken).sensors(0)


@pytest.mark.parametrize(('pattern', 'content', 'message'), [
    ('samples/CAM_FRONT/*.jpg', b'\xff\xd8\xff', 'broken JPEG'), ('samples/CAM_FRONT/*.jpg', b'', 'empty picture'),
    ('samples/LIDAR_TOP/*.bin', b'123', 'no rows of 5 float32'), ('samples/LIDAR_TOP/*.bin', b'', '0 bytes'),
    ('samples/LIDAR_TOP/*.bin', np.full(5, np.nan, np.float32).tobytes(), 'not finite'),
    ('gts/*/*/labels.npz', b'PK', 'not a readable npz')])
def test_broken_files_are_told_apart(broken: Path, pattern: str, content: bytes, message: str) -> None:
    path = sorted(broken.glob(pattern))[0]
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=message) as caught:
        opened(broken).frame(0)
    assert str(path) in str(caught.value)

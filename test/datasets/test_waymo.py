"""Occ3D-Waymo: labels, five cameras and the LiDAR cloud of a tree as MMDetection3D unpacks it; broken and absent files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from occ_perception.cli.main import main
from occ_perception.datasets.files import CorruptFileError
from occ_perception.datasets.occ3d_waymo import CAMERAS, WaymoSequence, read_waymo
from occ_perception.datasets.opening import DataSource, open_sequences
from occ_perception.geometry.transforms import inverse, matrix, rotation_from_quaternion
from occ_perception.labels import FREE, WAYMO

SHAPE = (200, 200, 16)
INTRINSICS = {name: np.array([[2000.0 + 10 * number, 0, 960], [0, 2000.0, 640], [0, 0, 1]]) for name, number in CAMERAS.items()}
OPTICAL = np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]])
YAW_RAD = {'FRONT': 0.0, 'FRONT_LEFT': 0.8, 'SIDE_LEFT': 1.6, 'FRONT_RIGHT': -0.8, 'SIDE_RIGHT': -1.6}


def mount(name: str) -> np.ndarray:
    """ego_from_camera of a camera that looks along its yaw."""
    half = YAW_RAD[name] / 2
    turned = rotation_from_quaternion(0, 0, np.sin(half), np.cos(half))
    return matrix(turned @ OPTICAL, (1.5, 0.2 * CAMERAS[name], 2.1))


def pose(frame: int) -> np.ndarray:
    """fixed_from_ego of a frame."""
    return matrix(np.eye(3), (0.9 * frame, 100.0, 3.0))


POINTS = [(10, 0, 1, 0.3, 0.1), (-5, 2, 0, 0.5, 0.0), (0, 7, 2, 0.1, 1.2)]


def calibration() -> str:
    """Text of a calibration file as MMDetection3D writes it."""
    def row(name: str, values: np.ndarray) -> str:
        return f'{name}: ' + ' '.join(f'{value:e}' for value in values.ravel())

    numbers = sorted(CAMERAS, key=CAMERAS.__getitem__)
    lines = [row(f'P{CAMERAS[name]}', np.hstack([INTRINSICS[name], np.zeros((3, 1))])) for name in numbers]
    lines.append(row('R0_rect', np.eye(3)))
    lines += [row(f'Tr_velo_to_cam_{CAMERAS[name]}', inverse(mount(name))[:3]) for name in numbers]
    return '\n'.join(lines) + '\n'


def write_tree(root: Path, split: str = 'validation', digit: str = '1', scene: str = '003', frames: int = 2) -> Path:
    """Flat pictures whose brightness is the number of their folder, three points, random labels."""
    random = np.random.default_rng(2)
    labels, sensors = root / 'voxel04' / split / scene, root / 'kitti_format' / 'training'
    labels.mkdir(parents=True)
    for folder in ('calib', 'pose', 'velodyne', *(f'image_{number}' for number in CAMERAS.values())):
        (sensors / folder).mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        stem = f'{digit}{scene}{frame:03d}'
        masks = {name: random.integers(0, 2, SHAPE).astype(np.uint8)
                 for name in ('origin_voxel_state', 'final_voxel_state', 'infov')}
        raw = random.choice([0, 1, 14, 23], SHAPE).astype(np.uint8)
        np.savez(labels / f'{frame:03d}_04.npz', voxel_label=raw, **masks)
        np.savez(labels / f'{frame:03d}.npz', voxel_label=raw)
        for number in CAMERAS.values():
            picture = np.full((886 if number > 2 else 1280, 1920, 3), 40 * number + 20, np.uint8)
            (sensors / f'image_{number}' / f'{stem}.jpg').write_bytes(simplejpeg.encode_jpeg(picture))
        (sensors / 'calib' / f'{stem}.txt').write_text(calibration())
        np.savetxt(sensors / 'pose' / f'{stem}.txt', pose(frame))
        points = np.array([(*point, 1e15) for point in POINTS], '<f4')
        points.tofile(sensors / 'velodyne' / f'{stem}.bin')
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path)


def opened(tree: Path, split: str = 'val') -> WaymoSequence:
    (sequence,) = open_sequences(DataSource(tree, split))
    assert isinstance(sequence, WaymoSequence)
    return sequence


def test_frames(tree: Path) -> None:
    sequence = opened(tree)
    assert sequence.name == 'val-003' and sequence.label_set is WAYMO and len(sequence) == 2
    frame = sequence.frame(1)
    assert frame.moment.labelled and frame.moment.token == 'val-003-001' and frame.sensors.stamp_ns == 100_000_000
    np.testing.assert_allclose(frame.sensors.fixed_from_ego, pose(1))
    assert list(frame.sensors.cameras) == ['FRONT', 'FRONT_LEFT', 'SIDE_LEFT', 'FRONT_RIGHT', 'SIDE_RIGHT']
    for name, camera in frame.sensors.cameras.items():
        assert abs(int(camera.image.mean()) - (40 * CAMERAS[name] + 20)) <= 2
        assert camera.image.shape == (886 if name.startswith('SIDE') else 1280, 1920, 3)
        np.testing.assert_allclose(camera.intrinsics, INTRINSICS[name], rtol=1e-6)
        np.testing.assert_allclose(camera.ego_from_camera, mount(name), atol=1e-5)
    np.testing.assert_allclose(frame.sensors.sweeps[0].points, [(*point, 0) for point in POINTS], rtol=1e-6)
    assert opened(tree, 'all').name == opened(tree, 'val-003').name == 'val-003'


def test_labels(tree: Path) -> None:
    path = tree / 'voxel04' / 'validation' / '003' / '000_04.npz'
    truth = opened(tree).truth(0)
    stored = dict(np.load(path))
    assert set(np.unique(truth.labels)) == {0, 1, 14, FREE}
    np.testing.assert_array_equal(truth.labels == FREE, stored['voxel_label'] == 23)
    np.testing.assert_array_equal(truth.mask_camera, (stored['infov'] & stored['final_voxel_state']).astype(bool))
    np.testing.assert_array_equal(truth.mask_lidar, stored['origin_voxel_state'].astype(bool))
    np.savez(path, **stored | {'voxel_label': np.full(SHAPE, 16, np.uint8)})
    with pytest.raises(CorruptFileError, match='up to 16'):
        read_waymo(path)


def test_what_is_absent_or_broken_is_named(tree: Path) -> None:
    sequence = opened(tree)
    sensors = tree / 'kitti_format' / 'training'
    (sensors / 'calib' / '1003000.txt').write_text('P0: 1 2 3\n')
    with pytest.raises(CorruptFileError, match='lacks P0, Tr_velo_to_cam_0'):
        sequence.sensors(0)
    (sensors / 'velodyne' / '1003001.bin').write_bytes(b'12345')
    with pytest.raises(CorruptFileError, match=r'1003001\.bin'):
        sequence.sensors(1)
    (sensors / 'image_4' / '1003001.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='create_data'):
        sequence.sensors(1)
    (sensors / 'pose' / '1003001.txt').write_text('1 2 3')
    with pytest.raises(CorruptFileError, match='expected 16'):
        opened(tree).moments  # noqa: B018
    with pytest.raises(FileNotFoundError, match='Occ3D-Waymo labels'):
        open_sequences(DataSource(tree, 'train'))
    with pytest.raises(ValueError, match='no scene or split val-9'):
        open_sequences(DataSource(tree, 'val-003,val-9'))


def test_networks_of_other_labels_are_refused(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['eval', 'scocc_sample', '--data', str(tree)]) != 0
    assert 'answers in the labels occ3d_nuscenes' in capsys.readouterr().err

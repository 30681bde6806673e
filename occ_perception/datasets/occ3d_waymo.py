"""Occ3D-Waymo: labels of 15 classes on the Occ3D grid, ten frames a second, and Waymo's sensors as MMDetection3D unpacks them.

    ROOT/kitti_format/training/image_0 ... image_4/PSSSFFF.png (or .jpg)      P: 0 training, 1 validation; SSS: scene; FFF: frame
    ROOT/kitti_format/training/{velodyne/PSSSFFF.bin, calib/PSSSFFF.txt, pose/PSSSFFF.txt}
    ROOT/voxel04/{training,validation}/SSS/FFF_04.npz

Source: Tian et al., "Occ3D" (NeurIPS 2023); tools/create_data.py waymo of MMDetection3D. Waymo's vehicle frame is the ego frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from occ_perception.datasets.files import CorruptFileError, read_arrays, read_bytes, read_image, read_table_of_floats
from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.datasets.sequences import DrivingSequence, Moment
from occ_perception.geometry.transforms import inverse
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import FREE, WAYMO
from occ_perception.runtime.frames import CameraImage, LidarSweep, SensorFrame

CAMERAS = {'FRONT': 0, 'FRONT_LEFT': 1, 'SIDE_LEFT': 3, 'FRONT_RIGHT': 2, 'SIDE_RIGHT': 4}
"""Number of each camera's folder, in the order in which published networks take them (that of Waymo's frames)."""
RAW_FREE = 23
"""Free as the label files have it."""
FRAME_NS = 100_000_000
SPLITS = {'train': ('training', '0'), 'val': ('validation', '1')}
"""Folder of the labels and first digit of the sensor files, by split."""
SENSORS, LABELS = Path('kitti_format') / 'training', Path('voxel04')
LABEL_SOURCE = 'Occ3D-Waymo labels (voxel04/<split>/<scene>/<frame>_04.npz) are at https://github.com/Tsinghua-MARS-Lab/Occ3D'
SENSOR_SOURCE = ('Waymo\'s records (https://waymo.com/open) become these files by MMDetection3D\'s '
                 '`tools/create_data.py waymo --out-dir ROOT`')


def is_waymo(root: Path) -> bool:
    """Whether a folder is laid out as above."""
    return (root / SENSORS).is_dir() or (root / LABELS).is_dir()


def open_waymo(root: Path, split: str) -> list[WaymoSequence]:
    """Scenes of a split ('train', 'val', 'all', or names such as 'val-003' with commas), in order.

    Raises FileNotFoundError when there are no labels of that split, ValueError for a name that is none.
    """
    every = {name: [WaymoSequence(root, name, scene) for scene in _scenes(root, name)]
             for name in SPLITS if split == name or (split not in SPLITS and (root / LABELS / SPLITS[name][0]).is_dir())}
    if split in SPLITS or split == 'all':
        found = [sequence for sequences in every.values() for sequence in sequences]
        if not found:
            raise FileNotFoundError(f'{root / LABELS} holds no label files. {LABEL_SOURCE}')
        return found
    known = {sequence.name: sequence for sequences in every.values() for sequence in sequences}
    unknown = [name for name in split.split(',') if name not in known]
    if unknown:
        raise ValueError(f'{root} has no scene or split {", ".join(unknown)}: give train, val, all, or scenes such as '
                         f'{", ".join(list(known)[:3]) or "val-000"}')
    return [known[name] for name in split.split(',')]


def _scenes(root: Path, split: str) -> list[str]:
    folder = root / LABELS / SPLITS[split][0]
    found = sorted(path.name for path in folder.glob('*') if any(path.glob('*_04.npz')))
    if not found:
        raise FileNotFoundError(f'{folder} holds no label files. {LABEL_SOURCE}')
    return found


class WaymoSequence(DrivingSequence):
    """One scene: five cameras and the merged LiDAR cloud, ten labelled frames a second.

    The files tell no exposure times: every sensor counts as read at the frame's stamp, which is 100 ms times its number. In the
    place of the ring, points carry the elongation of the pulse. The cameras of truth's mask are those of the benchmark: seen by a
    camera and in its view.
    """

    label_set = WAYMO

    def __init__(self, root: Path, split: str, scene: str) -> None:
        self.name = f'{split}-{scene}'
        self._root, self._scene = root, scene
        self._labels, self._digit = root / LABELS / SPLITS[split][0] / scene, SPLITS[split][1]

    @property
    def moments(self) -> Sequence[Moment]:
        return self._moments

    @cached_property
    def _frames(self) -> list[str]:
        return sorted(path.name.removesuffix('_04.npz') for path in self._labels.glob('*_04.npz'))

    @cached_property
    def _moments(self) -> list[Moment]:
        poses = [self._numbers('pose', frame, 16).reshape(4, 4) for frame in self._frames]
        return [Moment(f'{self.name}-{frame}', FRAME_NS * int(frame), True, pose, np.eye(4))
                for frame, pose in zip(self._frames, poses, strict=True)]

    def sensors(self, index: int) -> SensorFrame:
        frame, moment = self._frames[index], self._moments[index]
        calibration = self._calibration(frame)
        cameras = {}
        for name, number in CAMERAS.items():
            camera_from_ego = np.vstack([calibration[f'Tr_velo_to_cam_{number}'], [0, 0, 0, 1]])
            cameras[name] = CameraImage(name, moment.stamp_ns, read_image(self._picture(number, frame), SENSOR_SOURCE),
                                        calibration[f'P{number}'][:, :3], inverse(camera_from_ego), moment.fixed_from_ego)
        points = read_table_of_floats(self._file('velodyne', frame, 'bin'), 6, SENSOR_SOURCE).copy()
        points[:, 5] = 0
        return SensorFrame(moment.stamp_ns, moment.fixed_from_ego, cameras, (LidarSweep(moment.stamp_ns, points, np.eye(4)),))

    def truth(self, index: int) -> OccupancyTruth:
        return read_waymo(self._labels / f'{self._frames[index]}_04.npz')

    def _file(self, folder: str, frame: str, suffix: str) -> Path:
        return self._root / SENSORS / folder / f'{self._digit}{self._scene}{frame}.{suffix}'

    def _picture(self, number: int, frame: str) -> Path:
        jpeg = self._file(f'image_{number}', frame, 'jpg')
        return jpeg if jpeg.is_file() else self._file(f'image_{number}', frame, 'png')

    def _numbers(self, folder: str, frame: str, count: int) -> np.ndarray:
        path = self._file(folder, frame, 'txt')
        try:
            values = np.array(read_bytes(path, SENSOR_SOURCE).split(), np.float64)
        except ValueError:
            raise CorruptFileError(f'{path}: holds words that are no numbers') from None
        if values.shape != (count,) or not np.isfinite(values).all():
            raise CorruptFileError(f'{path}: expected {count} finite numbers, found {values.size}')
        return values

    def _calibration(self, frame: str) -> dict[str, np.ndarray]:
        """(3, 4) matrices of a calibration file by name."""
        path = self._file('calib', frame, 'txt')
        found = {}
        for line in read_bytes(path, SENSOR_SOURCE).decode('utf-8', 'replace').splitlines():
            name, _, rest = line.partition(':')
            try:
                values = np.array(rest.split(), np.float64)
            except ValueError:
                raise CorruptFileError(f'{path}: {name} holds words that are no numbers') from None
            if values.size == 12:
                found[name] = values.reshape(3, 4)
        missing = [name for number in CAMERAS.values() for name in (f'P{number}', f'Tr_velo_to_cam_{number}') if name not in found]
        if missing:
            raise CorruptFileError(f'{path} lacks {", ".join(missing)} (12 numbers each)')
        return found


def read_waymo(path: Path | str) -> OccupancyTruth:
    """Read one label file (0.4 m voxels): Waymo's ids 0..14, FREE for free; mask_camera as the benchmark scores, infov and camera.

    Raises FileNotFoundError, CorruptFileError for missing arrays, another grid or unknown labels.
    """
    path = Path(path)
    names = ('voxel_label', 'origin_voxel_state', 'final_voxel_state', 'infov')
    arrays = read_arrays(path, names, (), LABEL_SOURCE)
    for name, array in arrays.items():
        if array.shape != OCC3D_GRID.shape:
            raise CorruptFileError(f'{path}: {name} has shape {array.shape}, not {OCC3D_GRID.shape}: read the files named _04')
    labels = arrays['voxel_label'].astype(np.uint8)
    highest = labels[labels != RAW_FREE].max(initial=0)
    if highest > 14:
        raise CorruptFileError(f'{path}: labels up to {highest}; Occ3D-Waymo has 0..14 and 23 (free)')
    labels[labels == RAW_FREE] = FREE
    lidar, camera, view = (arrays[name].astype(bool) for name in names[1:])
    return OccupancyTruth(labels, camera & view, lidar)

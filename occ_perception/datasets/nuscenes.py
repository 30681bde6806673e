"""nuScenes v1.0 data sets (mini, trainval, test, and what `occ world` writes), read from their JSON tables.

Format: Caesar et al., "nuScenes: A multimodal dataset for autonomous driving" (CVPR 2020), schema v1.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occ_perception.datasets.json_table import JsonTable, Record
from occ_perception.geometry.transforms import matrix, rotation_from_quaternion

DOWNLOAD = 'https://www.nuscenes.org/nuscenes#download'
LIDAR = 'LIDAR_TOP'
_OWNERS = {'sample': 'scene_token', 'sample_data': 'sample_token', 'sample_annotation': 'sample_token',
           'lidarseg': 'sample_data_token', 'panoptic': 'sample_data_token'}


@dataclass(frozen=True)
class Scene:
    """One drive of about 20 s. location: where it was driven ('boston-seaport'), logfile: name of the log it was cut from."""

    token: str
    name: str
    description: str
    location: str
    logfile: str
    first_sample_token: str


@dataclass(frozen=True)
class Sample:
    """One annotated moment (key frame) of a scene; stamp_ns is the LIDAR_TOP key frame's, by nuScenes' definition."""

    token: str
    stamp_ns: int
    scene_token: str


@dataclass(frozen=True)
class SampleData:
    """One reading of one sensor, key frame or sweep, with all that is needed to place it.

    path: under the tree's root. stamp_ns: its own time (camera: exposure, LiDAR: end of the sweep). fixed_from_ego (4, 4): ego pose
    at stamp_ns in the global frame. ego_from_sensor (4, 4), camera axes x right, y down, z forward. intrinsics (3, 3) in pixels of
    the file; None for LiDAR and radar. width, height: pixels, 0 for LiDAR and radar. prev, next: tokens of the sensor's readings
    before and after, '' at the ends of the scene.
    """

    token: str
    sample_token: str
    channel: str
    modality: str
    path: Path
    stamp_ns: int
    is_key_frame: bool
    width: int
    height: int
    fixed_from_ego: np.ndarray
    ego_from_sensor: np.ndarray
    intrinsics: np.ndarray | None
    prev: str
    next: str


@dataclass(frozen=True)
class AnnotatedBox:
    """One annotated object of a key frame, in the global frame.

    fixed_from_box: (4, 4), origin in the box's middle, x along its length, z up. size_m: length, width, height. category: such as
    'vehicle.car'; attributes: names. visibility: its bin, '1' (least) to '4', '' where unknown. lidar_points, radar_points: inside
    it.
    """

    token: str
    instance_token: str
    category: str
    attributes: tuple[str, ...]
    fixed_from_box: np.ndarray
    size_m: tuple[float, float, float]
    visibility: str
    lidar_points: int
    radar_points: int


class NuScenes:
    """A nuScenes tree. Tables are read when first needed; nothing else is opened.

    root: folder with samples/, sweeps/ and v1.0-*. version: name of the table folder; may be left out when there is one.
    Raises FileNotFoundError when the folder or its tables are absent, ValueError when there are several versions to choose from,
    and, once it is read, for a damaged table.
    """

    def __init__(self, root: Path | str, version: str | None = None) -> None:
        self.root = Path(root)
        self.version = version or _only_version(self.root)
        if not (self.root / self.version).is_dir():
            raise FileNotFoundError(f'{self.root / self.version}: no such folder. It holds the tables of nuScenes {self.version}; '
                                    f'unpack the metadata archive from {DOWNLOAD} into {self.root}')
        self._tables: dict[str, JsonTable] = {}
        self._mounts: dict[str, tuple[str, str, np.ndarray, np.ndarray | None]] = {}

    def has(self, table: str) -> bool:
        """Whether the tree has a table that not every version has, such as lidarseg."""
        return (self.root / self.version / f'{table}.json').is_file()

    def table(self, name: str) -> JsonTable:
        """A table by name: scene, sample, sample_data, ego_pose ... Raises FileNotFoundError when the tree lacks it."""
        if name not in self._tables:
            path = self.root / self.version / f'{name}.json'
            if not path.is_file():
                raise FileNotFoundError(f'{path}: no such table. Unpack {_archive(name)} from {DOWNLOAD} into {self.root}')
            self._tables[name] = JsonTable(path, _OWNERS.get(name))
        return self._tables[name]

    def scenes(self) -> tuple[Scene, ...]:
        """All scenes, in the order of the table."""
        return tuple(self._scene(record) for record in self.table('scene'))

    def scene(self, name: str) -> Scene:
        """A scene by name ('scene-0061') or token. Raises ValueError when there is none."""
        for record in self.table('scene'):
            if name in (record['name'], record['token']):
                return self._scene(record)
        raise ValueError(f'{self.root} ({self.version}) has no scene {name}; it has '
                         f'{shortened([scene.name for scene in self.scenes()])}')

    def samples(self, scene: Scene) -> tuple[Sample, ...]:
        """The key frames of a scene, in time order."""
        samples = [Sample(record['token'], 1000 * record['timestamp'], scene.token)
                   for record in self.table('sample').owned(scene.token)]
        return tuple(sorted(samples, key=lambda sample: sample.stamp_ns))

    def key_data(self, sample: Sample) -> dict[str, SampleData]:
        """The readings of a key frame by channel (CAM_FRONT ..., LIDAR_TOP, RADAR_FRONT ...)."""
        found = (self._sample_data(record) for record in self.table('sample_data').owned(sample.token) if record['is_key_frame'])
        return {reading.channel: reading for reading in found}

    def data(self, token: str) -> SampleData:
        """One reading by the token of its sample_data record."""
        return self._sample_data(self.table('sample_data').record(token))

    def earlier(self, reading: SampleData) -> Iterator[SampleData]:
        """The same sensor's readings before one, the newest first, back to the start of the scene."""
        while reading.prev:
            reading = self.data(reading.prev)
            yield reading

    def later(self, reading: SampleData) -> Iterator[SampleData]:
        """The same sensor's readings after one, in time order, to the end of the scene."""
        while reading.next:
            reading = self.data(reading.next)
            yield reading

    def stream(self, scene: Scene, channel: str) -> list[SampleData]:
        """All readings of one sensor in a scene, sweeps and key frames, in time order; none when it lacks the sensor."""
        for sample in self.samples(scene):
            reading = self.key_data(sample).get(channel)
            if reading is not None:
                return [*list(self.earlier(reading))[::-1], reading, *self.later(reading)]
        return []

    def channels(self, scene: Scene) -> dict[str, str]:
        """Sensors of a scene: channel -> modality ('camera', 'lidar', 'radar')."""
        first = self.key_data(self.samples(scene)[0])
        return {channel: reading.modality for channel, reading in first.items()}

    def boxes(self, sample: Sample) -> list[AnnotatedBox]:
        """Annotated objects of a key frame, in the order of the table; none in the test set."""
        return [self._box(record) for record in self.table('sample_annotation').owned(sample.token)]

    def velocity(self, box: AnnotatedBox, longest_s: float = 1.5) -> np.ndarray:
        """(3,) m/s in the global frame, from the object's places in the key frames before and after; NaN when those are further
        apart than longest_s (twice that with both), as the nuScenes devkit has it."""
        table = self.table('sample_annotation')
        record = table.record(box.token)
        before, after = (table.record(record[side]) if record[side] else record for side in ('prev', 'next'))
        stamps = [self.table('sample').record(each['sample_token'])['timestamp'] * 1e-6 for each in (before, after)]
        elapsed = stamps[1] - stamps[0]
        limit = longest_s * (2 if record['prev'] and record['next'] else 1)
        if before is after or elapsed > limit:
            return np.full(3, np.nan)
        return (np.array(after['translation'], np.float64) - np.array(before['translation'], np.float64)) / elapsed

    def file_of(self, table: str, sample_data_token: str) -> Path | None:
        """Label file of a LiDAR reading by the table lidarseg or panoptic; None when it has none."""
        records = self.table(table).owned(sample_data_token)
        return self.root / records[0]['filename'] if records else None

    def _scene(self, record: Record) -> Scene:
        log = self.table('log').record(record['log_token'])
        return Scene(record['token'], record['name'], record['description'], log['location'], log['logfile'],
                     record['first_sample_token'])

    def _sample_data(self, record: Record) -> SampleData:
        channel, modality, ego_from_sensor, intrinsics = self._mount(record['calibrated_sensor_token'])
        return SampleData(record['token'], record['sample_token'], channel, modality, self.root / record['filename'],
                          1000 * record['timestamp'], bool(record['is_key_frame']), record['width'] or 0, record['height'] or 0,
                          _pose(self.table('ego_pose').record(record['ego_pose_token'])), ego_from_sensor, intrinsics,
                          record['prev'], record['next'])

    def _mount(self, token: str) -> tuple[str, str, np.ndarray, np.ndarray | None]:
        if token not in self._mounts:
            record = self.table('calibrated_sensor').record(token)
            sensor = self.table('sensor').record(record['sensor_token'])
            matrix_3 = record['camera_intrinsic']
            self._mounts[token] = (sensor['channel'], sensor['modality'], _pose(record),
                                   np.array(matrix_3, np.float64) if matrix_3 else None)
        return self._mounts[token]

    def _box(self, record: Record) -> AnnotatedBox:
        instance = self.table('instance').record(record['instance_token'])
        width, length, height = record['size']
        return AnnotatedBox(
            record['token'], record['instance_token'], self.table('category').record(instance['category_token'])['name'],
            tuple(self.table('attribute').record(token)['name'] for token in record['attribute_tokens']), _pose(record),
            (length, width, height), record.get('visibility_token') or '', record['num_lidar_pts'], record['num_radar_pts'])


def shortened(names: Sequence[str], most: int = 12) -> str:
    """Names for a message: all, or the first ones and how many more there are."""
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


def _pose(record: Record) -> np.ndarray:
    w, x, y, z = record['rotation']
    return matrix(rotation_from_quaternion(x, y, z, w), record['translation'])


def _only_version(root: Path) -> str:
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder. Give the folder that holds samples/ and v1.0-*: download nuScenes from '
                                f'{DOWNLOAD}, or generate streets with `occ world --out {root}`')
    versions = sorted(path.name for path in root.glob('v1.0-*') if path.is_dir())
    if not versions:
        raise FileNotFoundError(f'{root} holds no table folder v1.0-*: unpack a metadata archive from {DOWNLOAD} into it, or '
                                f'generate streets with `occ world --out {root}`')
    if len(versions) > 1:
        raise ValueError(f'{root} holds {", ".join(versions)}: say which version is meant')
    return versions[0]


def _archive(table: str) -> str:
    extra = {'lidarseg': 'the nuScenes-lidarseg archive', 'panoptic': 'the nuScenes-panoptic archive'}
    return extra.get(table, 'the metadata archive')

"""A nuScenes scene as a sequence of labelled frames: six cameras, LiDAR with sweeps, labels by sample token."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import numpy as np

from occ_perception.catalogue import NUSCENES_CAMERAS, LidarSpec
from occ_perception.datasets import image_labels, lidarseg, openoccupancy
from occ_perception.datasets.dialects import NUSCENES_OFFSETS_S
from occ_perception.datasets.files import read_image, read_table_of_floats
from occ_perception.datasets.nuscenes import DOWNLOAD, LIDAR, NuScenes, Sample, SampleData, Scene
from occ_perception.datasets.occ3d import OccupancyTruth, read_truth
from occ_perception.datasets.openocc_flow import read_openocc
from occ_perception.datasets.panoptic_labels import boxes_of, with_instances
from occ_perception.datasets.sequences import DrivingSequence, Moment
from occ_perception.geometry.transforms import apply, inverse
from occ_perception.runtime.frames import CameraImage, LidarSweep, SensorFrame
from occ_perception.runtime.intake.sweep_history import sweeps_by_age
from occ_perception.runtime.intake.sweeps import move_to_reference

NEAR_NS = 45_000_000
"""Between key frames a picture belongs to a sweep when it was exposed this near to when that camera should have fired."""
PANOPTIC_LABELS = 'occ3d_panoptic'
"""Folder of Occ3D labels with instances, as SparseOcc and Panoptic-FlashOcc name it."""
OPENOCC = 'openocc'
"""Beginning of the names of folders with OpenOcc labels (openocc_v2)."""
_SOURCE = f'Unpack the sensor archives of nuScenes ({DOWNLOAD}); for generated streets run `occ world` again'


@dataclass(frozen=True)
class FrameOptions:
    """What a frame of a nuScenes scene is made of.

    labels: folder of labels under the data set's root, <scene>/<sample token>/labels.npz in it; '' takes occ3d_panoptic (labels
    with instances) where it is there, else gts; a folder openocc... holds OpenOcc labels. make_instances: give instances to labels
    that have none, from the annotated boxes. lidar: of a network whose earlier LiDAR sweeps go along, as it looks at them. rate_hz:
    also frames between the key frames, at most so many per second (0: key frames only). ego_pose_of: the sensor whose ego pose is
    the frame's; published networks of the BEVDet line were trained and scored with that of CAM_FRONT_LEFT, though the labels are
    those of LIDAR_TOP.
    """

    labels: str = ''
    make_instances: bool = False
    lidar: LidarSpec | None = None
    rate_hz: float = 0.0
    ego_pose_of: str = LIDAR


class NuScenesSequence(DrivingSequence):
    """A scene of a nuScenes tree, anchored at LIDAR_TOP readings. Each camera comes with the ego pose of its exposure."""

    def __init__(self, tables: NuScenes, scene: Scene, options: FrameOptions = FrameOptions()) -> None:
        self.tables, self.scene, self.options = tables, scene, options
        self.name = scene.name
        self.labels = options.labels or default_labels(tables.root)

    @property
    def moments(self) -> Sequence[Moment]:
        return self._moments

    def sensors(self, index: int) -> SensorFrame:
        lidar = self._references[index]
        cameras = self._cameras(lidar)
        images = {name: CameraImage(name, reading.stamp_ns, read_image(reading.path, _SOURCE), _intrinsics(reading),
                                    reading.ego_from_sensor, reading.fixed_from_ego) for name, reading in cameras.items()}
        pose = self._pose_of(cameras, lidar)
        return SensorFrame(lidar.stamp_ns, pose, images, self._sweeps(lidar, pose))

    def _pose_of(self, cameras: dict[str, SampleData], lidar: SampleData) -> np.ndarray:
        wanted = self.options.ego_pose_of
        if wanted != LIDAR and wanted not in cameras:
            raise ValueError(f'{self.name} at {lidar.stamp_ns} has no reading of {wanted}, whose ego pose was asked for: it has '
                             f'{", ".join([LIDAR, *cameras])}')
        return (lidar if wanted == LIDAR else cameras[wanted]).fixed_from_ego

    def _sweeps(self, lidar: SampleData, reference: np.ndarray) -> tuple[LidarSweep, ...]:
        """The sweep and earlier ones, newest first, in the ego frame of the reference pose."""
        spec = self.options.lidar or LidarSpec()
        reach_ns = round(1e9 * (max(spec.ages_s, default=0.0) + spec.tolerance_s)) if spec.ages_s else 0
        near = takewhile(lambda reading: lidar.stamp_ns - reading.stamp_ns <= reach_ns, self.tables.earlier(lidar))
        earlier = {reading.stamp_ns: reading for reading in near}
        chosen = sweeps_by_age(list(earlier), lidar.stamp_ns, spec.ages_s, spec.tolerance_s)
        return (_moved(lidar, reference, 0), *(_moved(earlier[stamp], reference, lidar.stamp_ns - stamp)
                                               for stamp in chosen if stamp is not None))

    def truth(self, index: int) -> OccupancyTruth:
        path = self.label_path(index)
        truth = read_openocc(path) if self.labels.startswith(OPENOCC) else read_truth(path)
        if truth.instances is not None or not self.options.make_instances:
            return truth
        lidar = self._references[index]
        sample = Sample(lidar.sample_token, lidar.stamp_ns, self.scene.token)
        return with_instances(truth, boxes_of(self.tables, sample, lidar.fixed_from_ego))

    def label_path(self, index: int) -> Path:
        """Label file of a key frame."""
        return self.tables.root / self.labels / self.name / self._references[index].sample_token / 'labels.npz'

    def reference(self, index: int) -> SampleData:
        """The LIDAR_TOP reading that anchors a frame."""
        return self._references[index]

    def point_classes(self, index: int) -> np.ndarray:
        """lidarseg class of each point of a key frame's own sweep, in the file's order (see datasets.lidarseg)."""
        return lidarseg.point_classes(self.tables, self._references[index])

    def point_truth(self, index: int) -> np.ndarray | None:
        """See DrivingSequence; None for a tree without lidarseg, or without labels of this sweep."""
        if not (self.tables.root / self.tables.version / 'lidarseg.json').is_file():
            return None
        known = self.tables.file_of('lidarseg', self._references[index].token)
        return None if known is None else self.point_classes(index)

    def point_panoptic(self, index: int) -> np.ndarray:
        """Panoptic nuScenes label of each point of a key frame's own sweep (see datasets.lidarseg)."""
        return lidarseg.point_panoptic(self.tables, self._references[index])

    def openoccupancy(self, index: int) -> np.ndarray:
        """OpenOccupancy's dense labels of a key frame, in the LiDAR's frame (see datasets.openoccupancy)."""
        path = openoccupancy.label_path(self.tables.root, self.scene.token, self._references[index].token)
        return openoccupancy.read_openoccupancy(path)

    def image_labels(self, index: int) -> dict[str, np.ndarray]:
        """FusionOcc's segmentation of a key frame's pictures, by camera (see datasets.image_labels)."""
        pictures = self._cameras(self._references[index])
        return {name: image_labels.read_image_labels(image_labels.label_path(self.tables.root, picture))
                for name, picture in pictures.items()}

    @cached_property
    def _keys(self) -> dict[str, dict[str, SampleData]]:
        """Key frame readings by sample token and channel."""
        return {sample.token: self.tables.key_data(sample) for sample in self.tables.samples(self.scene)}

    @cached_property
    def _references(self) -> list[SampleData]:
        keys = [readings[LIDAR] for readings in self._keys.values() if LIDAR in readings]
        if len(keys) < len(self._keys):
            raise ValueError(f'{self.tables.root}: {len(self._keys) - len(keys)} key frames of {self.name} have no {LIDAR} reading')
        if not self.options.rate_hz:
            return keys
        due: list[SampleData] = []
        step_ns = round(1e9 / self.options.rate_hz) - 5_000_000
        for reading in self.tables.stream(self.scene, LIDAR):
            if reading.is_key_frame or not due or reading.stamp_ns - due[-1].stamp_ns >= step_ns:
                due.append(reading)
        return due

    @cached_property
    def _moments(self) -> list[Moment]:
        return [Moment(reading.sample_token if reading.is_key_frame else reading.token, reading.stamp_ns, reading.is_key_frame,
                       reading.fixed_from_ego, reading.ego_from_sensor) for reading in self._references]

    def _cameras(self, lidar: SampleData) -> dict[str, SampleData]:
        if lidar.is_key_frame:
            readings = self._keys[lidar.sample_token]
            return {name: readings[name] for name in NUSCENES_CAMERAS if name in readings}
        found = {}
        for name, (stamps, readings_of) in self._streams.items():
            wanted = lidar.stamp_ns + round(1e9 * NUSCENES_OFFSETS_S[name])
            at = bisect_left(stamps, wanted)
            nearest = min(readings_of[max(at - 1, 0):at + 1], key=lambda reading: abs(reading.stamp_ns - wanted))
            if abs(nearest.stamp_ns - wanted) <= NEAR_NS:
                found[name] = nearest
        return found

    @cached_property
    def _streams(self) -> dict[str, tuple[list[int], list[SampleData]]]:
        streams = {name: self.tables.stream(self.scene, name) for name in NUSCENES_CAMERAS}
        return {name: ([reading.stamp_ns for reading in readings], readings) for name, readings in streams.items() if readings}


def default_labels(root: Path) -> str:
    """Folder of labels that is taken when none is asked for."""
    return PANOPTIC_LABELS if (root / PANOPTIC_LABELS).is_dir() else 'gts'


def _intrinsics(reading: SampleData) -> np.ndarray:
    assert reading.intrinsics is not None
    return reading.intrinsics


def _moved(reading: SampleData, reference: np.ndarray, age_ns: int) -> LidarSweep:
    """A sweep in the ego frame of the reference pose; nuScenes has undone the motion within it."""
    raw = read_table_of_floats(reading.path, 5, _SOURCE)
    points = np.zeros((len(raw), 6), np.float32)
    points[:, :3] = apply(reading.ego_from_sensor, raw[:, :3])
    points[:, 3:5] = raw[:, 3:5]
    ego_from_lidar = reading.ego_from_sensor
    if reading.fixed_from_ego is not reference:
        move_to_reference(points, reading.fixed_from_ego, reference, age_ns * 1e-9, points)
        ego_from_lidar = inverse(reference) @ reading.fixed_from_ego @ ego_from_lidar
    return LidarSweep(reading.stamp_ns, points, ego_from_lidar)

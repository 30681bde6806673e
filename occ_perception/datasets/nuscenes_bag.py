"""A nuScenes scene as the ROS 2 bag that the vehicle's drivers would have recorded, streamed in the order of time.

Topics, types and frames are those of the sample world's bags. Cameras: JPEG bytes as they are. LiDAR: points where and when the
beams saw them (sweep_times). /tf: every ego pose of every sensor's readings. /odom: from the CAN bus where there is one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import simplejpeg

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.bag_writer import POINT_DTYPE, BagWriter
from occ_perception.datasets.can_bus import VehicleState, vehicle_states
from occ_perception.datasets.nuscenes import LIDAR, NuScenes, Sample, SampleData, Scene, shortened
from occ_perception.datasets.nuscenes_objects import true_objects
from occ_perception.datasets.occ3d import read_truth
from occ_perception.datasets.pose_track import PoseTrack
from occ_perception.datasets.sweep_times import as_measured, turn_time
from occ_perception.geometry.voxel_grid import OCC3D_GRID

OCC3D_PAGE = 'https://github.com/Tsinghua-MARS-Lab/Occ3D'
SOURCE = 'ground truth'
_LEAD_NS = 10_000_000
_ODOMETRY_MARGIN_NS = 200_000_000
_POINT_BYTES = 20


class BrokenTree(ValueError):
    """Files that the tables name are missing or damaged; the message names them."""


@dataclass(frozen=True)
class BagContent:
    """What goes into a bag. sweeps: also the readings between key frames. truth: ground-truth topics and files. skip_corrupt: leave
    out what is missing or damaged, and count it, instead of refusing."""

    sweeps: bool = True
    truth: bool = False
    skip_corrupt: bool = False


@dataclass
class BagReport:
    """What went into a bag; left_out: files that were missing or damaged, untimed: sweeps whose points got no times."""

    path: Path
    seconds: float = 0.0
    images: int = 0
    sweeps: int = 0
    untimed: int = 0
    poses: int = 0
    odometry: int = 0
    odometry_source: str = 'ego poses'
    truths: int = 0
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Event:
    stamp_ns: int
    order: int
    write: Callable[[BagWriter], None]


def write_scene_bag(data: NuScenes, scene: Scene, out: Path, content: BagContent = BagContent(),
                    progress: Callable[[int, int], None] | None = None) -> BagReport:
    """Write one scene to the bag folder out/<scene name>, which appears whole or not at all; with truth also
    out/truth/<scene name>/<stamp in ns>.npz, as `occ score` reads it.

    progress: told (messages written, of how many). At any time one file is in memory. Raises BrokenTree when a file is missing or
    damaged (unless skip_corrupt), FileNotFoundError when a table or all truth is, ValueError when the bag is there already.
    """
    path = out / scene.name
    if path.exists():
        raise ValueError(f'{path} exists already: delete it, or give another --out')
    report = BagReport(path)
    streams = {channel: data.stream(scene, channel) for channel in data.channels(scene)}
    if not streams.get(LIDAR):
        raise BrokenTree(f'{data.root}: {scene.name} has no {LIDAR} readings in table sample_data')
    readings = _present(data, scene, streams, content, report)
    sweeps = streams[LIDAR]
    before = {later.token: earlier.stamp_ns for earlier, later in pairwise(sweeps)}
    poses = PoseTrack([(reading.stamp_ns, reading.fixed_from_ego) for stream in (sweeps, *streams.values()) for reading in stream])
    turn_starts = [reading.stamp_ns - round(1e9 * turn_time(reading.stamp_ns, before.get(reading.token))) for reading in sweeps]
    start_ns = min(int(poses.stamps[0]), turn_starts[0]) - _LEAD_NS
    states = _odometry(data, scene, poses, report)
    events = [_Event(start_ns, 0, lambda bag: bag.ego_pose(start_ns, poses.at(start_ns)))]
    events += [_pose_event(stamp, pose) for stamp, pose in zip(poses.stamps.tolist(), poses.poses, strict=True)]
    events += [_odometry_event(state) for state in states]
    for reading in readings:
        events.append(_sweep_event(reading, before.get(reading.token), poses, content, report) if reading.channel == LIDAR
                      else _image_event(reading, content, report))
    if content.truth:
        events += _truth_events(data, scene, out / 'truth' / scene.name, content, report)
    events.sort(key=lambda event: (event.stamp_ns, event.order))
    report.poses, report.odometry = len(poses) + 1, len(states)
    report.seconds = (events[-1].stamp_ns - events[0].stamp_ns) * 1e-9
    mounts = _mounts(data, scene, readings)
    partial = out / f'.{scene.name}.partial' / scene.name
    shutil.rmtree(partial.parent, ignore_errors=True)
    partial.parent.mkdir(parents=True)
    try:
        with BagWriter(partial) as bag:
            bag.note('nuscenes_scene', f'{data.version} {scene.name}: {scene.description}')
            bag.static_transforms(events[0].stamp_ns, mounts)
            for number, event in enumerate(events):
                event.write(bag)
                if progress is not None:
                    progress(number + 1, len(events))
        partial.rename(path)
    finally:
        shutil.rmtree(partial.parent, ignore_errors=True)
    return report


def _present(data: NuScenes, scene: Scene, streams: dict[str, list[SampleData]], content: BagContent,
             report: BagReport) -> list[SampleData]:
    """The readings that go into the bag, of which the files are there; the others are refused together, or left out."""
    wanted = [reading for channel in (*NUSCENES_CAMERAS, LIDAR) for reading in streams.get(channel, ())
              if content.sweeps or reading.is_key_frame]
    missing = [reading for reading in wanted if not reading.path.is_file()]
    if missing and not content.skip_corrupt:
        names = shortened([str(reading.path.relative_to(data.root)) for reading in missing], 3)
        kind = 'key frames' if all(reading.is_key_frame for reading in missing) else 'sweeps'
        hint = '' if kind == 'key frames' else ' (--no-sweeps does without those between key frames)'
        raise BrokenTree(f'{data.root}: {len(missing)} of {len(wanted)} files of {scene.name} are missing: {names}. Unpack the '
                         f'archives with the {kind} again{hint}, or go on without them: --skip-corrupt')
    report.left_out += [str(reading.path) for reading in missing]
    gone = {reading.token for reading in missing}
    there = [reading for reading in wanted if reading.token not in gone]
    if not any(reading.channel == LIDAR for reading in there):
        raise BrokenTree(f'{data.root}: no {LIDAR} file of {scene.name} is there: unpack the archives again')
    return there


def _mounts(data: NuScenes, scene: Scene, readings: Sequence[SampleData]) -> list[tuple[str, np.ndarray]]:
    """(channel, ego_from_sensor) of every sensor. Raises BrokenTree when one moves on the vehicle."""
    mounts: dict[str, np.ndarray] = {}
    for reading in readings:
        known = mounts.setdefault(reading.channel, reading.ego_from_sensor)
        if not np.allclose(known, reading.ego_from_sensor, atol=1e-6):
            raise BrokenTree(f'{data.root}: {reading.channel} has two mounting poses in {scene.name}, which /tf_static cannot say')
    return list(mounts.items())


def _odometry(data: NuScenes, scene: Scene, poses: PoseTrack, report: BagReport) -> list[VehicleState]:
    """States from the CAN bus, else from the ego poses."""
    first, last = int(poses.stamps[0]) - _ODOMETRY_MARGIN_NS, int(poses.stamps[-1])
    states = [state for state in vehicle_states(data.root, scene.name) if first <= state.stamp_ns <= last]
    if states:
        report.odometry_source = 'CAN bus'
        return states
    stamps = poses.stamps.tolist()
    return [VehicleState(stamp, pose, *poses.velocity(stamp)) for stamp, pose in zip(stamps, poses.poses, strict=True)]


def _pose_event(stamp_ns: int, pose: np.ndarray) -> _Event:
    return _Event(stamp_ns, 0, lambda bag: bag.ego_pose(stamp_ns, pose))


def _odometry_event(state: VehicleState) -> _Event:
    stamp, pose = state.stamp_ns, state.fixed_from_ego
    return _Event(stamp, 1, lambda bag: bag.odometry(stamp, pose, state.velocity, state.turn_rate))


def _image_event(reading: SampleData, content: BagContent, report: BagReport) -> _Event:
    def write(bag: BagWriter) -> None:
        jpeg = reading.path.read_bytes()
        intrinsics = reading.intrinsics
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
        except ValueError as error:
            _refuse(reading, f'is no JPEG file ({error})', content, report)
            return
        if b'\xff\xd9' not in jpeg[-64:]:
            _refuse(reading, 'is cut short', content, report)
        elif (width, height) != (reading.width, reading.height):
            _refuse(reading, f'is {width}x{height}, its sample_data record says {reading.width}x{reading.height}', content, report)
        elif intrinsics is None:
            raise BrokenTree(f'{reading.path}: the calibrated_sensor record of {reading.channel} has no camera_intrinsic')
        else:
            bag.image(reading.stamp_ns, reading.channel, jpeg, (width, height), intrinsics)
            report.images += 1

    return _Event(reading.stamp_ns, 3, write)


def _sweep_event(reading: SampleData, previous_ns: int | None, poses: PoseTrack, content: BagContent, report: BagReport) -> _Event:
    def write(bag: BagWriter) -> None:
        raw = reading.path.read_bytes()
        if not raw or len(raw) % _POINT_BYTES:
            _refuse(reading, f'holds {len(raw)} bytes, no multiple of {_POINT_BYTES} (5 float32 a point)', content, report)
            return
        bag.points(reading.stamp_ns, LIDAR, _driver_points(np.frombuffer(raw, '<f4').reshape(-1, 5), reading, previous_ns, poses,
                                                           report))
        report.sweeps += 1

    return _Event(reading.stamp_ns, 2, write)


def _driver_points(points: np.ndarray, reading: SampleData, previous_ns: int | None, poses: PoseTrack,
                   report: BagReport) -> np.ndarray:
    """(M,) records of POINT_DTYPE of a sweep file's (M, 5) points."""
    turn_s = turn_time(reading.stamp_ns, previous_ns)
    start, end = (poses.at(reading.stamp_ns - round(1e9 * back)) @ reading.ego_from_sensor for back in (turn_s, 0.0))
    measured = as_measured(points, turn_s, start, end)
    records = np.zeros(len(points), POINT_DTYPE)
    if measured is None:
        report.untimed += 1
        records['x'], records['y'], records['z'] = points[:, :3].T
    else:
        records['x'], records['y'], records['z'] = measured[0].T
        records['time'] = measured[1]
    records['intensity'], records['ring'] = points[:, 3], points[:, 4]
    return records


def _refuse(reading: SampleData, trouble: str, content: BagContent, report: BagReport) -> None:
    if not content.skip_corrupt:
        raise BrokenTree(f'{reading.path} {trouble}: unpack its archive again, or go on without it: --skip-corrupt')
    report.left_out.append(str(reading.path))


def _truth_events(data: NuScenes, scene: Scene, copies: Path, content: BagContent, report: BagReport) -> Iterator[_Event]:
    folder = data.root / 'gts' / scene.name
    samples = data.samples(scene)
    files = {sample.token: folder / sample.token / 'labels.npz' for sample in samples}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if len(missing) == len(files):
        raise FileNotFoundError(f'{folder}: no Occ3D labels of {scene.name} there: unpack gts from {OCC3D_PAGE} into {data.root}, '
                                'or leave --truth out')
    if missing and not content.skip_corrupt:
        raise BrokenTree(f'{len(missing)} of {len(files)} Occ3D label files of {scene.name} are missing: {shortened(missing, 3)}. '
                         'Unpack gts again, or go on without them: --skip-corrupt')
    report.left_out += missing
    numbers: dict[str, int] = {}
    for sample in samples:
        if files[sample.token].is_file():
            yield _truth_event(data, sample, files[sample.token], copies, numbers, report)


def _truth_event(data: NuScenes, sample: Sample, file: Path, copies: Path, numbers: dict[str, int], report: BagReport) -> _Event:
    reading = data.key_data(sample)[LIDAR]

    def write(bag: BagWriter) -> None:
        truth = read_truth(file)
        confidence = np.where(truth.mask_camera, 255, np.where(truth.mask_lidar, 128, 0)).astype(np.uint8)
        bag.true_voxels(reading.stamp_ns, truth.labels, confidence, OCC3D_GRID, SOURCE)
        bag.true_objects(reading.stamp_ns, true_objects(data, sample, reading.fixed_from_ego, numbers), SOURCE)
        copies.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copies / f'{reading.stamp_ns}.npz')
        report.truths += 1

    return _Event(reading.stamp_ns, 4, write)

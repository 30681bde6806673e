"""Frames that engines are compared on: of generated streets, of a data set or of a bag, cut into sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from occ_perception.catalogue import KEY_FRAME_INTERVAL_S, NUSCENES_CAMERAS, NetworkEntry
from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.datasets.opening import DataSource, open_sequences, truth_folder
from occ_perception.geometry.transforms import inverse
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import OCC3D_NUSCENES
from occ_perception.runtime.frames import LidarSweep, SensorFrame
from occ_perception.runtime.intake.image import fit
from occ_perception.runtime.intake.rate_thinner import RateThinner

if TYPE_CHECKING:
    from occ_perception.datasets.sample_world.frame import WorldFrame
    from occ_perception.datasets.sample_world.street import Street

PER_SEQUENCE = 8
"""Frames that are taken of a sequence, from its beginning, before the next one's turn."""
STREETS_FROM = 500
"""First of the held-out streets that are generated for this; those below it are scored elsewhere."""
CALIBRATION_FROM = 600
"""First of the streets whose frames int8 is calibrated with: none that engines are compared on."""
_LEAD_S = 0.3


@dataclass(frozen=True)
class ParityFrame:
    """A frame with its pictures at network size. sequence: whose memory it belongs to. truth: None where it is not known."""

    sequence: str
    sensors: SensorFrame
    truth: OccupancyTruth | None


def generated_frames(row: NetworkEntry, count: int, on_frame: Callable[[], object] = lambda: None,
                     first_street: int = STREETS_FROM) -> list[ParityFrame]:
    """Key frames of streets of the sample world that training never saw, with LiDAR sweeps for networks that see by them.

    truth: of networks whose grid and labels are those of the streets. Raises ModuleNotFoundError without embreex, ValueError for
    cameras that the streets' vehicle does not have.
    """
    from occ_perception.datasets.sample_world import make_street, render_frame, sensor_frame
    from occ_perception.training.prepare import FIRST_HELD_OUT_STREET, TRAINING_IMAGE_SIZE

    if foreign := sorted(set(row.cameras) - set(NUSCENES_CAMERAS)):
        raise ValueError(f'{row.name} takes cameras that generated streets do not have ({", ".join(foreign)}): '
                         'name a data set or a bag')
    lidar = row.lidar if row.sees_by_lidar else None
    ages = () if lidar is None else lidar.ages_s
    lead_s = _LEAD_S + max(ages, default=0.0)
    known = row.grid == OCC3D_GRID and row.labels == OCC3D_NUSCENES
    frames = []
    for first in range(0, count, PER_SEQUENCE):
        seed = FIRST_HELD_OUT_STREET + first_street + first // PER_SEQUENCE
        many = min(PER_SEQUENCE, count - first)
        street = make_street(seed, lead_s + many * KEY_FRAME_INTERVAL_S)
        for k in range(many):
            frame = render_frame(street, lead_s + k * KEY_FRAME_INTERVAL_S, TRAINING_IMAGE_SIZE, row.cameras,
                                 lidar is not None, known, ages)
            truth = None if frame.truth is None else OccupancyTruth(
                frame.truth.semantics, frame.truth.mask_camera.astype(bool), frame.truth.mask_lidar.astype(bool))
            sensors = replace(sensor_frame(frame), sweeps=_sweeps(street, frame, ages))
            frames.append(ParityFrame(f'street {seed}', _fitted(row, sensors), truth))
            on_frame()
    return frames


def _sweeps(street: Street, frame: WorldFrame, ages_s: Sequence[float]) -> tuple[LidarSweep, ...]:
    """Sweeps of a rendered frame as a Predictor takes them; none where none were rendered."""
    from occ_perception.datasets.sample_world.rig import ego_from_lidar

    moments = [frame.time_s - age for age in (0.0, *ages_s)]
    return tuple(LidarSweep(round(1e9 * moment), points, inverse(frame.fixed_from_ego) @ street.ego_pose(moment) @ ego_from_lidar())
                 for moment, points in zip(moments, frame.points, strict=False))


def recorded_frames(row: NetworkEntry, source: DataSource, count: int,
                    on_frame: Callable[[], object] = lambda: None) -> list[ParityFrame]:
    """Frames of a data set. Raises what open_sequences raises, ValueError when the split has no frames."""
    sequences = open_sequences(source)
    taken = share_out([len(sequence) for sequence in sequences], count)
    if not sum(taken):
        raise ValueError(f'{source.root} has no frames in split {source.split}: choose another --split, or all')
    frames = []
    for sequence, many in zip(sequences, taken, strict=True):
        for index in range(many):
            frame = sequence.frame(index)
            frames.append(ParityFrame(sequence.name, _fitted(row, frame.sensors), frame.truth))
            on_frame()
    return frames


def bag_frames(row: NetworkEntry, bag: Path, count: int, on_frame: Callable[[], object] = lambda: None) -> list[ParityFrame]:
    """Frames of a bag at the network's rate, with truth where `occ world` or `occ bag --truth` wrote it beside the bag.

    Raises ValueError for a bag that cannot be read, lacks topics or holds no LiDAR sweep.
    """
    from occ_perception.datasets.bag_frames import BagFrames
    from occ_perception.datasets.occ3d import read_truth, truth_by_stamp

    opened = BagFrames(bag)
    thinner = RateThinner(row.rate_hz)
    stamps = [stamp for stamp in opened.lidar_stamps if thinner.due(stamp)][:count]
    if not stamps:
        raise ValueError(f'{bag} holds no LiDAR sweep, whose stamps are those of the frames')
    known = truth_by_stamp(truth_folder(bag)) if truth_folder(bag).is_dir() else {}
    frames = []
    for stamp in stamps:
        truth = read_truth(known[stamp]) if stamp in known else None
        frames.append(ParityFrame(bag.stem, _fitted(row, opened.frame(stamp)), truth))
        on_frame()
    return frames


def share_out(lengths: Sequence[int], count: int) -> list[int]:
    """How many frames of each sequence are taken: PER_SEQUENCE of each in turn, again and again, until there are enough."""
    taken = [0] * len(lengths)
    while count and any(length > some for length, some in zip(lengths, taken, strict=True)):
        for index, length in enumerate(lengths):
            more = min(PER_SEQUENCE, length - taken[index], count)
            taken[index] += more
            count -= more
    return taken


def by_sequence(frames: Sequence[ParityFrame]) -> Iterator[tuple[bool, ParityFrame]]:
    """Each frame with whether a sequence begins with it."""
    for before, frame in zip((None, *frames[:-1]), frames, strict=True):
        yield before is None or before.sequence != frame.sequence, frame


def _fitted(row: NetworkEntry, sensors: SensorFrame) -> SensorFrame:
    """The same with pictures at network size, which is how the Predictor would bring them."""
    cameras = {}
    for name, camera in sensors.cameras.items():
        if name in row.cameras:
            image, intrinsics = fit(camera.image, camera.intrinsics, row.preprocessing)
            cameras[name] = replace(camera, image=image, intrinsics=intrinsics)
    return replace(sensors, cameras=cameras)

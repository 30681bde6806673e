"""Finds out what kind of data set a folder holds and opens its sequences."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from occ_perception.datasets.bag_sequence import BagSequence
from occ_perception.datasets.nuscenes import NuScenes
from occ_perception.datasets.nuscenes_sequence import FrameOptions, NuScenesSequence
from occ_perception.datasets.nuscenes_splits import split_scenes
from occ_perception.datasets.occ3d import truth_by_stamp
from occ_perception.datasets.occ3d_waymo import is_waymo, open_waymo
from occ_perception.datasets.sequences import DrivingSequence


@dataclass(frozen=True)
class DataSource:
    """Where sequences come from; plain data that can be handed to another process.

    root: a nuScenes tree (official, or of `occ world`), Occ3D-Waymo with Waymo's sensors, or a bag of `occ world`. split: train,
    val, test, all or scene names with commas. version: table folder, may be left out when there is one. options: what a frame is
    made of.
    """

    root: Path
    split: str = 'val'
    version: str | None = None
    options: FrameOptions = field(default_factory=FrameOptions)


def open_sequences(source: DataSource) -> list[DrivingSequence]:
    """The sequences of a source, in its order; nothing but tables is read.

    Raises FileNotFoundError that tells where the data come from, ValueError for a split, scene or version that is not there.
    """
    if is_bag(source.root):
        truth = truth_by_stamp(truth_folder(source.root))
        return [BagSequence(source.root, truth, source.options.rate_hz, source.options.lidar)]
    if is_waymo(source.root):
        return list(open_waymo(source.root, source.split))
    tables = NuScenes(source.root, source.version)
    return [NuScenesSequence(tables, scene, source.options) for scene in split_scenes(tables, source.split)]


def is_bag(path: Path) -> bool:
    """Whether a path is a ROS 2 bag: an mcap or sqlite3 file, or a folder with one."""
    return path.suffix in ('.mcap', '.db3') or (path / 'metadata.yaml').is_file()


def truth_folder(bag: Path) -> Path:
    """Folder of truth by stamp beside a bag that `occ world` wrote: <root>/bags/<scene> -> <root>/truth/<scene>."""
    folder = bag.parent if bag.is_file() else bag
    return folder.parent.parent / 'truth' / folder.name

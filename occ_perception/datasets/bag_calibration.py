"""CameraInfo for bags of nuScenes scenes that were written without, out of the tables of the data set."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import ConnectionExtRosbag2
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from occ_perception.datasets.bag_reader import SECOND, Bag, absolute, header_frame, header_stamp_ns
from occ_perception.datasets.bag_writer import camera_info
from occ_perception.datasets.dialects import CAMERA_INFO, uncalibrated
from occ_perception.datasets.nuscenes import NuScenes, Sample

_FAR_NS = SECOND


def add_camera_info(bag: Path, data: NuScenes, out: Path, progress: Callable[[int, int], None] | None = None) -> tuple[Path, int]:
    """Copy a bag to the folder out/<its name> as mcap, with a CameraInfo before every picture of a camera that has none.

    The scene is found by the stamps of the pictures, which converters take from the tables. Everything else is copied byte by byte,
    with the times of recording. progress: told (messages copied, of how many). Returns the new bag and how many CameraInfo were
    added. Raises ValueError when there is nothing to add, the new bag is there already, or no scene was driven at that time.
    """
    path = out / bag.stem
    if path.exists():
        raise ValueError(f'{path} exists already: delete it, or give another --out')
    store = get_typestore(Stores.ROS2_JAZZY)
    with Bag(bag) as opened:
        dialect, cameras = uncalibrated(opened.topics)
        if not cameras:
            raise ValueError(f'{bag}: every camera whose pictures are recognised has CameraInfo; there is nothing to add')
        names = {f'/{dialect.image_topic(camera)}': camera for camera in cameras}
        first = next(opened.messages(set(names)))
        readings = data.key_data(_sample_at(data, header_stamp_ns(first.data), bag))
        partial = out / f'.{bag.stem}.partial' / bag.stem
        shutil.rmtree(partial.parent, ignore_errors=True)
        partial.parent.mkdir(parents=True)
        added, total = 0, sum(connection.msgcount for connection in opened.connections)
        try:
            with Writer(partial, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
                copied = _same_connections(opened, writer)
                infos = {topic: writer.add_connection(f'/{dialect.info_topic(camera)}', CAMERA_INFO, typestore=store)
                         for topic, camera in names.items()}
                for number, message in enumerate(opened.messages()):
                    if message.topic in names:
                        reading = readings[names[message.topic]]
                        assert reading.intrinsics is not None
                        info = camera_info(header_stamp_ns(message.data), header_frame(message.data),
                                           (reading.width, reading.height), reading.intrinsics)
                        writer.write(infos[message.topic], message.recorded_ns, store.serialize_cdr(info, CAMERA_INFO))
                        added += 1
                    writer.write(copied[message.topic], message.recorded_ns, message.data)
                    if progress is not None:
                        progress(number + 1, total)
            partial.rename(path)
        finally:
            shutil.rmtree(partial.parent, ignore_errors=True)
    return path, added


def _sample_at(data: NuScenes, stamp_ns: int, bag: Path) -> Sample:
    """The key frame nearest to a stamp."""
    samples = [Sample(record['token'], 1000 * record['timestamp'], record['scene_token']) for record in data.table('sample')]
    apart = np.abs(np.array([sample.stamp_ns for sample in samples], np.int64) - stamp_ns)
    if not len(apart) or apart.min() > _FAR_NS:
        raise ValueError(f'{data.root} ({data.version}) has no scene that was driven at {stamp_ns / SECOND:.3f} s, when the first '
                         f'picture of {bag} was taken: is the scene of another version?')
    return samples[int(apart.argmin())]


def _same_connections(opened: Bag, writer: Writer) -> dict[str, Any]:
    """The connections of a bag once more, by topic."""
    copied = {}
    for connection in opened.connections:
        assert isinstance(connection.ext, ConnectionExtRosbag2)
        topic = absolute(connection.topic)
        copied[topic] = writer.add_connection(topic, connection.msgtype, msgdef=connection.msgdef.data, rihs01=connection.digest,
                                              offered_qos_profiles=connection.ext.offered_qos_profiles)
    return copied

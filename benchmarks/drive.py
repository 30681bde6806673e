"""The bag that live benchmarks play: six JPEG cameras, a LiDAR and poses of a generated street, as a vehicle would record them.

Pictures and the sweep are rendered for one moment and come again and again with new stamps: what is in them costs nothing to a live
system that looks at all of it anyway.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import simplejpeg

from occ_perception.datasets.bag_writer import POINT_DTYPE, BagWriter
from occ_perception.datasets.sample_world import make_street, render_frame
from occ_perception.datasets.sample_world.frame import WorldFrame
from occ_perception.datasets.sample_world.lidar import LidarSweep
from occ_perception.datasets.sample_world.rig import CAMERA_RATE_HZ, CAMERAS, LIDAR_RATE_HZ, ego_from_camera, ego_from_lidar

STREET, TIME_S = 300_900, 1.0
JPEG_QUALITY = 75
"""Makes pictures of 1600x900 as large as those of nuScenes, some 150 kB."""
LIDAR = 'LIDAR_TOP'
POSE_RATE_HZ = 100
SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND


def moment(size: tuple[int, int]) -> WorldFrame:
    """The frame that is played; size: (width, height) of its pictures."""
    return render_frame(make_street(STREET, 30.0), TIME_S, size)


def jpegs_of(frame: WorldFrame) -> dict[str, bytes]:
    """Its pictures as JPEG files by camera."""
    return {name: simplejpeg.encode_jpeg(view.image, JPEG_QUALITY) for name, view in frame.cameras.items()}


def records_of(sweep: LidarSweep) -> np.ndarray:
    """Its sweep as records of POINT_DTYPE."""
    records = np.zeros(len(sweep.points), POINT_DTYPE)
    for column, name in enumerate('xyz'):
        records[name] = sweep.points[:, column]
    for name in ('intensity', 'ring', 'time'):
        records[name] = getattr(sweep, name)
    return records


def write_drive(path: Path, frame: WorldFrame, seconds: float) -> list[int]:
    """Write the bag; returns the stamps of its sweeps [ns]."""
    street, jpegs = make_street(STREET, 30.0), jpegs_of(frame)
    assert frame.sweep is not None
    records = records_of(frame.sweep)
    events: list[tuple[int, str]] = []
    for name, rate_hz, offset_s in ((LIDAR, LIDAR_RATE_HZ, 0.0), ('', POSE_RATE_HZ, 0.0), *(
            (name, CAMERA_RATE_HZ, mount.exposure_offset_s) for name, mount in CAMERAS.items())):
        events += [(START_NS + round(SECOND * (TIME_S + offset_s + i / rate_hz)), name) for i in range(round(rate_hz * seconds))]
    sweeps = []
    with BagWriter(path) as bag:
        bag.static_transforms(START_NS, [(LIDAR, ego_from_lidar()), *((name, ego_from_camera(name)) for name in CAMERAS)])
        for step in range(round(TIME_S * POSE_RATE_HZ)):
            bag.ego_pose(START_NS + step * SECOND // POSE_RATE_HZ, street.ego_pose(step / POSE_RATE_HZ))
        for stamp, name in sorted(events):
            if not name:
                bag.ego_pose(stamp, street.ego_pose((stamp - START_NS) / SECOND))
            elif name == LIDAR:
                bag.points(stamp, LIDAR, records)
                sweeps.append(stamp)
            else:
                view = frame.cameras[name]
                bag.image(stamp, name, jpegs[name], view.image.shape[1::-1], view.intrinsics)
    return sweeps

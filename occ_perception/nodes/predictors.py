"""What serves in the `occupancy` node: the network, and what stands in for it while an input is dead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rclpy.logging import get_logger

from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.engines.protocol import TABLES
from occ_perception.nodes.serving import PredictorLike
from occ_perception.runtime.fallback import MASK, NO_CAMERAS, NO_LIDAR, FallbackPredictor, check_stand_in
from occ_perception.runtime.frames import CameraImage, LidarSweep, SensorFrame
from occ_perception.runtime.tracking import Tracker


def make_predictor(network: str, weights: str, values: Mapping[str, Any]) -> PredictorLike:
    """The real Predictor with the node's parameter values, and what stands in for it; imported only when a network is loaded."""
    from occ_perception.runtime.predictor import Predictor

    def loaded(name: str, given: str, tracker: Tracker | None = None) -> Predictor:
        predictor = Predictor(name, values['backend'], given or None, memory=values['memory'],
                              max_gap_s=values['memory_max_gap'], published_centers=values['published_centers'],
                              precision=values['precision'], wait=False, tracker=tracker,
                              published_motion=values['published_motion'],
                              sparse=values['sparse_convolution'] if entry(name).sees_by_lidar else TABLES)
        predictor.predict(blank_frame(predictor.entry))  # the first run of an engine takes much longer than the next ones
        predictor.reset()
        get_logger('occupancy').info(f'{predictor.entry.name} runs in {predictor.engine.description}')
        return predictor

    whole = loaded(network, weights)
    if not whole.entry.sees_by_lidar or not whole.entry.cameras:
        return whole
    stand_ins: dict[str, PredictorLike] = {}
    for lacking, what in ((NO_LIDAR, 'lidar'), (NO_CAMERAS, 'cameras')):
        name = values[f'fallback_without_{what}']
        if name:
            check_stand_in(whole.entry, lacking, name)
            stand_ins[lacking] = whole if name == MASK else loaded(name, values[f'weights_without_{what}'], whole.tracker)
    return FallbackPredictor(whole, stand_ins, values['fallback_hold'])


def blank_frame(entry: NetworkEntry) -> SensorFrame:
    """A frame of black pictures at network size, of an empty sweep for networks without cameras: to warm up an engine.

    The cameras are high above the grid and see none of it: no object is found, and none of the ids is used up.
    """
    height, width = entry.preprocessing.input_height, entry.preprocessing.input_width
    intrinsics = np.array([[width / 2, 0, width / 2], [0, width / 2, height / 2], [0, 0, 1]])
    ego_from_camera = np.eye(4)
    ego_from_camera[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    ego_from_camera[2, 3] = 1000.0
    picture = np.zeros((height, width, 3), np.uint8)
    cameras = {name: CameraImage(name, 0, picture, intrinsics, ego_from_camera, np.eye(4)) for name in entry.cameras}
    nothing = LidarSweep(0, np.zeros((0, 6), np.float32), np.eye(4))
    return SensorFrame(0, np.eye(4), cameras, () if cameras else (nothing,))

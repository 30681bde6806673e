"""What benchmarks run: a network of the catalogue, and the frame it is asked about when its whole past is known.

Imports PyTorch and NumPy, but no other runtime.
"""

from __future__ import annotations

import numpy as np
import torch

from occ_perception.catalogue import NetworkEntry
from occ_perception.checkpoints import load_weights
from occ_perception.engines.example_inputs import example_rig
from occ_perception.engines.protocol import Engine, PlacedFrame
from occ_perception.engines.select import shipped_file
from occ_perception.geometry.transforms import matrix
from occ_perception.networks.build import build_camera_network
from occ_perception.networks.configs import config_of
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.runtime.memory import CameraSet, Remembered, TemporalMemory
from occ_perception.runtime.sequence import place_frames


def network_of(row: NetworkEntry) -> FlashOcc:
    """The network with its shipped weights, or seeded random ones."""
    torch.manual_seed(0)
    network = build_camera_network(row.name)
    if row.weights:
        load_weights(network, shipped_file(row.weights + '.safetensors'))
    return network.eval()


def full_memory(engine: Engine, row: NetworkEntry, images: np.ndarray,
                rig: tuple[np.ndarray, np.ndarray] | None = None) -> list[PlacedFrame]:
    """The sequence of a frame whose whole past the engine has seen: a drive at 8 m/s through key frames.

    rig: intrinsics (N, 3, 3) and mounts (N, 4, 4) of the cameras, None for those of example_rig.
    """
    intrinsics, mounts = rig or example_rig(row)
    memory = TemporalMemory(row.history)
    aware = config_of(row.name).depth != 'plain'
    for step in range(row.frames + row.history.stereo):
        fixed_from_ego = matrix(np.eye(3), (4.0 * step, 0, 0))
        cameras = CameraSet(intrinsics, mounts, fixed_from_ego @ mounts, np.ones(len(mounts), bool))
        past = memory.recall(step * 500_000_000)
        places = place_frames(row, aware, cameras, fixed_from_ego, past, tables_of=getattr(engine, 'tables_of', None))
        if step < row.frames + row.history.stereo - 1:
            found = engine.infer(images, places)
            if found.memory is not None:
                matched = bool(past) and past[0] is not None
                memory.add(Remembered(step * 500_000_000, fixed_from_ego, cameras, found.memory, matched))
    return places

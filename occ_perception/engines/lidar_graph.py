"""What is exported of a network with a LiDAR branch: voxels with their tables, and what its cameras see, to labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.example_inputs import FrameDrive, example_rig
from occ_perception.engines.graph_engine import FLOW, HINTS, PAST, PREPARED, VOXELS
from occ_perception.engines.graphs import LiftingGraph
from occ_perception.engines.protocol import LidarInput
from occ_perception.geometry.column_lift import LiftCaps
from occ_perception.networks.build import LidarNetwork
from occ_perception.networks.configs import takes_camera_vectors
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.sparse_encoder import SparseTensors
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.lidar_input import lidar_input
from occ_perception.runtime.memory import CameraSet

EXAMPLE_POINTS = 20_000
RINGS = 32


class LidarGraph(LiftingGraph):
    """A network in one graph, with exact memory where it has any; its clouds have room for the branch's caps.

    slots: of the lift tables, None for a network without cameras: it takes voxels and their tables alone.
    """

    def __init__(self, network: LidarNetwork, slots: int | None) -> None:
        config = network.config
        super().__init__(slots or 0, takes_camera_vectors(config))
        self.network, self.sees, self.past = network, slots is not None, config.past_frames
        self.spec = config.lidar.sparse
        past = [PAST] if self.past else []
        self.inputs = [*(['images', *self.geometry, *past, HINTS] if self.sees else []), VOXELS, *self.spec.names]
        self.outputs = ['labels', *([FLOW] if getattr(config, 'flow', False) else []), *([PREPARED] if self.past else [])]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = self.named(inputs)
        network = self.network
        maps, memory = [], []
        if self.sees:
            own = network.frame_features(given['images'][None]).prepared
            hinted = network.hint_features(given[HINTS][None])
            frames = [own, *(given[PAST][age:age + 1] for age in range(self.past))]
            for age, prepared in enumerate(frames):
                tables, cameras = self.placed(given, age if self.past else None)
                maps.append(network.frame_map(prepared, tables, cameras, hinted)[0])
            memory = [own[0]] if self.past else []
        points = network.lidar_map(given[VOXELS], SparseTensors.of(given, self.spec))
        labels, flow = network.decide(maps, points)
        return labels[0].byte(), *(() if flow is None else (flow[0],)), *memory


class LidarDrive(FrameDrive):
    """Of a network with a LiDAR branch: a floor with posts around the vehicle, beside the example images."""

    network: LidarNetwork

    def __init__(self, network: LidarNetwork, row: NetworkEntry, caps: LiftCaps | None) -> None:
        super().__init__(network, row, caps)
        self._padded = self._cloud(network.config.lidar.caps)

    def _feed(self, name: str, stacked: bool) -> np.ndarray:
        if name == HINTS:
            assert self._padded.hints is not None
            return self._padded.hints
        if name == VOXELS:
            return self._padded.voxels
        return self._padded.tables[name] if name in self._padded.tables else super()._feed(name, stacked)

    def _cloud(self, caps: tuple[int, ...] | None) -> LidarInput:
        """The example's points, with room for the caps."""
        random = np.random.default_rng(0)
        reach, angle = random.uniform(2, 39, EXAMPLE_POINTS), random.uniform(0, 2 * np.pi, EXAMPLE_POINTS)
        points = np.zeros((EXAMPLE_POINTS, 6), np.float32)
        points[:, 0], points[:, 1] = reach * np.cos(angle), reach * np.sin(angle)
        points[:, 2] = np.where(np.floor(reach) % 7 == 0, random.uniform(0, 3, EXAMPLE_POINTS), 0)
        points[:, 3] = random.uniform(0, 100, EXAMPLE_POINTS)
        points[:, 4] = random.integers(0, RINGS, EXAMPLE_POINTS)
        intrinsics, poses = example_rig(self.row)
        cameras = CameraSet(intrinsics, poses, poses, np.ones(len(poses), bool))
        return lidar_input(self.row, self.network.config.lidar, (LidarSweep(0, points, np.eye(4)),), cameras, np.eye(4), caps)[0]

    def _pass(self) -> None:
        network, branch = self.network, self.network.config.lidar
        given = self._cloud(None)  # rows without a voxel are to give no statistics
        maps = []
        if self.row.cameras:
            assert given.hints is not None
            own = network.frame_map(self._features[0].prepared, LiftTensors.stack(self._placed[:1]), self._aware,
                                    network.hint_features(torch.from_numpy(given.hints)[None]))[0]
            maps = [own] * self.row.frames
        points = network.lidar_map(torch.from_numpy(given.voxels), SparseTensors.from_arrays(given.tables, branch.sparse))
        network.decide(maps, points)

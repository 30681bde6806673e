"""What is exported of a network of cameras and LiDAR: pictures, geometry, depth hints and voxels with their tables to labels."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.example_inputs import example_inputs, example_rig
from occ_perception.engines.graph_engine import FLOW, HINTS, VOXELS
from occ_perception.engines.graphs import ExportedGraph
from occ_perception.geometry.column_lift import LiftCaps, LiftTables
from occ_perception.networks.effocc.network import EffOcc
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.sparse_encoder import SparseTensors
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.lidar_input import lidar_input
from occ_perception.runtime.memory import CameraSet

EXAMPLE_POINTS = 20_000


class LidarGraph(ExportedGraph):
    """A network of the present frame in one graph; its clouds have room for the branch's caps."""

    def __init__(self, network: EffOcc, slots: int) -> None:
        nn.Module.__init__(self)
        self.both, self.slots = network, slots
        self.spec = network.config.lidar.sparse
        self.inputs = ['images', *LiftTables.NAMES, HINTS, VOXELS, *self.spec.names]
        self.outputs = ['labels', *([FLOW] if network.config.flow else [])]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = self.named(inputs)
        network = self.both
        tables = LiftTensors(slots=self.slots, **{name: given[name][None] for name in LiftTables.NAMES})
        seen, _ = network.frame_map(network.frame_features(given['images'][None]).prepared, tables, None,
                                    network.hint_features(given[HINTS][None]))
        points = network.lidar_map(given[VOXELS], SparseTensors.of(given, self.spec))
        labels, flow = network.decide([seen], points)
        return labels[0].byte(), *(() if flow is None else (flow[0],))


class LidarExample:
    """Inputs that the graph is traced and checked with: example pictures, and a floor with posts around the vehicle."""

    def __init__(self, network: EffOcc, row: NetworkEntry, caps: LiftCaps) -> None:
        images, tables = example_inputs(row, caps)
        intrinsics, poses = example_rig(row)
        random = np.random.default_rng(0)
        reach, angle = random.uniform(2, 39, EXAMPLE_POINTS), random.uniform(0, 2 * np.pi, EXAMPLE_POINTS)
        points = np.zeros((EXAMPLE_POINTS, 6), np.float32)
        points[:, 0], points[:, 1] = reach * np.cos(angle), reach * np.sin(angle)
        points[:, 2] = np.where(np.floor(reach) % 7 == 0, random.uniform(0, 3, EXAMPLE_POINTS), 0)
        points[:, 3] = random.uniform(0, 100, EXAMPLE_POINTS)
        cameras = CameraSet(intrinsics, poses, poses, np.ones(len(poses), bool))
        branch = network.config.lidar
        given, _ = lidar_input(row, branch, (LidarSweep(0, points, np.eye(4)),), cameras, np.eye(4), branch.caps)
        assert given.hints is not None
        self._feeds = {'images': images, **{name: getattr(tables, name) for name in LiftTables.NAMES}, HINTS: given.hints,
                       VOXELS: given.voxels, **given.tables}

    def feeds(self, graph: ExportedGraph) -> dict[str, np.ndarray]:
        """Every input of a graph by name."""
        return {name: self._feeds[name] for name in graph.inputs}

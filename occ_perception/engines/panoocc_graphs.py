"""PanoOcc as an exported graph: plain tensors at the border, named as panoocc_graph_engine feeds them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.example_inputs import enliven, example_images, example_rig
from occ_perception.engines.graphs import ExportedGraph
from occ_perception.engines.panoocc_graph_engine import CLASS_SCORES, CODES, KNOWN, MAP, PAST_MAPS, SCORES, WARPS
from occ_perception.engines.panoocc_tables import MOTION
from occ_perception.geometry.ego_motion import motion_vector
from occ_perception.geometry.volume_lookup import AXES, HEIGHTS, grid_rows
from occ_perception.geometry.volume_warp import volume_warp
from occ_perception.geometry.voxel_views import ViewCaps, ViewTables, build_view_tables, query_points
from occ_perception.networks.panoocc.encoder import ViewTensors
from occ_perception.networks.panoocc.network import PanoOcc, occupancy_labels, panoptic_labels
from occ_perception.networks.parts.volume_warp import warp_volume


class PanoOccGraph(ExportedGraph):
    """Images and geometry in, labels out; with history, remembered volumes in and the present one out.

    The panoptic form also gives SCORES and CODES of its boxes and CLASS_SCORES, in which the host looks points up.
    """

    def __init__(self, network: PanoOcc) -> None:
        super().__init__()
        self.network = network
        config = network.config
        past = [PAST_MAPS, WARPS, KNOWN] if config.past_frames else []
        self.inputs = ['images', *ViewTables.NAMES, MOTION, *(AXES if config.panoptic else ()), *past]
        self.outputs = ['labels', *([SCORES, CODES, CLASS_SCORES] if config.panoptic else []), *([MAP] if past else [])]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.inputs, inputs, strict=True))
        network, config = self.network, self.network.config
        views = ViewTensors(*(given[name] for name in ViewTables.NAMES))
        volume = network.encode(network.pyramid(given['images'].float()), views, given[MOTION])
        past: list[Tensor] = []
        stand_in = volume
        for age in range(config.past_frames):
            # what is not known is what is younger, and the present frame in the end: a graph cannot leave it out
            known = given[KNOWN][age]
            stand_in = known * warp_volume(given[PAST_MAPS][age], given[WARPS][age]) + (1 - known) * stand_in
            past.append(stand_in)
        output = network.decode(volume, network.fuse(volume, past))
        memory = [output.volume] if past else []
        if output.occupied is not None:
            return occupancy_labels(output.logits, output.occupied), *memory
        labels = panoptic_labels(output.logits, [given[name] for name in AXES], HEIGHTS)
        return labels, *output.boxes, output.logits, *memory


def default_view_caps(network: PanoOcc) -> ViewCaps:
    """Room for rigs whose widest camera sees a third of the voxels, three cameras one voxel; on nuScenes a quarter, and two."""
    height, width, levels = network.config.queries
    return ViewCaps(height * width * levels // 3, 3)


def example_feeds(network: PanoOcc, row: NetworkEntry, caps: ViewCaps) -> dict[str, np.ndarray]:
    """Every input by name: example images, and a past that came from others, a metre behind each frame."""
    config = network.config
    intrinsics, poses = example_rig(row)
    height, width = row.preprocessing.tensor_size
    unit = np.diag([row.preprocessing.scale / width, row.preprocessing.scale / height, 1.0])
    points = query_points(config.queries, config.origin_m, config.extent_m)
    views = build_view_tables(points, unit @ intrinsics @ np.linalg.inv(poses)[:, :3], np.ones(len(poses), bool), caps)
    feeds = {'images': example_images(row)} | views.arrays() | {MOTION: motion_vector(np.eye(4), None)}
    if config.panoptic:
        feeds |= grid_rows(row.grid, config.queries, config.origin_m, config.extent_m)
    if config.past_frames:
        random = np.random.default_rng(0)
        shape = (config.past_frames, config.channels, config.queries[2], *config.queries[:2])
        moved = [np.eye(4) + (1 + age) * np.eye(4, k=3) * np.array([[1.0], [0], [0], [0]]) for age in range(config.past_frames)]
        feeds |= {PAST_MAPS: random.normal(size=shape).astype(np.float32),
                  WARPS: np.stack([volume_warp(move, config.origin_m, config.extent_m) for move in moved]),
                  KNOWN: np.arange(config.past_frames, 0, -1, dtype=np.float32).clip(0, 1)}
        feeds[KNOWN][1:] = 0
    return feeds


class PanoOccDrive:
    """See example_inputs.Drive."""

    def __init__(self, network: PanoOcc, row: NetworkEntry) -> None:
        self.network, self.row = network, row
        self._feeds = example_feeds(network, row, default_view_caps(network))

    def feeds(self, graph: ExportedGraph) -> dict[str, np.ndarray]:
        """See Drive.feeds."""
        return {name: self._feeds[name] for name in graph.inputs}

    def enliven(self) -> None:
        """See Drive.enliven."""
        graph = PanoOccGraph(self.network)
        enliven(self.network, lambda: graph(*map(torch.from_numpy, self.feeds(graph).values())))

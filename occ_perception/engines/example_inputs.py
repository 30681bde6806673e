"""Inputs, and weights, that an exported graph is traced and checked with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.graph_engine import BEFORE, CAMERAS, MATCHED, PAST, PAST_MAPS, PREPARED, STEREO, SWEEPS, WARPS
from occ_perception.engines.graphs import ExportedGraph
from occ_perception.geometry.camera_vector import camera_vectors, plane_sweeps, published_source
from occ_perception.geometry.column_lift import LiftCaps, LiftTables, build_lift_tables
from occ_perception.geometry.map_warp import map_warp
from occ_perception.geometry.transforms import matrix
from occ_perception.networks.build import LidarNetwork
from occ_perception.networks.configs import takes_camera_vectors
from occ_perception.networks.flashocc.network import FlashOcc, FrameFeatures
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.sparse_conv import SparseConv3d


def example_inputs(row: NetworkEntry, caps: LiftCaps, seed: int = 0) -> tuple[np.ndarray, LiftTables]:
    """Smooth random images (N, H, W, 3) uint8 and the lift tables of a ring of level cameras 1.5 m above the ground."""
    return example_images(row, seed), build_lift_tables(row.frustum, *example_rig(row), caps)


def example_images(row: NetworkEntry, seed: int = 0) -> np.ndarray:
    """Smooth random images (N, H, W, 3) uint8."""
    count, height, width = len(row.cameras), row.preprocessing.input_height, row.preprocessing.input_width
    random = np.random.default_rng(seed)
    coarse = torch.from_numpy(random.normal(0, 1, (count, 3, 8, 22))).float()
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode='bicubic')
    return (128 + 50 * smooth).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def example_rig(row: NetworkEntry) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics (N, 3, 3) and reference_from_camera (N, 4, 4) of a ring of cameras."""
    count, height, width = len(row.cameras), row.preprocessing.input_height, row.preprocessing.input_width
    intrinsics = np.array([[0.8 * width, 0, width / 2], [0, 0.8 * width, 0.3 * height], [0, 0, 1]])
    angles = 2 * np.pi * np.arange(count) / count + 0.01
    poses = [matrix(np.array([[np.sin(a), 0, np.cos(a)], [-np.cos(a), 0, np.sin(a)], [0, -1, 0]]),
                    (1 + 0.5 * np.cos(a), 0.5 * np.sin(a), 1.5)) for a in angles]
    return np.tile(intrinsics, (count, 1, 1)), np.reshape(poses, (count, 4, 4))


class Drive(Protocol):
    """What the exported graphs of one network are traced and checked with. row: of the network."""

    row: NetworkEntry

    def feeds(self, graph: ExportedGraph) -> dict[str, np.ndarray]:
        """Every input of a graph by name."""
        ...

    def enliven(self) -> None:
        """Give the network seeded random weights under which activations have unit scale at every depth.

        Labels then depend on what is seen, as they do in a trained network, and comparisons of backends mean something: freshly
        initialised layers let their input die away. Norms take the statistics of the example's first pass through them.
        """
        ...


class FrameDrive(ABC):
    """Of a network whose frames are lifted, and fused with past ones; see Drive.

    Example images, and a past that came from other images, half a metre behind each frame. What graphs share is computed once, in
    torch. caps: of the lift tables, None for a network without cameras.
    """

    def __init__(self, network: FlashOcc | LidarNetwork, row: NetworkEntry, caps: LiftCaps | None) -> None:
        self.network, self.row, self.caps = network, row, caps
        intrinsics, self._poses = example_rig(row)
        self._source, self._post = published_source(intrinsics, row.preprocessing.input_height, row.preprocessing.input_width)
        self._moved = np.stack([np.eye(4) - 0.5 * age * np.eye(4, k=3) for age in range(row.frames)])
        self._moved[:, 1:3, 3] = 0
        self._vectors = camera_vectors(self._source, self._post, self._poses)

    def feeds(self, graph: ExportedGraph) -> dict[str, np.ndarray]:
        """Every input of a graph by name."""
        stacked = PAST in graph.inputs or (MATCHED in graph.inputs and PAST_MAPS not in graph.inputs)
        return {name: self._feed(name, stacked) for name in graph.inputs}

    def _feed(self, name: str, stacked: bool) -> np.ndarray:
        """stacked: with an axis of frames, for what every frame has."""
        past = self.row.frames - 1
        if name in LiftTables.NAMES:
            of_frames = [getattr(tables, name) for tables in (self._placed if stacked else self._placed[:1])]
            return np.stack(of_frames) if stacked else of_frames[0]
        if name == CAMERAS:
            return np.stack([self._vectors] * (past + 1)) if stacked else self._vectors
        if name == PAST:
            return np.stack([self._features[1].prepared[0].numpy()] * past)
        assert name == 'images'
        return example_images(self.row)

    @cached_property
    def _placed(self) -> list[LiftTables]:
        return [build_lift_tables(self.row.frustum, self._source, pose @ self._poses, self.caps, network_from_source=self._post)
                for pose in self._moved]

    @cached_property
    def _features(self) -> tuple[FrameFeatures, FrameFeatures]:
        """Of the present images and of the other ones."""
        with torch.inference_mode():
            present, other = (self.network.frame_features(torch.from_numpy(example_images(self.row, seed))[None])
                              for seed in (0, 1))
        return present._replace(image=present.image[:0]), other._replace(image=other.image[:0])  # lets go of what nobody reads

    @property
    def _aware(self) -> Tensor | None:
        """Camera vectors (1, N, 27), of networks that take them."""
        return torch.from_numpy(self._vectors)[None] if takes_camera_vectors(self.network.config) else None

    @abstractmethod
    def _pass(self) -> None:
        """Run the network once, every layer in its order."""

    def enliven(self) -> None:
        """See Drive.enliven."""
        enliven(self.network, self._pass)
        predicter = getattr(self.network, 'occ_head', self.network).predicter
        assert isinstance(predicter, nn.Sequential)
        last = predicter[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.5)
        # the norms in front of them may have been settled on the way
        for name in ('_features', '_costs', '_past_map'):
            self.__dict__.pop(name, None)


def enliven(network: nn.Module, run: Callable[[], None]) -> None:
    """Random weights of unit scale, see Drive.enliven. run: sends the example through the network once."""
    torch.manual_seed(0)
    hooks, settled = [], set()

    @torch.no_grad()
    def settle(norm: nn.modules.batchnorm._BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        if norm in settled:
            return
        settled.add(norm)
        assert norm.running_mean is not None and norm.running_var is not None
        axes = [axis for axis in range(inputs[0].dim()) if axis != 1]
        norm.running_mean.copy_(inputs[0].mean(axes))
        # a pooled sample or two may be nearly the same: that would amplify rounding
        norm.running_var.copy_(inputs[0].var(axes, correction=0).clamp(min=0.1))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features ** -0.5)
        elif isinstance(module, SparseConv3d):
            nn.init.normal_(module.weight, std=(module.weight[0].numel() / 2) ** -0.5)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.bias, std=0.2)
            hooks.append(module.register_forward_pre_hook(settle))
    with torch.inference_mode():
        run()
    for hook in hooks:
        hook.remove()


class ExampleDrive(FrameDrive):
    """Of a network of the BEVDet line."""

    network: FlashOcc

    def _feed(self, name: str, stacked: bool) -> np.ndarray:
        past = self.row.frames - 1
        if name == PREPARED:
            own, other = (features.prepared[0].numpy() for features in self._features)
            return np.stack([own, *[other] * past]) if stacked else own
        if name == MATCHED:
            return np.stack([self._costs.numpy()] * (past + 1)) if stacked else self._costs.numpy()
        if name in (STEREO, BEFORE):
            features = self._features[name == BEFORE].stereo
            assert features is not None
            return features[0].numpy()
        if name == SWEEPS:
            return self._sweeps
        if name == PAST_MAPS:
            return np.stack([self._past_map.numpy()] * past)
        if name == WARPS:
            return np.stack([map_warp(np.linalg.inv(pose), self.row.grid) for pose in self._moved[1:]])
        return super()._feed(name, stacked)

    @cached_property
    def _sweeps(self) -> np.ndarray:
        return plane_sweeps(self._source, self._post, np.linalg.inv(self._poses) @ np.linalg.inv(self._moved[1]) @ self._poses)

    @cached_property
    def _costs(self) -> Tensor:
        present, other = (features.stereo for features in self._features)
        assert present is not None and other is not None
        with torch.inference_mode():
            return self.network.img_view_transformer.matched(present[0], other[0], torch.from_numpy(self._sweeps))

    @cached_property
    def _past_map(self) -> Tensor:
        return self._map_of(self._features[1])[0]

    def _map_of(self, features: FrameFeatures) -> Tensor:
        costs = self._costs[None] if self.network.config.depth == 'stereo' else None
        with torch.inference_mode():
            return self.network.frame_map(features.prepared, LiftTensors.stack(self._placed[:1]), self._aware, costs)[0]

    def _pass(self) -> None:
        self.network.decide([self._map_of(self._features[0])] * self.row.frames)

"""PyTorch as a backend for the networks that take LiDAR points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from occ_perception.engines.protocol import SPCONV, TABLES, FrameMemory, Inference, LidarInput, PlacedFrame
from occ_perception.engines.spconv_layers import SpconvPlaces, run_by_spconv
from occ_perception.networks.build import LidarNetwork
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.sparse_encoder import SparseTensors


class TorchLidarEngine:
    """Runs a network in float32, see Engine. Takes as many voxels as the cloud has. sparse: one of SPARSE_FORMS.

    Raises EngineUnavailable where spconv is asked for and is not there.
    """

    def __init__(self, network: LidarNetwork, sparse: str = TABLES) -> None:
        self.finds_neighbours = sparse == SPCONV
        if self.finds_neighbours:
            run_by_spconv(network)
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self._network = network.to(self._device).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        device = torch.cuda.get_device_name() if self._device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
        self.description = f'torch {torch.__version__}, {device}, f32' + (', spconv' if self.finds_neighbours else '')

    @torch.inference_mode()
    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer. Raises ValueError without LiDAR input."""
        if lidar is None:
            raise ValueError('this network takes LiDAR points: none were given')
        network = self._network
        points = network.lidar_map(torch.from_numpy(lidar.voxels).to(self._device), self._neighbours(lidar))
        maps: dict[int, Tensor] = {}
        memory = None
        if frames:
            assert lidar.hints is not None
            features = network.frame_features(self._tensor(images))
            hinted = network.hint_features(self._tensor(lidar.hints))
            for frame in frames:
                if id(frame) in maps:
                    continue
                assert frame.tables is not None
                prepared = features.prepared if frame.memory is None else frame.memory.prepared
                cameras = None if frame.cameras is None else self._tensor(frame.cameras)
                tables = LiftTensors.from_arrays(frame.tables, self._device)
                maps[id(frame)] = network.frame_map(prepared, tables, cameras, hinted)[0]
            memory = FrameMemory(features.prepared)
        labels, flow = network.decide([maps[id(frame)] for frame in frames], points)
        return Inference(labels[0].byte().cpu().numpy(), None, memory, None if flow is None else flow[0].float().cpu().numpy())

    def _neighbours(self, lidar: LidarInput) -> Any:
        spec = self._network.config.lidar.sparse
        if self.finds_neighbours:
            assert lidar.coords is not None
            return SpconvPlaces(torch.from_numpy(lidar.coords).to(self._device), spec)
        return SparseTensors.from_arrays(lidar.tables, spec, self._device)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))[None].to(self._device)

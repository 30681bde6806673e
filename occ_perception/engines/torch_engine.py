"""PyTorch itself as a backend: any network of the catalogue, on the GPU where there is one, else on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from occ_perception.catalogue import NetworkEntry
from occ_perception.checkpoints import load_weights
from occ_perception.engines.panoocc_engine import PanoOccEngine
from occ_perception.engines.protocol import TABLES, CenterArrays, FrameMemory, Inference, LidarInput, Match, PlacedFrame
from occ_perception.engines.torch_lidar_engine import TorchLidarEngine
from occ_perception.networks.build import build_network
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.panoocc.network import PanoOcc
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.warp import warp_map

ALL_THREADS = torch.get_num_threads()
"""All cores, or what the environment says (OMP_NUM_THREADS)."""


def open_torch(row: NetworkEntry, weights: Path | None, threads: int | None = None,
               sparse: str = TABLES) -> TorchEngine | TorchLidarEngine | PanoOccEngine:
    """A network with its weights: a checkpoint, or None for seeded random ones. threads: None for all, whatever an engine before it
    took, for PyTorch has one number for all of them. sparse: see open_engine."""
    torch.set_num_threads(threads or ALL_THREADS)
    torch.manual_seed(0)
    built = build_network(row)
    if weights is not None:
        load_weights(built, weights)
    engine: TorchEngine | TorchLidarEngine | PanoOccEngine
    if isinstance(built, PanoOcc):
        engine = PanoOccEngine(built)
    else:
        engine = TorchEngine(built) if isinstance(built, FlashOcc) else TorchLidarEngine(built, sparse)
    engine.description += '' if weights else ', RANDOM WEIGHTS'
    return engine


class TorchEngine:
    """Runs a network in float32, see Engine. channels_last: memory layout of 2D convolutions, faster so on CPUs and GPUs."""

    def __init__(self, network: FlashOcc, channels_last: bool = True) -> None:
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self._network = network.to(self._device).eval()
        for module in network.modules():  # volumes have five axes and stay as they are
            if isinstance(module, torch.nn.Conv2d):
                layout = torch.channels_last if channels_last else torch.contiguous_format
                module.to(memory_format=layout)  # type: ignore[call-overload]
        device = torch.cuda.get_device_name() if self._device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
        self.description = f'torch {torch.__version__}, {device}, f32'

    @torch.inference_mode()
    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer."""
        features = self._network.frame_features(self._tensor(images))
        present = FrameMemory(features.prepared, features.stereo)
        matched: dict[int, Tensor] = {}
        maps: dict[int, Tensor] = {}
        for frame in frames:
            if id(frame) in maps:
                continue
            memory = frame.memory or present
            if frame.warp is not None:
                maps[id(frame)] = warp_map(memory.map, self._tensor(frame.warp))
                continue
            costs = memory.matched if frame.match is None else self._match(memory, frame.match, present)
            matched[id(frame)] = costs
            assert frame.tables is not None
            cameras = None if frame.cameras is None else self._tensor(frame.cameras)
            tables = LiftTensors.from_arrays(frame.tables, self._device)
            maps[id(frame)] = self._network.frame_map(memory.prepared, tables, cameras, costs)[0]
        labels, centers = self._network.decide([maps[id(frame)] for frame in frames])
        first = id(frames[0])
        found = None if centers is None else CenterArrays(*(x[0].cpu().numpy() for x in centers))
        return Inference(labels[0].byte().cpu().numpy(), found,
                         FrameMemory(features.prepared, features.stereo, matched[first], maps[first]))

    def _match(self, memory: FrameMemory, match: Match, present: FrameMemory) -> Tensor:
        before = match.before or present
        transformer = self._network.img_view_transformer
        return transformer.matched(memory.stereo[0], before.stereo[0], torch.from_numpy(match.sweeps).to(self._device))[None]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))[None].to(self._device)

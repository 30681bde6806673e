"""One frame of a network as one PyTorch module of device tensors: what every torch column of the GPU benchmark runs.

The module calls the graphs that are exported to ONNX, so that PyTorch and TensorRT compute the same thing: present images, the
geometry of every frame and all remembered features in, labels and the features to remember out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.graph_engine import BEFORE, CAMERAS, MATCHED, PAST, PREPARED, STEREO, SWEEPS
from occ_perception.engines.graphs import EncodeGraph, FuseGraph, MatchGraph, WholeGraph
from occ_perception.engines.protocol import FrameMemory, PlacedFrame
from occ_perception.geometry.column_lift import LiftTables
from occ_perception.networks.flashocc.network import FlashOcc

_PAST_MATCHED = 'past_matched'


class FrameStep(nn.Module):
    """forward(*tensors in the order of `inputs`) -> (labels, maps of instance centres, features to remember)."""

    def __init__(self, network: FlashOcc, slots: int) -> None:
        super().__init__()
        self.network = network
        self._stereo = network.config.depth == 'stereo'
        if self._stereo:
            self._encode, self._match = EncodeGraph(network, slots), MatchGraph(network, slots)
            self._fuse = FuseGraph(network, slots)
            self.inputs = ['images', *self._fuse.geometry, BEFORE, SWEEPS, PAST, _PAST_MATCHED]
        else:
            self._whole = WholeGraph(network, slots)
            self.inputs = list(self._whole.inputs)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        if not self._stereo:
            return self._whole(*tensors)
        given = dict(zip(self.inputs, tensors, strict=True))
        prepared, stereo = self._encode(given['images'])
        costs = self._match(stereo, given[BEFORE], given[SWEEPS])
        given |= {PREPARED: torch.cat([prepared[None], given[PAST]]), MATCHED: torch.cat([costs[None], given[_PAST_MATCHED]]),
                  STEREO: stereo}
        return *self._fuse(*(given[name] for name in self._fuse.inputs)), prepared, stereo, costs


def frame_tensors(step: FrameStep, row: NetworkEntry, images: np.ndarray, places: Sequence[PlacedFrame],
                  device: torch.device) -> list[Tensor]:
    """The step's inputs on a device. places: of full_memory with a torch engine, so that the memory is in torch tensors.

    Raises ValueError where the past is not known: the figures are for networks that have seen their whole history.
    """
    past = [place.memory for place in places[1:] if place.memory is not None]
    if len(past) != row.frames - 1:
        raise ValueError(f'{row.name} looks at {row.frames - 1} past frames, {len(past)} are remembered')
    stacked = bool(past)
    tables = [place.tables or {} for place in places]
    given: dict[str, Tensor] = {'images': torch.from_numpy(images)}
    for name in LiftTables.NAMES:
        every = [torch.from_numpy(table[name]) for table in tables]
        given[name] = torch.stack(every) if stacked else every[0]
    cameras = [torch.from_numpy(place.cameras) for place in places if place.cameras is not None]
    if cameras:
        given[CAMERAS] = torch.stack(cameras) if stacked else cameras[0]
    if past:
        given[PAST] = torch.stack([_one(memory, 'prepared') for memory in past])
    match = places[0].match
    if match is not None:
        if match.before is None:
            raise ValueError(f'{row.name} is matched against the frame before, which is not remembered')
        given |= {BEFORE: _one(match.before, 'stereo'), SWEEPS: torch.from_numpy(match.sweeps),
                  _PAST_MATCHED: torch.stack([_one(memory, 'matched') for memory in past])}
    return [given[name].to(device) for name in step.inputs]


def _one(memory: FrameMemory, name: str) -> Tensor:
    """What is remembered of a frame, without the axis of batches."""
    return getattr(memory, name)[0]

"""What is exported of a network: modules with plain tensors at the border, named as graph_engine feeds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from occ_perception.engines.graph_engine import (
    BEFORE,
    CAMERAS,
    MAP,
    MATCHED,
    PAST,
    PAST_MAPS,
    PREPARED,
    STEREO,
    SWEEPS,
    WARPS,
    stage_files,
)
from occ_perception.engines.protocol import EXACT, WARPED
from occ_perception.geometry.column_lift import LiftTables
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.parts.center_head import CenterMaps
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.warp import warp_map


class ExportedGraph(nn.Module):
    """A graph with named inputs and outputs."""

    inputs: list[str]
    outputs: list[str]

    def named(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Inputs by name. TensorRT takes bytes only at the border: whatever is uint8 is cast first, and labels last."""
        return {name: tensor.float() if tensor.dtype == torch.uint8 else tensor
                for name, tensor in zip(self.inputs, inputs, strict=True)}


class LiftingGraph(ExportedGraph):
    """Of frames that lift tables place. slots: of the tables; camera_aware: whether frames have camera vectors."""

    def __init__(self, slots: int, camera_aware: bool) -> None:
        super().__init__()
        self.slots = slots
        self.geometry = [*LiftTables.NAMES, *([CAMERAS] if camera_aware else [])]

    def placed(self, given: dict[str, Tensor], age: int | None) -> tuple[LiftTensors, Tensor | None]:
        """Tables and camera vectors of one frame; age picks its row of stacked geometry, None where there is one frame only."""
        own = {name: given[name][None] if age is None else given[name][age:age + 1] for name in self.geometry}
        cameras = own.pop(CAMERAS, None)
        return LiftTensors(slots=self.slots, **own), cameras


class CameraGraph(LiftingGraph):
    """Of a network of the BEVDet line. network: whose parts it runs."""

    def __init__(self, network: FlashOcc, slots: int) -> None:
        config = network.config
        super().__init__(slots, config.depth != 'plain')
        self.network = network
        self.decided = ['labels'] + (list(CenterMaps._fields) if config.centers else [])

    def map_of(self, prepared: Tensor, given: dict[str, Tensor], age: int | None, matched: Tensor | None = None) -> Tensor:
        """Map of one frame; age as for `placed`."""
        tables, cameras = self.placed(given, age)
        return self.network.frame_map(prepared[None], tables, cameras, None if matched is None else matched[None])[0]

    def decide(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        """Labels as bytes, and the maps of instance centres."""
        labels, centers = self.network.decide(maps)
        return labels[0].byte(), *(() if centers is None else (x[0] for x in centers))


def graphs_of(network: FlashOcc, path: Path, slots: int, memory: str = EXACT) -> dict[Path, ExportedGraph]:
    """The files that a network becomes, the one that gives labels last; three with stereo, else one."""
    if network.config.depth != 'stereo':
        return {path: WholeGraph(network, slots, memory)}
    encode, match = stage_files(path)
    return {encode: EncodeGraph(network, slots), match: MatchGraph(network, slots), path: FuseGraph(network, slots, memory)}


class WholeGraph(CameraGraph):
    """Images in, labels out; with history, remembered features (exact) or maps (warped) in and those of the present frame out."""

    def __init__(self, network: FlashOcc, slots: int, memory: str = EXACT) -> None:
        super().__init__(network, slots)
        past = network.config.past_frames
        self.exact, self.warped = bool(past) and memory == EXACT, bool(past) and memory == WARPED
        self.inputs = ['images', *self.geometry, *([PAST] if self.exact else [PAST_MAPS, WARPS] if self.warped else [])]
        self.outputs = [*self.decided, *([PREPARED] if self.exact else [MAP] if self.warped else [])]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = self.named(inputs)
        past = range(self.network.config.past_frames)
        features = self.network.frame_features(given['images'][None]).prepared[0]
        maps = [self.map_of(features, given, 0 if self.exact else None)]
        if self.exact:
            maps += [self.map_of(given[PAST][age], given, age + 1) for age in past]
            return *self.decide(maps), features
        if self.warped:
            own = maps[0][0]
            maps += [warp_map(given[PAST_MAPS][age:age + 1], given[WARPS][age:age + 1]) for age in past]
            return *self.decide(maps), own
        return self.decide(maps)


class EncodeGraph(CameraGraph):
    """First of the three graphs of a stereo network: images of one frame to what is lifted and what is matched."""

    inputs, outputs = ['images'], [PREPARED, STEREO]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.frame_features(images.float()[None])
        assert features.stereo is not None
        return features.prepared[0], features.stereo[0]


class MatchGraph(CameraGraph):
    """Second: features of two frames to matching costs."""

    inputs, outputs = [STEREO, BEFORE, SWEEPS], [MATCHED]

    def forward(self, stereo: Tensor, before: Tensor, sweeps: Tensor) -> Tensor:
        return self.network.img_view_transformer.matched(stereo, before, sweeps)


class FuseGraph(CameraGraph):
    """Third: all frames, the present one first, to labels. With warped memory only the present one, and maps of the others."""

    def __init__(self, network: FlashOcc, slots: int, memory: str = EXACT) -> None:
        super().__init__(network, slots)
        self.exact = memory == EXACT
        self.inputs = [*self.geometry, PREPARED, MATCHED, *([] if self.exact else [PAST_MAPS, WARPS])]
        self.outputs = [*self.decided, *([] if self.exact else [MAP])]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = self.named(inputs)
        past = range(self.network.config.past_frames)
        if self.exact:
            return self.decide([self.map_of(given[PREPARED][age], given, age, given[MATCHED][age]) for age in range(len(past) + 1)])
        own = self.map_of(given[PREPARED], given, None, given[MATCHED])
        maps = [own, *(warp_map(given[PAST_MAPS][age:age + 1], given[WARPS][age:age + 1]) for age in past)]
        return *self.decide(maps), own[0]

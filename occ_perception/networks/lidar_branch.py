"""What is the same in every LiDAR branch: how a cloud becomes voxels, and the levels of the sparse encoder; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from occ_perception.geometry.neighbour_tables import Halving, SparseSpec
from occ_perception.geometry.voxelise import VoxelSpec


@dataclass(frozen=True)
class LidarBranch:
    """Voxels and sparse encoder of a network.

    voxels: how the cloud is cut. most: voxels that enter at most, in the order in which the cloud meets them; None: all of them.
    columns: of a point. widths: channels of each stage of submanifold convolutions. blocks: per stage. steps: strided convolutions,
    one behind each stage; where the last stage has none it closes the encoder. channels: what comes out, per cell of the last
    level. extra_layers: cells that the encoder's grid has beyond the box, along the first axis. scales: what each column is divided
    by before it enters, empty for none, as published. caps: voxels per level that exported networks have room for; clouds that need
    more lose their last voxels.
    """

    voxels: VoxelSpec
    most: int | None
    columns: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    steps: tuple[Halving, ...]
    channels: int
    caps: tuple[int, ...]
    extra_layers: int = 0
    scales: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks) or len(self.steps) not in (len(self.widths), len(self.widths) - 1):
            raise ValueError(f'LiDAR stages do not match: widths {self.widths}, blocks {self.blocks}, {len(self.steps)} steps')
        if len(self.caps) != len(self.steps) + 1:
            raise ValueError(f'caps {self.caps} of the LiDAR branch do not fit its {len(self.steps) + 1} levels')
        _ = self.sparse

    @property
    def sparse(self) -> SparseSpec:
        """Levels of the sparse encoder. Raises ValueError when the grid cannot be strided so often."""
        first, second, third = self.voxels.shape
        return SparseSpec((first + self.extra_layers, second, third), self.steps, submanifold=len(self.widths))

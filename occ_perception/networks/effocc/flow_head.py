"""Occupancy head that also tells how every voxel moves (BEVOCCFlowHead2D of EFFOcc)."""

from __future__ import annotations

from torch import Tensor, nn

from occ_perception.networks.parts.occupancy_head import OccupancyHead2d


class FlowOccupancyHead2d(OccupancyHead2d):
    """The head of EFFOcc with a second predictor on the same features. The last layer's rows are z * 2 + (x, y)."""

    def __init__(self, in_channels: int, channels: int, heights: int, classes: int) -> None:
        super().__init__(in_channels, channels, heights, classes)
        self.flow_predicter = nn.Sequential(nn.Linear(channels, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, 2 * heights))

    def flow(self, x: Tensor) -> Tensor:
        """Velocities (M, X, Y, Z, 2) along x and y of the map's frame, m/s, from the map (M, C, Y, X)."""
        return self._flow(self._features(x))

    def labels_and_flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Likeliest class (M, X, Y, Z) int64 and velocity (M, X, Y, Z, 2) of every voxel."""
        features = self._features(x)
        return self._decided(features), self._flow(features)

    def column_flow(self, x: Tensor, columns: Tensor) -> Tensor:
        """Velocities (K, Z, 2) of some columns only, by flat index (K,) into (M, X, Y); see column_logits."""
        features = self._features(x).permute(0, 3, 2, 1).flatten(0, 2)
        return self.flow_predicter(features.index_select(0, columns)).unflatten(-1, (self.heights, 2))

    def _flow(self, features: Tensor) -> Tensor:
        return self.flow_predicter(features.permute(0, 3, 2, 1)).unflatten(-1, (self.heights, 2))

"""Which voxels the cameras of a rig cover, kept from frame to frame: what lies outside is unknown."""

from __future__ import annotations

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.geometry.transforms import inverse
from occ_perception.geometry.visibility import camera_coverage
from occ_perception.runtime.memory import CameraSet


class Coverage:
    """Of the grid of a network's row, by its cameras; see geometry.visibility."""

    def __init__(self, row: NetworkEntry) -> None:
        self._grid = row.grid
        self._size = row.preprocessing.input_height, row.preprocessing.input_width
        self._reach_m = np.inf if row.lift is None else row.lift.depth_stop
        self._of_camera: dict[bytes, np.ndarray] = {}
        self._last: tuple[list[bytes], np.ndarray] = [], np.zeros(row.grid.shape, bool)

    def observed(self, cameras: CameraSet, ego_from_grid: np.ndarray) -> np.ndarray:
        """Voxels that one of the valid cameras covers, (nx, ny, nz) bool; the very same array as before while no camera moves.

        ego_from_grid: (4, 4) of the grid at the frame's stamp. Nobody may write to what comes back.
        """
        keys = []
        for index in np.flatnonzero(cameras.valid):
            grid_from_camera = inverse(ego_from_grid) @ cameras.ego_from_camera[index]
            keys.append(cameras.intrinsics[index].tobytes() + grid_from_camera.tobytes())
            if keys[-1] not in self._of_camera:
                if len(self._of_camera) > 4 * len(cameras.valid):
                    self._of_camera = {key: self._of_camera[key] for key in keys[:-1]}
                self._of_camera[keys[-1]] = camera_coverage(self._grid, cameras.intrinsics[index], grid_from_camera, self._size,
                                                            self._reach_m)
        if keys != self._last[0]:
            seen = np.zeros(self._grid.shape, bool)
            for key in keys:
                seen |= self._of_camera[key]
            self._last = keys, seen
        return self._last[1]

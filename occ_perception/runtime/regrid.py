"""Grids in one frame read in the voxels of another."""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.transforms import apply, inverse
from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import UNKNOWN
from occ_perception.runtime.frames import OccupancyPrediction


def on_grid(prediction: OccupancyPrediction, grid: VoxelGridSpec = OCC3D_GRID) -> tuple[np.ndarray, np.ndarray]:
    """Labels (nx, ny, nz) uint8 and instance ids uint16 of a prediction on a grid of the ego frame.

    Each voxel takes what the prediction says at its middle; UNKNOWN and 0 beyond the prediction's grid. The arrays themselves where
    the prediction is on that grid already.
    """
    if prediction.grid == grid and np.array_equal(prediction.ego_from_grid, np.eye(4)):
        return prediction.labels, prediction.instance_ids
    middles = apply(inverse(prediction.ego_from_grid), grid.centers().reshape(-1, 3))
    index, inside = prediction.grid.indices(middles)
    labels, ids = (np.where(inside, values[tuple(index.T)], values.dtype.type(outside)).reshape(grid.shape)
                   for values, outside in ((prediction.labels, UNKNOWN), (prediction.instance_ids, 0)))
    return labels, ids

"""Grids of one frame in the voxels of another."""

from __future__ import annotations

import numpy as np

from occ_perception.catalogue import LIDAR
from occ_perception.geometry.transforms import matrix
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import UNKNOWN
from occ_perception.runtime.frames import OccupancyPrediction
from occ_perception.runtime.regrid import on_grid

TURNED = VoxelGridSpec((-4.0, -4.0, -2.0), 0.5, (16, 16, 8))


def test_a_turned_grid_is_read_at_the_voxels_of_another() -> None:
    labels, ids = np.zeros(TURNED.shape, np.uint8), np.zeros(TURNED.shape, np.uint16)
    labels[10, 3, 5], ids[10, 3, 5] = 7, 9  # its middle is at (1.25, -2.25, 0.75) in the LiDAR's frame
    quarter = matrix(np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]), (1.0, 0.0, 2.0))
    prediction = OccupancyPrediction(0, 'x', TURNED, labels, ids, (), {}, LIDAR, quarter)
    # in the ego frame at (1 - 2.25, -1.25, 2.75)
    grid = VoxelGridSpec((-6.0, -6.0, 0.0), 0.5, (24, 24, 8))
    found, instances = on_grid(prediction, grid)
    where = (int((-1.25 + 6) / 0.5), int((-1.25 + 6) / 0.5), int(2.75 / 0.5))
    assert np.argwhere(found == 7).tolist() == [list(where)] and instances[where] == 9
    assert found[0, 0, 0] == UNKNOWN
    straight = OccupancyPrediction(0, 'x', TURNED, labels, ids, (), {})
    assert on_grid(straight, TURNED)[0] is labels

from __future__ import annotations

import numpy as np
import pytest

from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.runtime.planner_views import clearing_points, height_slice, obstacle_points, occupancy_grid, occupied_points

GRID = VoxelGridSpec((-4.0, -2.0, -1.0), 0.5, (16, 8, 8))
CAR, ROAD, MANMADE = 4, 11, 15
BAND = (0.2, 2.2)


def street() -> np.ndarray:
    """Road below, free above, a car ahead on the left, a bridge overhead, the rear unseen."""
    labels = np.full(GRID.shape, FREE, np.uint8)
    labels[:, :, :2] = ROAD
    labels[12, 6, 2:5] = CAR
    labels[8:, 2, 7] = MANMADE
    labels[:3] = UNKNOWN
    return labels


def test_height_band_picks_layers_by_their_centres() -> None:
    assert height_slice(GRID, *BAND) == slice(2, 6)
    assert height_slice(GRID, 0.24, 0.26) == slice(2, 3)
    assert height_slice(GRID, 50, 60) == slice(7, 8)


def test_grid_knows_free_occupied_and_unknown() -> None:
    cells = occupancy_grid(street(), GRID, *BAND)
    assert cells.shape == (8, 16)
    assert cells.dtype == np.int8
    assert cells[6, 12] == 100
    assert (cells[:, :3] == -1).all()
    assert cells[2, 10] == 0
    assert (cells == 100).sum() == 1


def test_partly_seen_column_is_free_and_an_obstacle_outweighs_unseen_voxels() -> None:
    labels = np.full(GRID.shape, UNKNOWN, np.uint8)
    labels[0, 0, 3] = FREE
    labels[1, 0, 3] = CAR
    cells = occupancy_grid(labels, GRID, *BAND)
    assert (cells[0, 0], cells[0, 1], cells[0, 2]) == (0, 100, -1)


def test_obstacles_are_voxel_centres_in_metres() -> None:
    points = obstacle_points(street(), GRID, *BAND)
    np.testing.assert_allclose(points, [[2.25, 1.25, 0.25], [2.25, 1.25, 0.75], [2.25, 1.25, 1.25]])


def test_clearing_stops_before_obstacles_and_unseen_space() -> None:
    labels = street()
    labels[12, :, 2:5] = CAR
    points = clearing_points(labels, GRID, *BAND)
    assert len(points) > 500
    index, inside = GRID.indices(points)
    assert inside.all()
    cells = occupancy_grid(labels, GRID, *BAND).T
    assert (cells[index[:, 0], index[:, 1]] == 0).all()
    ahead = points[np.abs(np.arctan2(points[:, 1], points[:, 0])) < 0.1]
    assert (ahead[:, 0] > 1.7).all()
    assert (ahead[:, 0] < 2.0).all()
    behind = points[points[:, 0] < 0]
    assert behind[:, 0].min() >= -2.5
    assert not len(clearing_points(np.full(GRID.shape, UNKNOWN, np.uint8), GRID, *BAND))


def test_occupied_points_keep_their_labels() -> None:
    points, labels = occupied_points(street(), GRID)
    assert set(labels) == {CAR, ROAD, MANMADE}
    car = points[labels == CAR]
    assert car[:, 2] == pytest.approx([0.25, 0.75, 1.25])

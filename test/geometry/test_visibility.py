"""Camera coverage marks what the frustum can reach, and nothing behind the camera or beyond its range."""

import numpy as np

from occ_perception.geometry.transforms import matrix
from occ_perception.geometry.visibility import camera_coverage
from occ_perception.geometry.voxel_grid import OCC3D_GRID

FORWARD = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
K = np.array([[278.0, 0, 176], [0, 278.0, 40], [0, 0, 1]])


def _covered(point, max_range_m=45.0):
    seen = camera_coverage(OCC3D_GRID, K, matrix(FORWARD, (1.7, 0, 1.5)), (128, 352), max_range_m)
    index, inside = OCC3D_GRID.indices(np.array([point]))
    assert inside.all()
    return bool(seen[tuple(index[0])])


def test_ahead_is_covered_and_behind_is_not():
    assert _covered((20.0, 0.0, 1.0))
    assert not _covered((-5.0, 0.0, 1.0))


def test_sides_end_at_the_image_border():
    edge = 20.0 * 176 / 278
    assert _covered((21.7, edge - 0.8, 1.0))
    assert not _covered((21.7, edge + 1.6, 1.0))


def test_range_and_blind_zone_below_the_image():
    assert not _covered((30.0, 0.0, 1.0), max_range_m=20.0)
    assert not _covered((2.5, 0.0, -0.5))


def test_rows_cropped_above_count_as_seen():
    assert _covered((8.0, 0.0, 2.9))

"""Connected components of thing voxels become instances."""

import numpy as np
import pytest
from scipy import ndimage

from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import FREE, THINGS
from occ_perception.runtime.instances import instances_from_labels


def _street(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    labels = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    labels[:, :, 2] = 11
    for _ in range(40):
        x, y = random.integers(5, 185, 2)
        labels[x:x + 11, y:y + 5, 3:7] = random.choice([4, 10, 3, 7, 15])
    return labels


@pytest.mark.parametrize('seed', [0, 1])
def test_components_are_those_of_scipy(seed):
    labels = _street(seed)
    ids, instances = instances_from_labels(labels, OCC3D_GRID, min_voxels=3)
    expected = 0
    for thing in THINGS:
        components, count = ndimage.label(labels == thing, np.ones((3, 3, 3)))
        sizes = np.bincount(components.ravel())[1:]
        expected += int((sizes >= 3).sum())
        for component in range(1, count + 1):
            found = np.unique(ids[components == component])
            assert len(found) == 1
            assert (found[0] == 0) == (sizes[component - 1] < 3)
    assert len(instances) == expected
    assert [i.id for i in instances] == list(range(1, expected + 1))
    assert not ids[~np.isin(labels, THINGS)].any()


def test_box_of_a_turned_car_lies_around_its_voxels():
    labels = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    along, across = np.array([np.cos(0.6), np.sin(0.6)]), np.array([-np.sin(0.6), np.cos(0.6)])
    offset = OCC3D_GRID.centers()[:, :, 3, :2] - np.array([8.0, -5.0])
    inside = (np.abs(offset @ along) < 2.4) & (np.abs(offset @ across) < 1.0)
    labels[:, :, 3:6][inside] = 4
    _, (car,) = instances_from_labels(labels, OCC3D_GRID)
    assert car.label == 4
    assert car.voxel_count == 3 * inside.sum()
    assert car.yaw_rad == pytest.approx(0.6, abs=0.08)
    assert car.center_m == pytest.approx((8.0, -5.0, 0.8), abs=0.2)
    assert car.size_m[0] == pytest.approx(4.8, abs=0.5)
    assert car.size_m[2] == pytest.approx(1.2, abs=1e-6)


def test_no_things_no_instances():
    ids, instances = instances_from_labels(np.full(OCC3D_GRID.shape, 11, np.uint8), OCC3D_GRID)
    assert not ids.any()
    assert instances == ()


def test_only_groups_that_are_too_small():
    labels = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    labels[50, 50, 3:5] = 4
    ids, instances = instances_from_labels(labels, OCC3D_GRID, min_voxels=3)
    assert not ids.any()
    assert instances == ()

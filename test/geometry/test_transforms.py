"""Rigid transforms against scipy, and the voxel grid's corners."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from occ_perception.geometry import transforms
from occ_perception.geometry.voxel_grid import OCC3D_GRID

ROTATIONS = Rotation.random(20, rng=np.random.default_rng(0))


@pytest.mark.parametrize('index', range(20))
def test_quaternions_agree_with_scipy(index):
    quaternion = ROTATIONS[index].as_quat(canonical=True)
    matrix = transforms.rotation_from_quaternion(*quaternion)
    np.testing.assert_allclose(matrix, ROTATIONS[index].as_matrix(), atol=1e-12)
    np.testing.assert_allclose(transforms.quaternion_from_rotation(matrix), quaternion, atol=1e-12)


def test_zero_quaternion_is_refused_by_name():
    with pytest.raises(ValueError, match='is not a rotation'):
        transforms.rotation_from_quaternion(0, 0, 0, 0)


@pytest.mark.parametrize('fraction', [0.0, 0.3, 1.0])
def test_interpolation_is_slerp_and_lerp(fraction):
    a = transforms.matrix(ROTATIONS[0].as_matrix(), (1, 2, 3))
    b = transforms.matrix(ROTATIONS[1].as_matrix(), (5, 2, -3))
    between = transforms.interpolate(a, b, fraction)
    np.testing.assert_allclose(between[:3, :3], Slerp([0, 1], ROTATIONS[:2])(fraction).as_matrix(), atol=1e-9)
    np.testing.assert_allclose(between[:3, 3], [1 + 4 * fraction, 2, 3 - 6 * fraction], atol=1e-12)


def test_inverse_undoes_apply():
    transform = transforms.matrix(ROTATIONS[2].as_matrix(), (4, -1, 2))
    points = np.random.default_rng(1).normal(size=(5, 3))
    back = transforms.apply(transforms.inverse(transform), transforms.apply(transform, points))
    np.testing.assert_allclose(back, points, atol=1e-12)


def test_grid_indices_and_centres_belong_together():
    centers = OCC3D_GRID.centers()
    assert centers[0, 0, 0] == pytest.approx((-39.8, -39.8, -0.8))
    index, inside = OCC3D_GRID.indices(np.array([centers[3, 150, 7], [40.001, 0, 0], [-40.001, 0, 0]]))
    assert index[0].tolist() == [3, 150, 7]
    assert inside.tolist() == [True, False, False]

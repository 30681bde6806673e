"""Rotations and homogeneous transforms, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import tf_transformations as tf
from scipy.spatial.transform import Rotation, Slerp

ANGLES = (0.3, -0.7, 2.1)


@pytest.mark.parametrize(('axes', 'scipy_axes'), [('sxyz', 'xyz'), ('rzyx', 'ZYX'), ('szyx', 'zyx')])
def test_euler_angles_both_ways(axes, scipy_axes):
    expected = Rotation.from_euler(scipy_axes, ANGLES)
    quaternion = tf.quaternion_from_euler(*ANGLES, axes=axes)
    np.testing.assert_allclose(tf.quaternion_matrix(quaternion)[:3, :3], expected.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(tf.euler_from_quaternion(quaternion, axes=axes), ANGLES)
    np.testing.assert_allclose(tf.euler_matrix(*ANGLES, axes=axes)[:3, :3], expected.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(tf.euler_from_matrix(tf.euler_matrix(*ANGLES, axes=axes), axes=axes), ANGLES)


def test_quaternions_are_x_y_z_w():
    np.testing.assert_allclose(tf.quaternion_from_euler(0, 0, np.pi / 2), [0, 0, np.sqrt(0.5), np.sqrt(0.5)], atol=1e-12)
    np.testing.assert_allclose(tf.quaternion_about_axis(np.pi, (1, 0, 0)), [1, 0, 0, 0], atol=1e-12)


def test_products_and_inverses():
    first, second = Rotation.random(rng=1), Rotation.random(rng=2)
    product = tf.quaternion_multiply(second.as_quat(), first.as_quat())
    np.testing.assert_allclose(tf.quaternion_matrix(product)[:3, :3], (second * first).as_matrix(), atol=1e-12)
    unit = tf.quaternion_multiply(first.as_quat(), tf.quaternion_inverse(first.as_quat()))
    np.testing.assert_allclose(unit, [0, 0, 0, 1], atol=1e-12)
    matrix = tf.concatenate_matrices(tf.translation_matrix((1, 2, 3)), tf.quaternion_matrix(first.as_quat()))
    np.testing.assert_allclose(matrix @ [0, 0, 0, 1], [1, 2, 3, 1])
    np.testing.assert_allclose(tf.translation_from_matrix(matrix), [1, 2, 3])
    assert tf.is_same_transform(tf.concatenate_matrices(tf.inverse_matrix(matrix), matrix), tf.identity_matrix())
    np.testing.assert_allclose(abs(tf.quaternion_from_matrix(matrix) @ first.as_quat()), 1.0)


def test_slerp_takes_the_shorter_arc():
    ends = Rotation.from_euler('z', [[0.0], [2.0]])
    start, end = ends.as_quat()
    expected = Slerp([0, 1], ends)(0.25).as_matrix()
    for sign in (1, -1):
        found = tf.quaternion_slerp(start, sign * end, 0.25)
        np.testing.assert_allclose(tf.quaternion_matrix(found)[:3, :3], expected, atol=1e-12)


def test_rotation_about_an_axis_through_a_point():
    matrix = tf.rotation_matrix(np.pi / 2, (0, 0, 1), (1, 0, 0))
    np.testing.assert_allclose(matrix @ [2, 0, 0, 1], [1, 1, 0, 1], atol=1e-12)
    angle, direction, point = tf.rotation_from_matrix(matrix)
    np.testing.assert_allclose(angle * np.asarray(direction), [0, 0, np.pi / 2], atol=1e-9)
    np.testing.assert_allclose(point[:2], [1, 0], atol=1e-9)


def test_lengths():
    np.testing.assert_allclose(tf.vector_norm([[3, 4], [6, 8]], axis=1), [5, 10])
    np.testing.assert_allclose(tf.unit_vector([[3, 4], [6, 8]], axis=1), [[0.6, 0.8], [0.6, 0.8]])
    np.testing.assert_allclose(np.linalg.norm(tf.random_quaternion()), 1.0)

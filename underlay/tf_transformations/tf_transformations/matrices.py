"""Homogeneous matrices and vectors."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import ArrayLike
from transforms3d.axangles import axangle2mat, mat2axangle
from transforms3d.euler import euler2mat, mat2euler


def identity_matrix() -> np.ndarray:
    """The transform that changes nothing."""
    return np.identity(4)


def translation_matrix(direction: ArrayLike) -> np.ndarray:
    """Move by a vector."""
    matrix = np.identity(4)
    matrix[:3, 3] = np.asarray(direction, dtype=float)[:3]
    return matrix


def translation_from_matrix(matrix: ArrayLike) -> np.ndarray:
    """The translation in a transform."""
    return np.array(matrix, dtype=float)[:3, 3].copy()


def rotation_matrix(angle: float, direction: ArrayLike, point: ArrayLike | None = None) -> np.ndarray:
    """Turn about an axis, through the origin or a point."""
    matrix = np.identity(4)
    matrix[:3, :3] = axangle2mat(np.asarray(direction, dtype=float)[:3], angle)
    if point is not None:
        center = np.asarray(point, dtype=float)[:3]
        matrix[:3, 3] = center - matrix[:3, :3] @ center
    return matrix


def rotation_from_matrix(matrix: ArrayLike) -> tuple[float, np.ndarray, np.ndarray]:
    """Angle, axis and a point (x, y, z, 1) on the axis of a rotation."""
    full = np.array(matrix, dtype=float)
    direction, angle = mat2axangle(full[:3, :3])
    values, vectors = np.linalg.eig(full)
    fixed = np.where(np.abs(values.real - 1.0) < 1e-8)[0]
    if not len(fixed):
        raise ValueError('no unit eigenvector corresponding to eigenvalue 1')
    point = vectors[:, fixed[-1]].real
    return float(angle), np.asarray(direction), point / point[3]


def euler_matrix(ai: float, aj: float, ak: float, axes: str = 'sxyz') -> np.ndarray:
    """A rotation by Euler angles."""
    matrix = np.identity(4)
    matrix[:3, :3] = euler2mat(ai, aj, ak, axes=axes)
    return matrix


def euler_from_matrix(matrix: ArrayLike, axes: str = 'sxyz') -> tuple[float, float, float]:
    """Euler angles of a rotation."""
    ai, aj, ak = mat2euler(np.asarray(matrix, dtype=float)[:3, :3], axes=axes)
    return ai, aj, ak


def concatenate_matrices(*matrices: ArrayLike) -> np.ndarray:
    """The matrix product; the last transform acts first."""
    return reduce(np.matmul, (np.asarray(matrix, dtype=float) for matrix in matrices), np.identity(4))


def inverse_matrix(matrix: ArrayLike) -> np.ndarray:
    """The transform that undoes this one."""
    return np.linalg.inv(np.asarray(matrix, dtype=float))


def is_same_transform(matrix0: ArrayLike, matrix1: ArrayLike) -> bool:
    """Whether two transforms do the same, up to a common factor."""
    first, second = np.array(matrix0, dtype=float), np.array(matrix1, dtype=float)
    return bool(np.allclose(first / first[3, 3], second / second[3, 3]))


def random_rotation_matrix(rand: ArrayLike | None = None) -> np.ndarray:
    """A rotation, all equally likely; rand: three numbers in 0 ... 1 that choose it."""
    from tf_transformations.quaternions import quaternion_matrix, random_quaternion

    return quaternion_matrix(random_quaternion(rand))


def vector_norm(data: ArrayLike, axis: int | None = None, out: np.ndarray | None = None) -> np.ndarray | float | None:
    """Length of a vector, or along an axis of an array; into out when given."""
    squares = np.sum(np.square(np.asarray(data, dtype=float)), axis=axis)
    if out is None:
        return np.sqrt(squares)
    np.sqrt(squares, out=out)
    return None


def unit_vector(data: ArrayLike, axis: int | None = None, out: np.ndarray | None = None) -> np.ndarray | None:
    """A vector divided by its length, or so along an axis of an array; into out when given."""
    vectors = np.array(data, dtype=float)
    length = np.sqrt(np.sum(np.square(vectors), axis=axis, keepdims=axis is not None))
    if out is None:
        return vectors / length
    np.divide(vectors, length, out=out)
    return None

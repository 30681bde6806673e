"""Quaternions x, y, z, w."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from transforms3d.euler import euler2quat, quat2euler
from transforms3d.quaternions import axangle2quat, mat2quat, qmult, quat2mat


def _to_wxyz(quaternion: ArrayLike) -> np.ndarray:
    """The order that transforms3d uses."""
    x, y, z, w = np.asarray(quaternion, dtype=float)
    return np.array([w, x, y, z])


def _to_xyzw(quaternion: ArrayLike) -> np.ndarray:
    """The order that ROS uses."""
    w, x, y, z = np.asarray(quaternion, dtype=float)
    return np.array([x, y, z, w])


def quaternion_from_euler(ai: float, aj: float, ak: float, axes: str = 'sxyz') -> np.ndarray:
    """The rotation by Euler angles."""
    return _to_xyzw(euler2quat(ai, aj, ak, axes=axes))


def euler_from_quaternion(quaternion: ArrayLike, axes: str = 'sxyz') -> tuple[float, float, float]:
    """Euler angles of a rotation."""
    ai, aj, ak = quat2euler(_to_wxyz(quaternion), axes=axes)
    return ai, aj, ak


def quaternion_about_axis(angle: float, axis: ArrayLike) -> np.ndarray:
    """The rotation about an axis."""
    return _to_xyzw(axangle2quat(np.asarray(axis, dtype=float), angle))


def quaternion_matrix(quaternion: ArrayLike) -> np.ndarray:
    """The rotation as a 4x4 matrix."""
    matrix = np.identity(4)
    matrix[:3, :3] = quat2mat(_to_wxyz(quaternion))
    return matrix


def quaternion_from_matrix(matrix: ArrayLike) -> np.ndarray:
    """The rotation in a 4x4 matrix."""
    return _to_xyzw(mat2quat(np.asarray(matrix, dtype=float)[:3, :3]))


def quaternion_multiply(quaternion1: ArrayLike, quaternion0: ArrayLike) -> np.ndarray:
    """The rotation quaternion0 followed by quaternion1."""
    return _to_xyzw(qmult(_to_wxyz(quaternion1), _to_wxyz(quaternion0)))


def quaternion_conjugate(quaternion: ArrayLike) -> np.ndarray:
    """The imaginary part negated."""
    x, y, z, w = np.asarray(quaternion, dtype=float)
    return np.array([-x, -y, -z, w])


def quaternion_inverse(quaternion: ArrayLike) -> np.ndarray:
    """The quaternion that undoes this one."""
    return quaternion_conjugate(quaternion) / np.dot(np.asarray(quaternion, dtype=float), np.asarray(quaternion, dtype=float))


def quaternion_slerp(quat0: ArrayLike, quat1: ArrayLike, fraction: float, spin: int = 0, shortestpath: bool = True) -> np.ndarray:
    """Between two rotations at a fraction 0 ... 1 of the arc, the shorter one unless told otherwise, with extra half turns."""
    start = np.asarray(quat0, dtype=float) / np.linalg.norm(quat0)
    end = np.asarray(quat1, dtype=float) / np.linalg.norm(quat1)
    if fraction in (0.0, 1.0):
        return end if fraction else start
    dot = float(np.dot(start, end))
    if abs(abs(dot) - 1.0) < np.finfo(float).eps * 4.0:
        return start
    if shortestpath and dot < 0.0:
        dot, end = -dot, -end
    angle = math.acos(dot) + spin * math.pi
    if abs(angle) < np.finfo(float).eps * 4.0:
        return start
    return (math.sin((1.0 - fraction) * angle) * start + math.sin(fraction * angle) * end) / math.sin(angle)


def random_quaternion(rand: ArrayLike | None = None) -> np.ndarray:
    """A rotation, all equally likely; rand: three numbers in 0 ... 1 that choose it."""
    first, second, third = np.random.default_rng().random(3) if rand is None else np.asarray(rand, dtype=float)
    low, high = math.sqrt(1.0 - first), math.sqrt(first)
    return np.array([math.sin(2 * math.pi * second) * low, math.cos(2 * math.pi * second) * low,
                     math.sin(2 * math.pi * third) * high, math.cos(2 * math.pi * third) * high])

"""Rigid transforms as 4x4 matrices on column vectors, metres; a name `target_from_source` says what maps to what."""

from __future__ import annotations

import numpy as np


def rotation_from_quaternion(x: float, y: float, z: float, w: float) -> np.ndarray:
    """(3, 3) float64 rotation of a quaternion in ROS order; it is normalised first.

    Raises ValueError when the quaternion is not finite or (nearly) zero.
    """
    q = np.array([x, y, z, w], np.float64)
    norm = np.linalg.norm(q)
    if not np.isfinite(norm) or norm < 1e-6:
        raise ValueError(f'quaternion (x, y, z, w) = {tuple(q)} is not a rotation: its length is {norm}')
    x, y, z, w = q / norm
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])


def quaternion_from_rotation(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w), w >= 0, of a (3, 3) rotation (Shepperd's method)."""
    m = np.asarray(rotation, np.float64)
    choices = np.array([m[0, 0], m[1, 1], m[2, 2], np.trace(m)])
    i = int(choices.argmax())
    q = np.empty(4)
    if i == 3:
        q[:] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + choices[3]
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        q[i] = 1 - choices[3] + 2 * m[i, i]
        q[j] = m[j, i] + m[i, j]
        q[k] = m[k, i] + m[i, k]
        q[3] = m[k, j] - m[j, k]
    q /= np.linalg.norm(q) * (1 if q[3] >= 0 else -1)
    x, y, z, w = (float(v) for v in q)
    return x, y, z, w


def matrix(rotation: np.ndarray, translation: np.ndarray | tuple[float, float, float]) -> np.ndarray:
    """(4, 4) float64 transform of a (3, 3) rotation and a translation in metres."""
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = translation
    return out


def inverse(transform: np.ndarray) -> np.ndarray:
    """Inverse of a rigid (4, 4) transform."""
    out = np.eye(4)
    out[:3, :3] = transform[:3, :3].T
    out[:3, 3] = -transform[:3, :3].T @ transform[:3, 3]
    return out


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 3) moved by a (4, 4) transform; keeps the points' dtype."""
    return (points @ transform[:3, :3].T.astype(points.dtype)) + transform[:3, 3].astype(points.dtype)


def interpolate(first: np.ndarray, second: np.ndarray, fraction: float) -> np.ndarray:
    """Transform between two (4, 4) ones: translation linear, rotation along the shorter arc (slerp)."""
    a = np.array(quaternion_from_rotation(first[:3, :3]))
    b = np.array(quaternion_from_rotation(second[:3, :3]))
    dot = float(a @ b)
    if dot < 0:
        b, dot = -b, -dot
    angle = np.arccos(min(dot, 1.0))
    if angle < 1e-9:
        q = a + fraction * (b - a)
    else:
        q = (np.sin((1 - fraction) * angle) * a + np.sin(fraction * angle) * b) / np.sin(angle)
    translation = (1 - fraction) * first[:3, 3] + fraction * second[:3, 3]
    return matrix(rotation_from_quaternion(*q), translation)

"""Constant-velocity Kalman filters of many objects at once, and how fast the things of each class may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occ_perception.labels import OCC3D


@dataclass(frozen=True)
class ClassMotion:
    """Motion of one class: top_speed_m_s; restlessness, how much its velocity wanders in one second, m/s (one sigma)."""

    top_speed_m_s: float
    restlessness: float


CLASS_MOTION = {
    2: ClassMotion(12.0, 1.0), 3: ClassMotion(25.0, 1.2), 4: ClassMotion(30.0, 1.2), 5: ClassMotion(12.0, 1.0),
    6: ClassMotion(30.0, 1.2), 7: ClassMotion(3.0, 0.5), 9: ClassMotion(25.0, 1.2), 10: ClassMotion(25.0, 1.2)}
"""Occ3D thing class -> motion."""
_OTHER_MOTION = ClassMotion(25.0, 1.2)
_MOTION = [CLASS_MOTION.get(info.id, _OTHER_MOTION) for info in OCC3D]
TOP_SPEED = np.array([motion.top_speed_m_s for motion in _MOTION])
"""m/s by Occ3D label."""
RESTLESSNESS = np.array([motion.restlessness for motion in _MOTION])
"""m/s in one second by Occ3D label."""


def predict(state: np.ndarray, covariance: np.ndarray, seconds: float, restlessness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """State (T, 4) x, y, vx, vy and covariance (T, 4, 4) moved on; the velocity wanders as white-noise acceleration.

    restlessness (T,), m/s in one second. Predicting twice by half the time gives the same.
    """
    move = np.eye(4)
    move[0, 2] = move[1, 3] = seconds
    noise = np.zeros((4, 4))
    for axis in (0, 1):
        noise[axis, axis] = seconds ** 3 / 3
        noise[axis, axis + 2] = noise[axis + 2, axis] = seconds ** 2 / 2
        noise[axis + 2, axis + 2] = seconds
    return state @ move.T, move @ covariance @ move.T + (restlessness ** 2)[:, None, None] * noise


def correct(state: np.ndarray, covariance: np.ndarray, offset: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """State (T, 4) and covariance (T, 4, 4) after each object was seen offset (T, 2) from its expected place.

    noise (T, 2, 2): covariance of where it was seen.
    """
    gain = covariance[:, :, :2] @ np.linalg.inv(covariance[:, :2, :2] + noise)
    # Joseph's form: stays symmetric and positive where the plain one loses digits.
    keep = np.broadcast_to(np.eye(4), covariance.shape).copy()
    keep[:, :, :2] -= gain
    return (state + (gain @ offset[:, :, None])[:, :, 0],
            keep @ covariance @ keep.transpose(0, 2, 1) + gain @ noise @ gain.transpose(0, 2, 1))


def mahalanobis(offset: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared Mahalanobis length and log determinant, each (...), of offsets (..., 2) under covariances (..., 2, 2)."""
    a, b, c = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    determinant = a * c - b * b
    x, y = offset[..., 0], offset[..., 1]
    return (c * x * x - 2 * b * x * y + a * y * y) / determinant, np.log(determinant)

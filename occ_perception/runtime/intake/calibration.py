"""Camera calibration as it comes in CameraInfo: is it plausible, and which matrix belongs to the picture."""

from __future__ import annotations

import numpy as np

FOCAL_LIMITS = (0.1, 20.0)
"""Plausible focal length in image widths: a 157 degree lens ... a 2.9 degree one."""


class CalibrationError(ValueError):
    """A calibration that cannot be right; the message names the topic, the value and what would be plausible."""


def intrinsics_of(k: np.ndarray, p: np.ndarray, width: int, height: int, rectified: bool, topic: str) -> np.ndarray:
    """(3, 3) float64 intrinsics of the picture that a CameraInfo describes.

    k (9,), p (12,) as in sensor_msgs/CameraInfo. A rectified picture is described by the left 3x3 of P, where P is filled in;
    otherwise by K. Raises CalibrationError when the result is not plausible for the picture's size.
    """
    k = np.asarray(k, np.float64).reshape(3, 3)
    p = np.asarray(p, np.float64).reshape(3, 4)[:, :3]
    name, matrix = ('P', p) if rectified and p[0, 0] != 0 else ('K', k)
    if width <= 0 or height <= 0:
        raise CalibrationError(f'{topic}: image size {width}x{height} in CameraInfo; both must be positive')
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    low, high = FOCAL_LIMITS[0] * width, FOCAL_LIMITS[1] * width
    if not np.isfinite(matrix).all() or not (low <= fx <= high and low <= fy <= high):
        raise CalibrationError(f'{topic}: focal lengths fx = {fx:g}, fy = {fy:g} in {name} of CameraInfo; '
                               f'a picture {width} pixels wide needs {low:g} ... {high:g}')
    if not (0 <= cx <= width and 0 <= cy <= height):
        raise CalibrationError(f'{topic}: principal point ({cx:g}, {cy:g}) in {name} of CameraInfo lies outside the '
                               f'{width}x{height} picture')
    return matrix.copy()


def rotation_is_sound(r: np.ndarray) -> bool:
    """Whether R (9,) of a CameraInfo is a rotation; all zeros counts as not filled in, and so as sound."""
    r = np.asarray(r, np.float64).reshape(3, 3)
    return not r.any() or (np.allclose(r @ r.T, np.eye(3), atol=1e-3) and np.linalg.det(r) > 0)

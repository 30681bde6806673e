"""Rotations and rigid transforms on tuples of floats; for single transforms faster than numpy."""

from __future__ import annotations

import math
from typing import NamedTuple

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
"""x, y, z, w."""


class Rigid(NamedTuple):
    """A rotation, then a translation."""

    translation: Vector
    rotation: Quaternion


IDENTITY = Rigid((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def canonical(rotation: Quaternion) -> Quaternion:
    """The unit quaternion of the same rotation with the sign that reading it back from a rotation matrix gives.

    Its w is positive where |w| > 1/2; elsewhere its largest imaginary part is.
    """
    x, y, z, w = rotation
    length = math.sqrt(x * x + y * y + z * z + w * w)
    leading = w if 2 * abs(w) > length else max(x, y, z, key=abs)
    scale = math.copysign(1.0 / length, leading)
    return x * scale, y * scale, z * scale, w * scale


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """The rotation b followed by a."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (aw * bx + ax * bw + ay * bz - az * by, aw * by + ay * bw + az * bx - ax * bz,
            aw * bz + az * bw + ax * by - ay * bx, aw * bw - ax * bx - ay * by - az * bz)


def rotate(rotation: Quaternion, vector: Vector) -> Vector:
    """A vector turned by a unit quaternion."""
    x, y, z, w = rotation
    vx, vy, vz = vector
    tx, ty, tz = 2.0 * (y * vz - z * vy), 2.0 * (z * vx - x * vz), 2.0 * (x * vy - y * vx)
    return vx + w * tx + y * tz - z * ty, vy + w * ty + z * tx - x * tz, vz + w * tz + x * ty - y * tx


def compose(outer: Rigid, inner: Rigid) -> Rigid:
    """The transform inner followed by outer."""
    x, y, z = rotate(outer.rotation, inner.translation)
    dx, dy, dz = outer.translation
    return Rigid((x + dx, y + dy, z + dz), multiply(outer.rotation, inner.rotation))


def inverse(transform: Rigid) -> Rigid:
    """The transform that undoes this one."""
    x, y, z, w = transform.rotation
    back = (-x, -y, -z, w)
    dx, dy, dz = rotate(back, transform.translation)
    return Rigid((-dx, -dy, -dz), back)


def interpolate(start: Rigid, end: Rigid, ratio: float) -> Rigid:
    """Between two transforms: linear in the translation, spherical along the shorter arc in the rotation."""
    keep = 1.0 - ratio
    x, y, z = (keep * a + ratio * b for a, b in zip(start.translation, end.translation, strict=True))
    dot = sum(a * b for a, b in zip(start.rotation, end.rotation, strict=True))
    angle = math.acos(min(1.0, abs(dot)))
    if angle == 0.0:
        return Rigid((x, y, z), start.rotation)
    first, second = math.sin(keep * angle) / math.sin(angle), math.copysign(math.sin(ratio * angle) / math.sin(angle), dot)
    qx, qy, qz, qw = (first * a + second * b for a, b in zip(start.rotation, end.rotation, strict=True))
    return Rigid((x, y, z), (qx, qy, qz, qw))

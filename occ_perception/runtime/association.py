"""Which object of this frame is which track: boxes compared in the fixed frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from occ_perception.geometry.transforms import apply
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import OCC3D
from occ_perception.runtime.frames import Instance
from occ_perception.runtime.motion import mahalanobis

_GROUPS = ((2, 6, 7), (3, 4, 5, 9, 10))
"""Classes that are taken for one another: who rides or walks, and vehicles."""


def _related() -> np.ndarray:
    related = np.eye(len(OCC3D), dtype=bool)
    for group in _GROUPS:
        related[np.ix_(group, group)] = True
    return related


RELATED = _related()
"""(18, 18) bool: classes between which an object may change."""


@dataclass(frozen=True)
class Looks:
    """What one frame shows, in the fixed frame: place (D, 2) m, size (D, 2) length and width, yaw (D,), label (D,).

    cut (D, 2): along the grid's x and y, 1 or -1 where the box reaches the grid's upper or lower border and may go on beyond it,
    else 0. grid_yaw: direction of the grid's x axis.
    """

    place: np.ndarray
    size: np.ndarray
    yaw: np.ndarray
    label: np.ndarray
    cut: np.ndarray
    grid_yaw: float

    def taken(self, which: np.ndarray) -> Looks:
        """The looks `which`."""
        return Looks(self.place[which], self.size[which], self.yaw[which], self.label[which], self.cut[which], self.grid_yaw)

    @property
    def grid_axes(self) -> np.ndarray:
        """Rows: the grid's x and y axes in the fixed frame, (2, 2)."""
        cos, sin = np.cos(self.grid_yaw), np.sin(self.grid_yaw)
        return np.array([[cos, sin], [-sin, cos]])


def looks_of(instances: Sequence[Instance], fixed_from_ego: np.ndarray, grid: VoxelGridSpec) -> Looks:
    """Objects in the ego frame as looks in the fixed frame."""
    center = np.array([one.center_m for one in instances], np.float64).reshape(-1, 3)
    size = np.array([one.size_m[:2] for one in instances], np.float64).reshape(-1, 2)
    yaw = np.array([one.yaw_rad for one in instances], np.float64)
    reach = extents(size, yaw) / 2 + grid.resolution_m / 2
    cut = (np.array(grid.upper_m[:2]) - center[:, :2] < reach).astype(int) - (center[:, :2] - np.array(grid.origin_m[:2]) < reach)
    turn = float(np.arctan2(fixed_from_ego[1, 0], fixed_from_ego[0, 0]))
    label = np.array([one.label for one in instances], np.int64)
    return Looks(apply(fixed_from_ego, center)[:, :2], size, yaw + turn, label, cut, turn)


def extents(size: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Width (..., 2) of boxes, size (..., 2), along two axes from which they are turned by yaw (...)."""
    cos, sin = np.abs(np.cos(yaw)), np.abs(np.sin(yaw))
    length, width = size[..., 0], size[..., 1]
    return np.stack([length * cos + width * sin, length * sin + width * cos], axis=-1)


def beyond_border(size: np.ndarray, yaw: np.ndarray, looks: Looks) -> np.ndarray:
    """From the centre of what is seen to the centre of a track's box (..., 2) whose inner side is there; 0 for what is not cut.

    size (..., 2), yaw (...) of the track, broadcast against the looks.
    """
    hidden = extents(size, yaw - looks.grid_yaw) - extents(looks.size, looks.yaw - looks.grid_yaw)
    return (looks.cut * hidden / 2) @ looks.grid_axes


def compare(state: np.ndarray, size: np.ndarray, yaw: np.ndarray, looks: Looks, sigma_m: float,
            slack_m: float) -> tuple[np.ndarray, np.ndarray]:
    """From each track's expected place to where each look shows it: offset (T, D, 2) m and its covariance (T, D, 2, 2).

    state (T, 4), size (T, 2), yaw (T,): of the tracks, with their boxes. Where a look's extent along its axes has changed by more
    than slack_m, parts are hidden or others have joined: the centre, else known to sigma_m, may be off by half of the change.
    """
    offset = looks.place + beyond_border(size[:, None], yaw[:, None], looks) - state[:, None, :2]
    change = np.abs(extents(size[:, None], yaw[:, None] - looks.yaw) - looks.size) - slack_m
    change[:, looks.cut.any(axis=1)] = 0
    along, across = np.moveaxis(sigma_m ** 2 + (np.maximum(change, 0) / 2) ** 2, -1, 0)
    cos, sin = np.cos(looks.yaw), np.sin(looks.yaw)
    mixed = (along - across) * sin * cos
    return offset, np.stack([along * cos ** 2 + across * sin ** 2, mixed, mixed, along * sin ** 2 + across * cos ** 2],
                            axis=-1).reshape(*along.shape, 2, 2)


def match(offset: np.ndarray, spread: np.ndarray, label: np.ndarray, looks: Looks, reach_m: np.ndarray, gate: float,
          class_change: float) -> tuple[np.ndarray, np.ndarray]:
    """Best one-to-one pairing of tracks and looks: (track numbers, look numbers), the same length.

    offset (T, D, 2): from where the track is expected to where it is seen; spread (T, D, 2, 2): its covariance. A pair costs its
    squared Mahalanobis distance plus the log determinant of the spread (a track that may be anywhere explains nothing well), and
    class_change more when the class changes within a group. Pairs beyond gate or reach_m (T,) never match.
    """
    distance, log_spread = mahalanobis(offset, spread)
    allowed = ((distance < gate) & RELATED[label[:, None], looks.label]
               & (np.hypot(offset[..., 0], offset[..., 1]) < reach_m[:, None]))
    cost = distance + log_spread + class_change * (label[:, None] != looks.label)
    worst = gate + class_change + 10.0
    rows, columns = linear_sum_assignment(np.where(allowed, np.minimum(cost - worst, 0.0), 0.0))
    paired = allowed[rows, columns]
    return rows[paired], columns[paired]


def covered(place: np.ndarray, label: np.ndarray, looks: Looks, margin_m: float = 0.4) -> np.ndarray:
    """Whether each place (T, 2), of an object of class label (T,), lies inside a box of a class it may be taken for; (T,) bool."""
    offset = looks.place - place[:, None]
    cos, sin = np.cos(looks.yaw), np.sin(looks.yaw)
    along = np.abs(offset[..., 0] * cos + offset[..., 1] * sin)
    across = np.abs(offset[..., 1] * cos - offset[..., 0] * sin)
    inside = (along < looks.size[:, 0] / 2 + margin_m) & (across < looks.size[:, 1] / 2 + margin_m)
    return (inside & RELATED[label[:, None], looks.label]).any(axis=1)

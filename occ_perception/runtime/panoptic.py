"""Objects from a centre head: heatmap peaks become centres, thing voxels go to the nearest centre of their class.

As Panoptic-FlashOcc does it (Yu et al., Panoptic-FlashOcc, 2024), with two class maps: the published one and the one that agrees
with the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import THINGS
from occ_perception.runtime.frames import Instance
from occ_perception.runtime.instances import number_groups

HEATMAP_CLASSES = ('car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle', 'pedestrian',
                   'traffic_cone')
"""Channels of the heatmap."""
MAX_CENTERS = 500
"""Peaks kept of all channels together."""
CENTER_LIMIT_M = (61.2, 61.2, 10.0)
"""Largest |x|, |y|, |z| of a centre, ego frame."""
FIRST_CENTER_ID = 18
"""Id of the first centre in `assign_instances`; lower ids are the classes of voxels that belong to no centre."""


@dataclass(frozen=True)
class CenterClasses:
    """Which voxels a centre may own.

    label_of_channel: Occ3D class that goes with each heatmap channel. grouped: classes whose voxels are shared out among the
    centres. blanked: classes whose voxels get id 0 as soon as a centre of theirs is kept.
    """

    label_of_channel: tuple[int, ...]
    grouped: tuple[int, ...]
    blanked: tuple[int, ...] = ()


CORRECTED_CLASSES = CenterClasses((4, 10, 5, 3, 9, 1, 6, 2, 7, 8), THINGS)
"""Each channel with the class of the same name; barriers and traffic cones are no things, their centres own nothing."""
PUBLISHED_CLASSES = CenterClasses((4, 10, 9, 3, 5, 2, 6, 7, 8, 1), THINGS, blanked=(1, 8))
"""The published code's table, made for another channel order: construction vehicles and trailers are swapped, centres of
barriers own bicycles, of bicycles pedestrians; those of pedestrians and traffic cones blank traffic cones and barriers."""


@dataclass(frozen=True)
class Centers:
    """Object centres, the best first: xyz (K, 3) float32 m, ego frame; score (K,) float32; label (K,) int32 heatmap channel."""

    xyz: np.ndarray
    score: np.ndarray
    label: np.ndarray


def decode_centers(heatmap: np.ndarray, reg: np.ndarray, height: np.ndarray, score_threshold: float = 0.3,
                   grid: VoxelGridSpec = OCC3D_GRID) -> Centers:
    """Centres of one frame's head output, maps indexed (y, x) over the grid's ground area.

    heatmap (C, Y, X) float32 logits; reg (2, Y, X) offset of the centre in its cell, x then y, in cells; height (1, Y, X) m.
    A peak scores as high as its 3x3 neighbourhood; those that score more than score_threshold are kept, the MAX_CENTERS best at
    most, and of these the ones inside CENTER_LIMIT_M. Raises ValueError for maps that do not fit.
    """
    _, rows, columns = heatmap.shape
    if reg.shape != (2, rows, columns) or height.shape != (1, rows, columns):
        raise ValueError(f'maps of the centre head: heatmap {heatmap.shape}, reg {reg.shape}, height {height.shape}; '
                         f'expected (C, Y, X), (2, Y, X), (1, Y, X)')
    peaks = _peaks(heatmap, score_threshold)
    score = expit(heatmap.reshape(-1)[peaks])
    channel, cell = np.divmod(peaks, rows * columns)
    best = np.argsort(-score, kind='stable')[:MAX_CENTERS]
    channel, cell, score = channel[best], cell[best], score[best]
    row, column = np.divmod(cell, columns)
    xyz = np.empty((len(best), 3), np.float32)
    for axis, at in enumerate((column, row)):
        cell_m = np.float32(grid.resolution_m * grid.shape[axis] / (columns, rows)[axis])
        xyz[:, axis] = (at.astype(np.float32) + reg[axis].reshape(-1)[cell]) * cell_m + np.float32(grid.origin_m[axis])
    xyz[:, 2] = height.reshape(-1)[cell]
    inside = (np.abs(xyz) <= np.array(CENTER_LIMIT_M, np.float32)).all(axis=1)
    return Centers(xyz[inside], score[inside], channel[inside].astype(np.int32))


def assign_instances(labels: np.ndarray, centers: Centers, grid: VoxelGridSpec = OCC3D_GRID,
                     classes: CenterClasses = CORRECTED_CLASSES) -> np.ndarray:
    """Panoptic ids (nx, ny, nz) uint16: FIRST_CENTER_ID + number of the centre that owns the voxel, else the voxel's class.

    labels (nx, ny, nz) uint8. A voxel belongs to the nearest centre of its class, by whole voxels, the earlier one of equally
    near; a class without a centre keeps its class as id. The published code numbers its centres in another order.
    """
    ids = labels.astype(np.uint16)
    flat = ids.reshape(-1)
    kept = {classes.label_of_channel[channel] for channel in np.unique(centers.label)}
    for label in kept.intersection(classes.blanked):
        flat[np.flatnonzero(labels == label)] = 0
    voxels, owner, _ = _owners(labels, centers, grid, classes)
    flat[voxels] = FIRST_CENTER_ID + owner
    return ids


def instances_from_centers(labels: np.ndarray, centers: Centers, grid: VoxelGridSpec = OCC3D_GRID,
                           classes: CenterClasses = CORRECTED_CLASSES) -> tuple[np.ndarray, tuple[Instance, ...]]:
    """Objects of labels and centres: (ids (nx, ny, nz) uint16, 0 = none; instances, the largest first, ids from 1).

    labels (nx, ny, nz) uint8, 255 where unknown. Grouped as `assign_instances` does; boxes are those of the voxels, scores those
    of the heatmap. Centres that own no voxel are no objects, and neither are voxels of classes without a centre.
    """
    voxels, owner, label = _owners(labels, centers, grid, classes)
    if not len(voxels):
        return np.zeros(labels.shape, np.uint16), ()
    return number_groups(voxels, label, owner, centers.score, grid)


def _peaks(heatmap: np.ndarray, score_threshold: float) -> np.ndarray:
    """Flat indices of the cells above the threshold whose score none of the eight neighbours exceeds."""
    channels, rows, columns = heatmap.shape
    # Where the sigmoid saturates unequal logits score the same; the margin keeps cells that round to above the threshold.
    above = np.flatnonzero(heatmap.reshape(-1) > logit(score_threshold) - 1e-3)
    score = expit(heatmap.reshape(-1)[above])
    above, score = above[score > score_threshold], score[score > score_threshold]
    padded = np.full((channels, rows + 2, columns + 2), -np.inf, np.float32)
    padded[:, 1:-1, 1:-1] = heatmap
    channel, row, column = np.unravel_index(above, heatmap.shape)
    at = (channel * (rows + 2) + row + 1) * (columns + 2) + column + 1
    flat = padded.reshape(-1)
    highest = flat[at]
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            highest = np.maximum(highest, flat[at + down * (columns + 2) + right])
    return above[expit(highest) == score]


def _owners(labels: np.ndarray, centers: Centers, grid: VoxelGridSpec,
            classes: CenterClasses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat indices of all voxels that a centre owns, the centre's number and the voxel's class, each (M,)."""
    # Truncated towards zero, z too: so the published code counts, and centres may lie outside the grid.
    place = ((centers.xyz - np.array(grid.origin_m, np.float32)) / np.float32(grid.resolution_m)).astype(np.int64)
    parts = [(np.zeros(0, np.int64),) * 2 + (np.zeros(0, np.uint8),)]
    for channel in np.unique(centers.label):
        label = classes.label_of_channel[channel]
        if label not in classes.grouped:
            continue
        numbers = np.flatnonzero(centers.label == channel)
        voxels = np.flatnonzero(labels == label)
        index = np.stack(np.unravel_index(voxels, labels.shape), axis=1)
        parts.append((voxels, numbers[_nearest(index, place[numbers])], np.full(len(voxels), label, np.uint8)))
    voxels, owner, label_of = (np.concatenate(column) for column in zip(*parts, strict=True))
    return voxels, owner, label_of


def _nearest(voxels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Number of the nearest centre (K, 3) of each voxel (M, 3), the first of equally near; both whole numbers.

    Squared distances less the voxel's own square, by one matrix product; exact, as all numbers stay below 2**24.
    """
    product = np.concatenate([-2 * centers.T, (centers ** 2).sum(axis=1)[None]]).astype(np.float32)
    points = np.concatenate([voxels, np.ones((len(voxels), 1), voxels.dtype)], axis=1).astype(np.float32)
    chunk = max(1, 65536 // len(centers))
    return np.concatenate([np.zeros(0, np.int64), *(
        (points[at:at + chunk] @ product).argmin(axis=1) for at in range(0, len(points), chunk))])

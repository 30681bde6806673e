"""What FusionOcc does to LiDAR points before they enter: thinning, range filter, voxels; plain numpy.

The way of the published code: every key frame's sweep is thinned, moved into the present ego frame (geometry.transforms.apply),
all are put together, the present one first, filtered by range and averaged in fine voxels (geometry.voxelise.voxelise_sorted).
Only the depth hints (runtime.intake.depth_hint.depth_hints) are made of the present sweep before it is thinned.
"""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.voxelise import VoxelSpec

RING_KEPT = 16
"""Points of higher rings are all kept; of the others one in five. Rings are counted as nuScenes counts those
of its 32-beam LiDAR."""
RANGE_MARGIN_M = 0.001
"""Points must lie this far inside the box. In the published code the margin grows by as much with every sample that a worker of the
data loader has processed, as the filter overwrites its own range: the box shrinks while a test runs. Here it stays."""


def thin(points: np.ndarray, stamp_ns: int, copy: int = 0) -> np.ndarray:
    """Rows of points (M, 5: x, y, z, intensity, ring) that are kept, in their order.

    The published code draws anew for every sample, in training and in test. Here the draw is a function of the sweep's stamp and a
    point's row, so that a replay gives the same points: a row of a low ring is kept where its number out of integers(0, 10) of
    PCG64, seeded with (copy, stamp_ns), is 8 or 9. copy: 0 for a sweep in its own place, k where it stands in for the k-th key
    frame before it, as at the start of a scene; every copy draws for itself. Raises ValueError for another shape.
    """
    _check(points)
    draw = np.random.Generator(np.random.PCG64([copy, stamp_ns])).integers(0, 10, len(points))
    return points[(points[:, 4] > RING_KEPT) | (draw > 7)]


def in_range(points: np.ndarray, voxels: VoxelSpec) -> np.ndarray:
    """Points (M, 5), metres in the voxels' frame, that lie in their box by more than RANGE_MARGIN_M; compared in float32."""
    _check(points)
    margin = np.float32(RANGE_MARGIN_M)
    lower, upper = np.asarray(voxels.lower_m, np.float32) + margin, np.asarray(voxels.upper_m, np.float32) - margin
    place = points[:, :3].astype(np.float32)
    return points[((place > lower) & (place < upper)).all(axis=1)]


def _check(points: np.ndarray) -> None:
    if points.ndim != 2 or points.shape[1] != 5:
        raise ValueError(f'points have shape {points.shape}, expected (M, 5): x, y, z, intensity, ring')

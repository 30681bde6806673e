"""LiDAR points as sparse depth pictures of the cameras, the hint that fusion networks take beside the images."""

from __future__ import annotations

import numpy as np


def depth_hints(points: np.ndarray, intrinsics: np.ndarray, camera_from_reference: np.ndarray, size: tuple[int, int],
                depth_range: tuple[float, float], stride: int = 1, valid: np.ndarray | None = None) -> np.ndarray:
    """Depth of the nearest point in every pixel, or in every square of stride x stride pixels: (N, H / stride, W / stride)
    float32, metres along the optical axis, 0 where there is none.

    points: (M, >= 3), metres, reference frame. intrinsics: (N, 3, 3) at network size. camera_from_reference: (N, 4, 4), camera axes
    x right, y down, z forward; the ego motion between reference and exposure is part of it. size: (H, W). depth_range: points
    from the first up to but not including the second are taken. valid: (N,) bool, cameras that are False get an empty picture.
    A point belongs to the pixel whose number its place rounds to, half to even (points2depthmap of BEVDet, which only tells points
    of one pixel apart where they are metres from each other; here the nearest always wins).
    Raises ValueError for shapes that do not fit.
    """
    points, cameras = np.asarray(points), len(intrinsics)
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f'points have shape {points.shape}, expected (M, 3) or wider')
    if np.shape(intrinsics) != (cameras, 3, 3) or np.shape(camera_from_reference) != (cameras, 4, 4):
        raise ValueError(f'intrinsics {np.shape(intrinsics)} and camera_from_reference {np.shape(camera_from_reference)} do not '
                         'fit: expected (N, 3, 3) and (N, 4, 4)')
    height, width = size
    if height % stride or width % stride:
        raise ValueError(f'pictures of {height}x{width} cannot be cut into squares of {stride} pixels')
    near, far = depth_range
    out = np.full((cameras, (height // stride) * (width // stride)), np.inf, np.float32)
    for camera in range(cameras):
        if valid is not None and not valid[camera]:
            continue
        # in float64: pixels of points close to their borders are to come out the same on every machine
        pose = np.asarray(camera_from_reference[camera], np.float64)
        seen = points[:, :3].astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
        seen = seen[(seen[:, 2] >= near) & (seen[:, 2] < far)]
        pixel = np.rint((seen @ np.asarray(intrinsics[camera], np.float64)[:2].T) / seen[:, 2:])
        inside = ((pixel >= 0) & (pixel < (width, height))).all(axis=1)
        column, row = (pixel[inside] // stride).astype(np.int64).T
        np.minimum.at(out[camera], row * (width // stride) + column, seen[inside, 2].astype(np.float32))
    out[np.isinf(out)] = 0
    return out.reshape(cameras, height // stride, width // stride)

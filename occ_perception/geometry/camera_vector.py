"""What depth nets are told about cameras: calibration vectors, and how a pixel moves between two frames."""

from __future__ import annotations

import numpy as np

PUBLISHED_SIZE = 1600, 900
"""Width and height of the nuScenes pictures that the published networks were trained on."""


def camera_vectors(intrinsics: np.ndarray, network_from_source: np.ndarray, reference_from_camera: np.ndarray,
                   map_from_reference: np.ndarray | None = None) -> np.ndarray:
    """The 27 numbers per camera of BEVDepth: (N, 27) float32.

    intrinsics: (N, 3, 3) of the source picture. network_from_source: (N, 3, 3) pixel transforms (resize, crop).
    reference_from_camera: (N, 4, 4), of the PRESENT frame also for past ones, as the published code has it.
    map_from_reference: (3, 3) flips or turns of the map in training, None for none.
    """
    flips = np.eye(3) if map_from_reference is None else map_from_reference
    k, post, pose = np.asarray(intrinsics), np.asarray(network_from_source), np.asarray(reference_from_camera)
    flip = np.array([flips[0, 0], flips[0, 1], flips[1, 0], flips[1, 1], flips[2, 2]])
    return np.concatenate([
        k[:, [0, 1, 0, 1], [0, 1, 2, 2]], post[:, [0, 0, 0], [0, 1, 2]], post[:, [1, 1, 1], [0, 1, 2]],
        np.broadcast_to(flip, (len(k), 5)), pose[:, :3].reshape(len(k), 12)], axis=1).astype(np.float32)


def published_source(intrinsics: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics (N, 3, 3) of a 1600x900 picture, and the network_from_source (N, 3, 3) that leads from it to network size.

    intrinsics: (N, 3, 3) at network size. Whatever the camera's own size is, the networks saw one that had 1600x900 pixels, was
    resized to the network's width and lost its upper rows; this is that camera.
    """
    source_width, source_height = PUBLISHED_SIZE
    scale = width / source_width
    post = np.array([[scale, 0, 0], [0, scale, height - int(source_height * scale)], [0, 0, 1]])
    return np.linalg.inv(post) @ intrinsics, np.broadcast_to(post, np.shape(intrinsics))


def plane_sweeps(intrinsics: np.ndarray, network_from_source: np.ndarray, before_from_camera: np.ndarray) -> np.ndarray:
    """How frustum points move to the frame before: (N, 3, 13) float32, for parts.depth_net.sweep_grid.

    intrinsics: (N, 3, 3) of the source picture, without skew. network_from_source: (N, 3, 3) pixel transforms.
    before_from_camera: (N, 4, 4), from each camera at its exposure to the same camera at the exposure before.
    Columns: 0-2 turn back-projected pixels into the frame before, 3 moves them, 4-6 project, 7-9 are network_from_source, 10-11
    undo its upper left part, 12 is empty.
    """
    k, post = np.asarray(intrinsics, np.float32), np.asarray(network_from_source, np.float32)
    moved = np.asarray(before_from_camera, np.float64).astype(np.float32)
    undo = np.zeros_like(post)
    undo[:, :2, :2] = np.linalg.inv(post[:, :2, :2].astype(np.float64))
    back = np.zeros_like(k)  # rounded as the published code's, which a point on the picture's border can feel
    back[:, 2, 2] = 1
    for axis in (0, 1):
        back[:, axis, axis] = 1 / k[:, axis, axis]
        back[:, axis, 2] = -(k[:, axis, 2] * back[:, axis, axis])
    a, b = moved[:, :3, :3], back
    turned = (a[:, :, :1] * b[:, :1] + a[:, :, 1:2] * b[:, 1:2]) + a[:, :, 2:] * b[:, 2:]
    return np.concatenate([turned, moved[:, :3, 3:], k, post, undo], axis=2)

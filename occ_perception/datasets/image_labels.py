"""Image segmentation labels as FusionOcc trains on: LiDAR points with their classes painted as rectangles, kept at an eighth.

Source: Zhang et al., "FusionOcc: Multi-Modal Fusion for 3D Occupancy Prediction" (ACM MM 2024) and its released code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occ_perception.datasets.files import CorruptFileError
from occ_perception.datasets.lidarseg import point_classes
from occ_perception.datasets.nuscenes import NuScenes, SampleData
from occ_perception.geometry.transforms import apply, inverse

BACKGROUND = 17
"""Label of pixels without a point near them; 0 = noise, 1..16 the lidarseg classes."""
REDUCED = 8
"""Pixels of the picture per stored pixel, across and down."""
HALF_WIDTH, HALF_HEIGHT = 4, 8
FOLDER = 'imgseg/samples'


def label_path(root: Path, picture: SampleData) -> Path:
    """Label file of a key frame's picture: imgseg/samples/<camera>/<name>.npy."""
    return root / FOLDER / picture.channel / f'{picture.path.stem}.npy'


def read_image_labels(path: Path | str) -> np.ndarray:
    """(H, W) uint8 at the picture's size, from the stored eighth. Raises FileNotFoundError, CorruptFileError."""
    path = Path(path)
    try:
        stored = np.load(path)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: no such file. FusionOcc makes it from lidarseg; so does '
                                'occ_perception.datasets.image_labels.paint_image_labels') from None
    except (EOFError, OSError, ValueError) as error:
        raise CorruptFileError(f'{path} is not a readable npy file ({error}): make it again') from error
    if stored.ndim != 2 or stored.dtype != np.uint8 or stored.max(initial=0) > BACKGROUND:
        raise CorruptFileError(f'{path}: {stored.dtype} of shape {stored.shape}; (H / 8, W / 8) uint8 labels 0..17 are expected')
    return stored.repeat(REDUCED, 0).repeat(REDUCED, 1)


def paint_image_labels(tables: NuScenes, sweep: SampleData, picture: SampleData, points: np.ndarray) -> np.ndarray:
    """The stored form, (ceil(H / 8), ceil(W / 8)) uint8, painted from the labelled points of the key frame's sweep.

    points: (M, 3) in the LiDAR's frame, in the file's order; later points paint over earlier ones. The motion of the vehicle
    between sweep and exposure is taken out. Needs lidarseg.
    """
    assert picture.intrinsics is not None
    fixed = apply(sweep.fixed_from_ego @ sweep.ego_from_sensor, points.astype(np.float64))
    local = apply(inverse(picture.fixed_from_ego @ picture.ego_from_sensor), fixed)
    classes = point_classes(tables, sweep)
    front = local[:, 2] > 1.0
    pixels = local[front] @ picture.intrinsics.T
    return paint(pixels[:, :2] / pixels[:, 2:], classes[front], (picture.height, picture.width))[::REDUCED, ::REDUCED]


def paint(pixels: np.ndarray, classes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8: a rectangle of 8 x 16 pixels around each (u, v) in the picture, in its class; BACKGROUND elsewhere."""
    height, width = size
    labels = np.full(size, BACKGROUND, np.uint8)
    inside = ((pixels >= 0) & (pixels < (width, height))).all(axis=1)
    for (u, v), label in zip(pixels[inside].astype(int).tolist(), classes[inside].tolist(), strict=True):
        labels[max(v - HALF_HEIGHT, 0):v + HALF_HEIGHT, max(u - HALF_WIDTH, 0):u + HALF_WIDTH] = label
    return labels

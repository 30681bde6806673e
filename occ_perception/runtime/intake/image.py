"""Brings camera images to network size exactly as the checkpoints were trained: resize, then keep the bottom rows."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from occ_perception.catalogue import ImagePreprocessing

FILTER_REACH = 2
"""Pixels on either side that the widest filter looks at (bicubic), of the coarser of source and result."""
_RESAMPLE = {'bicubic': Image.Resampling.BICUBIC, 'bilinear': Image.Resampling.BILINEAR}


def fit(image: np.ndarray, intrinsics: np.ndarray, preprocessing: ImagePreprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Image and intrinsics at network size.

    image: (H, W, 3) uint8 RGB; intrinsics: (3, 3), its pixels. Returns ((input_height, input_width, 3) uint8, (3, 3) float64);
    an image that has network size already comes back as it is. An image too flat for the network gets black rows on top.
    Raises ValueError for another dtype or shape.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f'image has shape {image.shape} and dtype {image.dtype}, expected (H, W, 3) uint8 RGB')
    height, width = image.shape[:2]
    network_height, network_width = preprocessing.input_height, preprocessing.input_width
    if (height, width) == (network_height, network_width):
        return image, np.array(intrinsics, np.float64)
    resized_height = resized_rows(height, width, preprocessing)
    top = resized_height - network_height
    unseen, unseen_resized = _unseen_rows(height, resized_height, top)
    resized = Image.fromarray(image[unseen:]).resize((network_width, resized_height - unseen_resized),
                                                     _RESAMPLE[preprocessing.resample])
    fitted = np.asarray(resized.crop((0, top - unseen_resized, network_width, resized_height - unseen_resized)))
    return fitted, fitted_intrinsics(height, width, intrinsics, preprocessing)


def fitted_intrinsics(height: int, width: int, intrinsics: np.ndarray, preprocessing: ImagePreprocessing) -> np.ndarray:
    """Intrinsics (3, 3) of a picture of that size once it has been brought to network size."""
    resized_height = resized_rows(height, width, preprocessing)
    transform = np.diag([preprocessing.input_width / width, resized_height / height, 1.0])
    transform[1, 2] = preprocessing.input_height - resized_height
    return transform @ np.asarray(intrinsics, np.float64)


def resized_rows(height: int, width: int, preprocessing: ImagePreprocessing) -> int:
    """Height of a picture of that size once it is as wide as the network's input, before rows are cut off."""
    return height * preprocessing.input_width // width


def _unseen_rows(height: int, resized_height: int, top: int) -> tuple[int, int]:
    """How many top rows need not be resized, in the picture and in the result, when rows above `top` of the result are cut off.

    Only whole periods of the two heights are left out, so that the filter keeps its phase and every kept pixel its value.
    """
    divisor = math.gcd(height, resized_height)
    period, resized_period = height // divisor, resized_height // divisor
    reach = math.ceil(FILTER_REACH * max(1.0, resized_height / height))
    periods = max(0, top - reach) // resized_period
    return periods * period, periods * resized_period

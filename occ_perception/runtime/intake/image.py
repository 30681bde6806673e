"""Brings camera images to network size exactly as the checkpoints were trained: resize, then keep the bottom rows."""

from __future__ import annotations

import numpy as np
from PIL import Image

from occ_perception.catalogue import ImagePreprocessing

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
    resized_height = height * network_width // width
    top = resized_height - network_height
    resized = Image.fromarray(image).resize((network_width, resized_height), _RESAMPLE[preprocessing.resample])
    fitted = np.asarray(resized.crop((0, top, network_width, resized_height)))
    transform = np.diag([network_width / width, resized_height / height, 1.0])
    transform[1, 2] = -top
    return fitted, transform @ np.asarray(intrinsics, np.float64)

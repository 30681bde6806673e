"""Image encodings: their array types, and conversion between those that hold grey or colour."""

from __future__ import annotations

import re

import numpy as np

COLOR_CHANNELS = {'mono': 1, 'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4}
GREY_WEIGHTS = (0.299, 0.587, 0.114)
_KINDS = {'U': 'uint', 'S': 'int', 'F': 'float'}


class CvBridgeError(TypeError):
    """An image cannot be converted."""


def dtype_with_channels(encoding: str) -> tuple[str, int]:
    """Name of the numpy type and number of channels of an encoding; raises CvBridgeError for an unknown one."""
    generic = re.fullmatch(r'(8|16|32|64)([USF])C?([1-9]\d*)?', encoding)
    if generic:
        bits, kind, channels = generic.groups()
        if (kind == 'F') == (int(bits) >= 32) or encoding.startswith('32S'):
            return f'{_KINDS[kind]}{bits}', int(channels or 1)
    color = re.fullmatch(r'(mono|rgba|bgra|rgb|bgr)(8|16)', encoding)
    if color:
        return f'uint{color.group(2)}', COLOR_CHANNELS[color.group(1)]
    if re.fullmatch(r'bayer_(rggb|bggr|gbrg|grbg)(8|16)', encoding):
        return f'uint{encoding[len("bayer_xxxx"):]}', 1
    if encoding in ('yuv422', 'yuv422_yuy2', 'uyvy', 'yuyv'):
        return 'uint8', 2
    raise CvBridgeError(f'Unrecognized image encoding [{encoding}]')


def layout_and_depth(encoding: str) -> tuple[str, int] | None:
    """Order of the channels (mono, rgb, bgra ...) and bits of each, None when an encoding does not say."""
    color = re.fullmatch(r'(mono|rgba|bgra|rgb|bgr)(8|16)', encoding)
    return (color.group(1), int(color.group(2))) if color else None


def convert(image: np.ndarray, source: str, target: str) -> np.ndarray:
    """An image from one encoding in another.

    Between grey and colour orders and 8 and 16 bits as OpenCV converts them; between others only when they have the same
    array type. Raises CvBridgeError.
    """
    source_type, target_type = dtype_with_channels(source), dtype_with_channels(target)
    start, end = layout_and_depth(source), layout_and_depth(target)
    if source == target or ((start is None or end is None) and source_type == target_type):
        return image
    if start is None or end is None:
        raise CvBridgeError(f'[{source}] is not a color format. but [{target}] is. The conversion does not make sense')
    if start[0] != end[0]:
        image = _reorder(image, start[0], end[0])
    if start[1] != end[1]:
        image = np.rint(image / 257.0).astype(np.uint8) if end[1] == 8 else image.astype(np.uint16) * np.uint16(257)
    return np.ascontiguousarray(image)


def _reorder(image: np.ndarray, source: str, target: str) -> np.ndarray:
    """Channels in another order; grey by the usual weights, a missing alpha opaque."""
    opaque = np.full(image.shape[:2], np.iinfo(image.dtype).max, image.dtype)
    planes = {name: image[..., index] for index, name in enumerate(source)} if source != 'mono' else dict.fromkeys('rgb', image)
    if target == 'mono':
        grey = sum(weight * planes[name] for weight, name in zip(GREY_WEIGHTS, 'rgb', strict=True))
        return np.rint(grey).astype(image.dtype)
    return np.stack([planes.get(name, opaque) for name in target], axis=-1)

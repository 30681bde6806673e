"""Camera messages to pictures: JPEG, PNG and raw encodings to (H, W, 3) uint8 RGB."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from PIL import Image

PNG_MAGIC = b'\x89PNG\r\n\x1a\n'
JPEG_MAGIC = b'\xff\xd8'


class DecodeError(ValueError):
    """A picture that cannot be read; the message names the topic and the reason."""


def decode_compressed(data: bytes | bytearray | memoryview, topic: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a JPEG or PNG file; the kind is told from its first bytes.

    Raises DecodeError for an empty, cut short or foreign file.
    """
    view = memoryview(data).cast('B')
    if not len(view):
        raise DecodeError(f'{topic}: empty picture (0 bytes)')
    if bytes(view[:2]) == JPEG_MAGIC:
        try:
            return simplejpeg.decode_jpeg(view, colorspace='RGB')
        except ValueError as error:
            raise DecodeError(f'{topic}: broken JPEG of {len(view)} bytes: {error}') from error
    if bytes(view[:8]) == PNG_MAGIC:
        try:
            with Image.open(io.BytesIO(view)) as picture:
                return np.asarray(picture.convert('RGB'))
        except (OSError, SyntaxError, ValueError) as error:
            raise DecodeError(f'{topic}: broken PNG of {len(view)} bytes: {error}') from error
    raise DecodeError(f'{topic}: neither JPEG nor PNG: the first bytes are {bytes(view[:4]).hex(" ")}')


def decode_reduced(data: bytes | bytearray | memoryview, topic: str, least: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture as decode_compressed gives it, but no larger than is needed, and the (height, width) that the file has.

    least: (height, width). A JPEG is decoded at the smallest of libjpeg-turbo's scales (eighths) that is no smaller than that:
    less work, and pixels that differ a little from those of a whole picture made small. A PNG comes whole. Raises DecodeError.
    """
    view = memoryview(data).cast('B')
    if bytes(view[:2]) != JPEG_MAGIC:
        image = decode_compressed(data, topic)
        return image, image.shape[:2]
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(view)
        min_height, min_width = least if least[0] < height and least[1] < width else (0, 0)
        image = simplejpeg.decode_jpeg(view, colorspace='RGB', min_height=min_height, min_width=min_width)
    except ValueError as error:
        raise DecodeError(f'{topic}: broken JPEG of {len(view)} bytes: {error}') from error
    return image, (height, width)


CHANNELS = {'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4, '8UC4': 4, 'mono8': 1, '8UC1': 1,
            'yuv422': 2, 'uyvy': 2, 'yuv422_yuy2': 2, 'yuyv': 2}
"""Raw encodings that are read -> bytes a pixel. 8UC3 and 8UC4 are blue first, as OpenCV has them."""


def decode_raw(data: bytes | bytearray | memoryview, height: int, width: int, step: int, encoding: str,
               topic: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a sensor_msgs/Image payload; step is the length of a row in bytes.

    Raises DecodeError for an encoding that is not in CHANNELS and for sizes that do not fit the data.
    """
    channels = CHANNELS.get(encoding)
    if channels is None:
        raise DecodeError(f'{topic}: encoding {encoding!r} is not read; publish one of {", ".join(CHANNELS)} '
                          '(image_proc debayers and rectifies)')
    flat = np.frombuffer(data, np.uint8)
    step = step or width * channels
    if not (height > 0 and width > 0 and step >= width * channels and flat.size >= step * height):
        raise DecodeError(f'{topic}: {flat.size} bytes do not hold {width}x{height} {encoding} pixels in rows of {step} bytes')
    rows = flat[:step * height].reshape(height, step)[:, :width * channels]
    pixels = rows.reshape(height, width, channels)
    if encoding == 'rgb8':
        return pixels
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    if channels == 2:
        return _rgb_from_yuv422(pixels, luma_first=encoding in ('yuv422_yuy2', 'yuyv'), topic=topic)
    return np.ascontiguousarray(pixels[:, :, :3] if encoding == 'rgba8' else pixels[:, :, 2::-1])


def _rgb_from_yuv422(pixels: np.ndarray, luma_first: bool, topic: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of (H, W, 2) packed YUV 4:2:2 (BT.601, video range 16 ... 235)."""
    if pixels.shape[1] % 2:
        raise DecodeError(f'{topic}: YUV 4:2:2 needs an even width, got {pixels.shape[1]}')
    luma, chroma = (pixels[..., 0], pixels[..., 1]) if luma_first else (pixels[..., 1], pixels[..., 0])
    y = 1.164 * (luma.astype(np.float32) - 16)
    u = np.repeat(chroma[:, 0::2], 2, axis=1).astype(np.float32) - 128
    v = np.repeat(chroma[:, 1::2], 2, axis=1).astype(np.float32) - 128
    rgb = np.stack((y + 1.596 * v, y - 0.392 * u - 0.813 * v, y + 2.017 * u), axis=-1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)

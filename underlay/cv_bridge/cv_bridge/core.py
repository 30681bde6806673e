"""The converter between image messages and arrays."""

from __future__ import annotations

import array
import io
import sys

import numpy as np
from PIL import Image as PillowImage
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from cv_bridge.encodings import CvBridgeError, convert, dtype_with_channels

_GENERIC = {'uint8': '8U', 'int8': '8S', 'uint16': '16U', 'int16': '16S', 'int32': '32S', 'float32': '32F', 'float64': '64F'}
_PILLOW_FORMATS = {'jpg': 'JPEG', 'jpeg': 'JPEG', 'jpe': 'JPEG', 'png': 'PNG', 'bmp': 'BMP', 'dib': 'BMP', 'tif': 'TIFF',
                   'tiff': 'TIFF', 'jp2': 'JPEG2000', 'pgm': 'PPM', 'ppm': 'PPM', 'pbm': 'PPM'}
JPEG_QUALITY = 95


class CvBridge:
    """Converts both ways. Arrays are (height, width) for one channel and (height, width, channels) for more.

    Colour without a stated order is b, g, r.
    """

    def dtype_with_channels_to_cvtype2(self, dtype: np.dtype, n_channels: int) -> str:
        """Name of an array type, such as 8UC3."""
        return f'{_GENERIC[np.dtype(dtype).name]}C{n_channels}'

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        """Name of the numpy type and number of channels of an encoding."""
        return dtype_with_channels(encoding)

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> np.ndarray:
        """The image of a message, as it is (passthrough) or in another encoding; raises CvBridgeError when that cannot be."""
        name, channels = dtype_with_channels(img_msg.encoding)
        dtype = np.dtype(name).newbyteorder('>' if img_msg.is_bigendian else '<')
        columns = img_msg.step // (dtype.itemsize * channels)
        shape = (img_msg.height, columns) if channels == 1 else (img_msg.height, columns, channels)
        image: np.ndarray = np.ndarray(shape=shape, dtype=dtype, buffer=img_msg.data,
                                       strides=(img_msg.step, dtype.itemsize * channels, dtype.itemsize)[:len(shape)])
        image = np.ascontiguousarray(image[:, :img_msg.width], dtype=dtype.newbyteorder('='))
        return image if desired_encoding == 'passthrough' else convert(image, img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(self, cvim: np.ndarray, encoding: str = 'passthrough', header: Header | None = None) -> Image:
        """A message of an image; raises CvBridgeError when the array is not of the encoding's type."""
        self._check_array(cvim)
        channels = 1 if cvim.ndim < 3 else cvim.shape[2]
        generic = self.dtype_with_channels_to_cvtype2(cvim.dtype, channels)
        if encoding != 'passthrough':
            name, wanted = dtype_with_channels(encoding)
            if (name, wanted) != (cvim.dtype.name, channels):
                raise CvBridgeError(f'encoding specified as {encoding}, but image has incompatible type {generic}')
        message = Image(height=cvim.shape[0], width=cvim.shape[1], encoding=generic if encoding == 'passthrough' else encoding)
        if header is not None:
            message.header = header
        message.is_bigendian = int(cvim.dtype.byteorder == '>' or (sys.byteorder == 'big' and cvim.dtype.byteorder == '='))
        message.data = self._bytes(np.ascontiguousarray(cvim).tobytes())
        message.step = len(message.data) // message.height
        return message

    def compressed_imgmsg_to_cv2(self, cmprs_img_msg: CompressedImage, desired_encoding: str = 'passthrough') -> np.ndarray:
        """The image of a compressed message; colour in the order b, g, r unless another encoding is wanted."""
        try:
            with PillowImage.open(io.BytesIO(bytes(cmprs_img_msg.data))) as picture:
                if picture.mode in ('P', 'CMYK', 'YCbCr', '1'):
                    picture = picture.convert('RGB')
                image = np.asarray(picture)
        except OSError as error:
            raise CvBridgeError(f'cannot decode a compressed image of {len(cmprs_img_msg.data)} bytes '
                                f'(format {cmprs_img_msg.format!r}): {error}') from None
        if image.ndim == 3:
            image = np.ascontiguousarray(image[..., [2, 1, 0, 3][:image.shape[2]]])
        if desired_encoding == 'passthrough':
            return image
        source = {2: 'mono', 3: 'bgr' if image.ndim == 3 and image.shape[2] == 3 else 'bgra'}[image.ndim]
        return convert(image, f'{source}{image.dtype.itemsize * 8}', desired_encoding)

    def cv2_to_compressed_imgmsg(self, cvim: np.ndarray, dst_format: str = 'jpg') -> CompressedImage:
        """A compressed message of an image; colour is taken in the order b, g, r."""
        self._check_array(cvim)
        if dst_format not in _PILLOW_FORMATS:
            raise CvBridgeError(f'cannot write images as {dst_format!r}; one of {", ".join(_PILLOW_FORMATS)} is possible')
        picture = cvim[..., [2, 1, 0, 3][:cvim.shape[2]]] if cvim.ndim == 3 else cvim
        stream = io.BytesIO()
        PillowImage.fromarray(np.ascontiguousarray(picture)).save(stream, _PILLOW_FORMATS[dst_format], quality=JPEG_QUALITY)
        message = CompressedImage(format=dst_format)
        message.data = self._bytes(stream.getvalue())
        return message

    @staticmethod
    def _check_array(image: object) -> None:
        if not isinstance(image, np.ndarray | np.generic):
            raise TypeError(f'Your input type is not a numpy array: {type(image).__name__}')

    @staticmethod
    def _bytes(data: bytes) -> array.array:
        return array.array('B', data)

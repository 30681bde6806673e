"""JPEGs decoded on a GPU (nvJPEG, through torchvision): the pictures stay there, as torch tensors."""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.array_library import Array
from occ_perception.runtime.intake.decode import JPEG_MAGIC, DecodeError, decode_compressed


class DeviceDecoder:
    """Decodes in whichever thread calls it. device: 'cuda', or 'cpu' to try the way there.

    Raises ValueError, with what to do, where torchvision or a GPU is missing.
    """

    def __init__(self, device: str = 'cuda') -> None:
        try:
            import torch
            from torchvision.io import ImageReadMode, decode_jpeg
        except ModuleNotFoundError as missing:
            package = str(missing.name).partition('.')[0]
            raise ValueError(f'pictures cannot be decoded on the GPU: {package} is not installed; pip install {package}, or have '
                             'them decoded on the CPU') from missing
        except RuntimeError as error:  # what a torchvision of another build says when it is imported
            raise ValueError(f'pictures cannot be decoded on the GPU: torchvision does not fit this torch ({error}); install the '
                             'two together, or have them decoded on the CPU') from error
        if device == 'cuda' and not torch.cuda.is_available():
            raise ValueError(f'pictures cannot be decoded on the GPU: torch {torch.__version__} finds none; have them decoded on '
                             'the CPU')
        self._torch, self._decode, self._rgb, self._device = torch, decode_jpeg, ImageReadMode.RGB, device

    def __call__(self, data: bytes | bytearray | memoryview, topic: str) -> Array:
        """(H, W, 3) uint8 RGB: of a JPEG a tensor on the device, there for every stream; of a PNG an array of the host.

        Pixels of nvJPEG differ a little from libjpeg's. Raises DecodeError for an empty, cut short or foreign file.
        """
        view = memoryview(data).cast('B')
        if bytes(view[:2]) != JPEG_MAGIC:
            return decode_compressed(view, topic)
        try:
            (planes,) = self._decode([self._torch.from_numpy(np.array(view))], mode=self._rgb, device=self._device)
        except RuntimeError as error:
            raise DecodeError(f'{topic}: broken JPEG of {len(view)} bytes: {error}') from error
        picture = planes.permute(1, 2, 0).contiguous()
        if picture.is_cuda:  # engines work in streams of their own
            self._torch.cuda.current_stream().synchronize()
        return picture

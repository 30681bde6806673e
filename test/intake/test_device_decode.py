"""JPEGs decoded to tensors: with a stand-in for torchvision everywhere, with nvJPEG itself where there is a GPU."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import simplejpeg
from fake_torchvision import fake_torchvision  # noqa: F401 - a fixture

from occ_perception.runtime.intake.decode import DecodeError
from occ_perception.runtime.intake.device_decode import DeviceDecoder

torch = pytest.importorskip('torch')
PICTURE = np.linspace(0, 255, 90 * 160 * 3).reshape(90, 160, 3).astype(np.uint8)
JPEG = simplejpeg.encode_jpeg(PICTURE, 95)


def test_a_jpeg_becomes_a_tensor(fake_torchvision) -> None:  # noqa: F811
    picture = DeviceDecoder('cpu')(memoryview(JPEG), '/cam')
    assert isinstance(picture, torch.Tensor) and picture.dtype == torch.uint8 and picture.is_contiguous()
    np.testing.assert_array_equal(picture.numpy(), simplejpeg.decode_jpeg(JPEG))


def test_what_is_no_jpeg_is_read_or_refused_as_on_the_host(fake_torchvision) -> None:  # noqa: F811
    decode = DeviceDecoder('cpu')
    with pytest.raises(DecodeError, match=f'/cam: broken JPEG of {len(JPEG) // 2} bytes'):
        decode(JPEG[:len(JPEG) // 2], '/cam')
    for data, words in ((b'', 'empty picture'), (b'GIF89a', 'neither JPEG nor PNG')):
        with pytest.raises(DecodeError, match=words):
            decode(data, '/cam')


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, fake_torchvision) -> None:  # noqa: F811
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match=r'torch .* finds none; have them decoded on the CPU'):
        DeviceDecoder()
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    monkeypatch.delitem(sys.modules, 'torchvision.io')
    with pytest.raises(ValueError, match='torchvision is not installed; pip install torchvision, or'):
        DeviceDecoder('cpu')


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU that torch can use')
def test_nvjpeg_gives_nearly_the_pixels_of_the_host() -> None:
    pytest.importorskip('torchvision')
    picture = DeviceDecoder()(JPEG, '/cam')
    assert picture.is_cuda
    assert np.abs(picture.cpu().numpy().astype(int) - simplejpeg.decode_jpeg(JPEG)).mean() < 2

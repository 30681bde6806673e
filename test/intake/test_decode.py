from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from occ_perception.runtime.intake.calibration import CalibrationError, intrinsics_of, rotation_is_sound
from occ_perception.runtime.intake.decode import DecodeError, decode_compressed, decode_raw, decode_reduced


def picture(height: int = 24, width: int = 32) -> np.ndarray:
    """Red grows to the right, green downwards, blue is constant."""
    out = np.full((height, width, 3), 40, np.uint8)
    out[..., 0] = np.linspace(0, 250, width)[None]
    out[..., 1] = np.linspace(0, 250, height)[:, None]
    return out


def png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, 'png')
    return out.getvalue()


def test_jpeg_is_rgb_and_close() -> None:
    image = picture()
    data = simplejpeg.encode_jpeg(image, quality=95, colorspace='RGB', colorsubsampling='444')
    assert np.abs(decode_compressed(data, '/cam').astype(int) - image).max() < 12


def test_grey_jpeg_becomes_three_channels() -> None:
    data = simplejpeg.encode_jpeg(picture()[..., :1].copy(), colorspace='GRAY')
    assert decode_compressed(data, '/cam').shape == (24, 32, 3)


@pytest.mark.parametrize(('least', 'size'), [((99, 176), (113, 200)), ((112, 200), (113, 200)), ((113, 201), (141, 250)),
                                             ((225, 400), (225, 400)), ((450, 800), (225, 400)), ((50, 800), (225, 400))])
def test_a_jpeg_is_decoded_no_larger_than_needed(least: tuple[int, int], size: tuple[int, int]) -> None:
    image = picture(225, 400)
    data = simplejpeg.encode_jpeg(image, quality=95, colorspace='RGB', colorsubsampling='444')
    found, whole = decode_reduced(data, '/cam', least)
    assert (found.shape, whole) == ((*size, 3), (225, 400))
    shrunk = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX))
    assert np.abs(found.astype(int) - shrunk)[4:-4, 4:-4].max() < 8


def test_reduced_decoding_takes_png_whole_and_refuses_broken_files() -> None:
    image, whole = decode_reduced(png(picture()), '/cam', (5, 5))
    assert image.shape[:2] == whole == (24, 32)
    for data in (b'', simplejpeg.encode_jpeg(picture(240, 320), colorspace='RGB')[:2000]):
        with pytest.raises(DecodeError, match='/cam'):
            decode_reduced(data, '/cam', (100, 100))


def test_png_is_exact() -> None:
    np.testing.assert_array_equal(decode_compressed(png(picture()), '/cam'), picture())


@pytest.mark.parametrize('make', [
    lambda: simplejpeg.encode_jpeg(picture(240, 320), colorspace='RGB')[:2000],
    lambda: simplejpeg.encode_jpeg(picture(), colorspace='RGB')[:10],
    lambda: png(picture(240, 320))[:200],
    lambda: b'',
    lambda: b'GIF89a....',
], ids=['cut JPEG', 'JPEG without header', 'cut PNG', 'empty', 'GIF'])
def test_broken_files_name_the_topic(make) -> None:
    with pytest.raises(DecodeError, match='/CAM_BACK/image'):
        decode_compressed(make(), '/CAM_BACK/image')


@pytest.mark.parametrize(('encoding', 'order'), [
    ('rgb8', [0, 1, 2]), ('bgr8', [2, 1, 0]), ('8UC3', [2, 1, 0]), ('rgba8', [0, 1, 2, 2]), ('bgra8', [2, 1, 0, 0]),
])
def test_raw_channel_orders(encoding: str, order: list[int]) -> None:
    image = picture()
    data = np.ascontiguousarray(image[..., order])
    np.testing.assert_array_equal(decode_raw(data.tobytes(), 24, 32, 32 * len(order), encoding, '/cam'), image)


def test_raw_rows_may_be_padded() -> None:
    image = picture()
    padded = np.zeros((24, 128), np.uint8)
    padded[:, :96] = image.reshape(24, 96)
    np.testing.assert_array_equal(decode_raw(padded.tobytes(), 24, 32, 128, 'rgb8', '/cam'), image)


def test_mono_and_yuv() -> None:
    grey = decode_raw(bytes([7] * 12), 3, 4, 4, 'mono8', '/cam')
    assert grey.shape == (3, 4, 3)
    assert (grey == 7).all()
    # Pure red in video-range BT.601: Y 81, U 90, V 240.
    red = decode_raw(bytes([90, 81, 240, 81] * 4), 2, 4, 8, 'uyvy', '/cam')
    assert np.abs(red.astype(int) - [254, 0, 0]).max() <= 2
    same = decode_raw(bytes([81, 90, 81, 240] * 4), 2, 4, 8, 'yuyv', '/cam')
    np.testing.assert_array_equal(same, red)


@pytest.mark.parametrize(('arguments', 'word'), [
    ((bytes(10), 4, 4, 12, 'rgb8'), '10 bytes do not hold 4x4'), ((bytes(48), 4, 4, 12, 'bayer_rggb8'), 'bayer_rggb8'),
    ((b'', 0, 0, 0, 'rgb8'), '0x0'), ((bytes(48), 4, 4, 5, 'rgb8'), 'rows of 5'),
])
def test_raw_errors(arguments: tuple, word: str) -> None:
    with pytest.raises(DecodeError, match=f'/cam.*{word}'):
        decode_raw(*arguments, '/cam')


K = np.array([400, 0, 160, 0, 400, 120, 0, 0, 1.0])
P = np.array([300, 0, 150, 0, 0, 300, 110, 0, 0, 0, 1, 0.0])


def test_intrinsics_of_rectified_pictures_come_from_p() -> None:
    assert intrinsics_of(K, P, 320, 240, True, '/i')[0, 0] == 300
    assert intrinsics_of(K, P, 320, 240, False, '/i')[0, 0] == 400
    assert intrinsics_of(K, np.zeros(12), 320, 240, True, '/i')[0, 2] == 160


@pytest.mark.parametrize(('k', 'size', 'word'), [
    (np.zeros(9), (320, 240), 'fx = 0'), (K * np.nan, (320, 240), 'fx = nan'), (K, (0, 0), '0x0'), (K, (100, 240), 'principal'),
    (np.array([4e5, 0, 160, 0, 4e5, 120, 0, 0, 1]), (320, 240), 'fx = 400000'),
])
def test_implausible_calibration_is_refused(k: np.ndarray, size: tuple[int, int], word: str) -> None:
    with pytest.raises(CalibrationError, match=word):
        intrinsics_of(k, np.zeros(12), *size, True, '/CAM/camera_info')


def test_broken_rotation_is_told_from_a_sound_one() -> None:
    assert rotation_is_sound(np.eye(3).ravel())
    assert rotation_is_sound(np.zeros(9))
    assert not rotation_is_sound(np.array([1, 0, 0, 1, 0, 0, 1, 0, 0.0]))

"""Images at network size: geometry of the intrinsics, odd sizes, refusals. (Bit equality: networks/test_goldens.py.)"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from occ_perception.catalogue import ImagePreprocessing
from occ_perception.runtime.intake.image import fit

SAMPLE = ImagePreprocessing(input_height=128, input_width=352)
INTRINSICS = np.array([[600.0, 0, 400], [0, 600, 225], [0, 0, 1]])


def test_network_sized_images_pass_untouched():
    image = np.random.default_rng(0).integers(0, 256, (128, 352, 3), dtype=np.uint8)
    fitted, intrinsics = fit(image, INTRINSICS, SAMPLE)
    assert fitted is image
    np.testing.assert_array_equal(intrinsics, INTRINSICS)


def test_intrinsics_follow_the_pixels():
    image = np.zeros((450, 800, 3), np.uint8)
    point = np.array([1.0, 0.6, 4.0])
    u, v = (INTRINSICS @ point)[:2] / 4
    image[round(v) - 3:round(v) + 4, round(u) - 3:round(u) + 4] = 255
    fitted, intrinsics = fit(image, INTRINSICS, SAMPLE)
    weight = fitted[..., 0].astype(float)
    rows, columns = np.mgrid[:128, :352]
    seen = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    np.testing.assert_allclose(seen, (intrinsics @ point)[:2] / 4, atol=0.6)


def test_bottom_rows_are_kept_and_flat_images_are_padded_on_top():
    tall = np.zeros((450, 800, 3), np.uint8)
    tall[-20:] = 200
    assert fit(tall, INTRINSICS, SAMPLE)[0][-4:].min() > 190
    flat = np.full((200, 800, 3), 90, np.uint8)
    fitted, intrinsics = fit(flat, INTRINSICS, SAMPLE)
    assert fitted.shape == (128, 352, 3)
    assert fitted[-88:].min() == 90
    assert fitted[:40].max() == 0
    assert intrinsics[1, 2] == pytest.approx(225 * 0.44 + 40)


@pytest.mark.parametrize('width', [1280, 1600, 1920, 1437])
def test_any_source_width_gives_network_size(width):
    assert fit(np.zeros((width * 9 // 16, width, 3), np.uint8), INTRINSICS, ImagePreprocessing())[0].shape == (256, 704, 3)


@pytest.mark.parametrize(('height', 'width', 'preprocessing'), [
    (900, 1600, ImagePreprocessing()), (900, 1600, SAMPLE), (450, 800, SAMPLE), (1080, 1920, ImagePreprocessing()),
    (1080, 1440, ImagePreprocessing()), (886, 1920, ImagePreprocessing()), (900, 1600, ImagePreprocessing(512, 1408)),
    (300, 400, ImagePreprocessing(200, 800)), (808, 1437, SAMPLE), (720, 1280, ImagePreprocessing(resample='bilinear')),
    (200, 800, SAMPLE)])
def test_rows_that_are_cut_off_are_not_resized_and_the_others_keep_their_pixels(height, width, preprocessing):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = preprocessing.input_width, height * preprocessing.input_width // width
    resample = {'bicubic': Image.Resampling.BICUBIC, 'bilinear': Image.Resampling.BILINEAR}[preprocessing.resample]
    whole = Image.fromarray(image).resize(size, resample)
    expected = whole.crop((0, size[1] - preprocessing.input_height, *size))
    np.testing.assert_array_equal(fit(image, INTRINSICS, preprocessing)[0], np.asarray(expected))


@pytest.mark.parametrize('image', [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3)), np.zeros((0, 10, 3), np.uint8)])
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match='expected \\(H, W, 3\\) uint8 RGB'):
        fit(image, INTRINSICS, SAMPLE)

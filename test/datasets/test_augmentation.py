"""Train-time augmentation: pixels go where their matrices say, mirrored scenes equal the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_tree import truth

from occ_perception.catalogue import ImagePreprocessing
from occ_perception.datasets.augmentation import ImageDraw, ImageDraws, SceneDraw
from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.runtime.intake.image import fit


def test_draws_stay_in_their_ranges() -> None:
    random, draws = np.random.default_rng(0), ImageDraws()
    drawn = [draws.draw((1600, 900), random) for _ in range(300)]
    scales = np.array([draw.resize for draw in drawn])
    assert 0.38 <= scales.min() < 0.40 and 0.53 < scales.max() <= 0.55
    assert all(draw.size == (int(1600 * draw.resize), int(900 * draw.resize)) for draw in drawn)
    for left, top, right, bottom in (draw.box for draw in drawn):
        assert (right - left, bottom - top) == (704, 256)
    assert all(draw.box[3] == draw.size[1] for draw in drawn)
    lefts = np.array([draw.box[0] for draw in drawn])
    assert lefts.min() == 0 and lefts.max() > 100
    assert all(draw.box[0] <= max(0, draw.size[0] - 704) for draw in drawn)
    degrees = np.array([draw.degrees for draw in drawn])
    assert -5.4 <= degrees.min() < -5 and 5 < degrees.max() <= 5.4
    assert 100 < sum(draw.mirror for draw in drawn) < 200


def test_a_draw_without_chance_is_the_preprocessing_of_the_nodes() -> None:
    random = np.random.default_rng(1)
    image = random.integers(0, 255, (900, 1600, 3), np.uint8)
    draw = ImageDraws(resize=(0, 0), degrees=(0, 0), mirror=False).draw((1600, 900), random)
    k = np.array([[1266.0, 0, 816], [0, 1266, 491], [0, 0, 1]])
    fitted, intrinsics = fit(image, k, ImagePreprocessing())
    np.testing.assert_array_equal(draw.apply(image), fitted)
    rotation, shift = draw.transform()
    np.testing.assert_allclose(rotation @ k[:2, 2] + shift, intrinsics[:2, 2], atol=1e-9)


@pytest.mark.parametrize(('mirror', 'degrees'), [(False, 0.0), (True, 0.0), (False, 5.0), (True, -5.0)])
def test_pixels_go_where_the_matrices_say(mirror: bool, degrees: float) -> None:
    draw = ImageDraw(0.5, (800, 450), (40, 194, 744, 450), mirror, degrees)
    rotation, shift = draw.transform()
    for spot in ((600, 700), (1200, 620), (300, 640)):
        image = np.zeros((900, 1600), np.uint8)
        image[spot[1] - 8:spot[1] + 8, spot[0] - 8:spot[0] + 8] = 255
        rows, columns = np.nonzero(draw.apply(image, nearest=True))
        np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], rotation @ spot + shift, atol=0.6)


def test_mirrored_scenes() -> None:
    seen = [SceneDraw.mirrored(np.random.default_rng(seed)) for seed in range(40)]
    assert {(draw.mirror_x, draw.mirror_y) for draw in seen} == {(x, y) for x in (False, True) for y in (False, True)}
    labels = np.arange(200 * 200 * 16, dtype=np.int64).reshape(200, 200, 16) % 251
    ids, flow = labels.astype(np.uint16), np.stack([labels, 2 * labels], -1).astype(np.float32)
    before = OccupancyTruth(labels.astype(np.uint8), labels > 100, labels > 50, ids, flow)
    after = SceneDraw(mirror_x=True).truth(before)
    np.testing.assert_array_equal(after.labels[0], before.labels[199])
    np.testing.assert_array_equal(after.mask_camera, before.mask_camera[::-1])
    assert after.flow is not None
    np.testing.assert_array_equal(after.flow[0, :, :, 0], -flow[199, :, :, 0])
    np.testing.assert_array_equal(after.flow[0, :, :, 1], flow[199, :, :, 1])
    np.testing.assert_array_equal(SceneDraw(mirror_y=True).truth(before).instances, ids[:, ::-1])
    same = SceneDraw().truth(truth())
    np.testing.assert_array_equal(same.labels, truth().labels)
    with pytest.raises(ValueError, match='only mirror'):
        SceneDraw(degrees=3).volume(labels)


def test_boxes_as_published(shared: Path) -> None:
    with np.load(shared / 'conformance' / 'golden' / 'flashocc' / 'units' / 'bda.npz') as golden:
        expected = {name: golden[name] for name in golden.files}
    cases = {'none': SceneDraw(), 'dx': SceneDraw(mirror_x=True), 'dy': SceneDraw(mirror_y=True),
             'all': SceneDraw(degrees=12, scale=1.05, mirror_x=True, mirror_y=True)}
    for name, draw in cases.items():
        np.testing.assert_allclose(draw.matrix(), expected[f'{name}_mat'], atol=1e-6)
        got, wanted = draw.boxes(expected['none_boxes']), expected[f'{name}_boxes']
        np.testing.assert_allclose(np.delete(got, 6, 1), np.delete(wanted, 6, 1), atol=2e-5)
        np.testing.assert_allclose(np.exp(1j * got[:, 6]), np.exp(1j * wanted[:, 6]), atol=1e-5)

"""Pictures: what is drawn where, and that the files can be opened."""

from __future__ import annotations

import base64
import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.pictures.animation import write_gif
from occ_perception.pictures.birds_eye import render_birds_eye
from occ_perception.pictures.colors import CLASS_COLORS, UNSEEN
from occ_perception.pictures.composite import HEIGHT, WIDTH, FramePicture, compose
from occ_perception.pictures.report import FRAME_WIDTH, Report, write_report
from occ_perception.pictures.voxel_view import View, empty_leap, march, render_voxels
from occ_perception.runtime.live_score import LiveScore, Score

SHAPE = (200, 200, 16)


def street() -> np.ndarray:
    """A road, a wall on the left, a car in front."""
    labels = np.full(SHAPE, FREE, np.uint8)
    labels[:, 60:140, 2] = 11
    labels[:, 150:154, 2:12] = 15
    labels[120:131, 98:103, 3:7] = 4
    return labels


@pytest.fixture(scope='module')
def frame() -> FramePicture:
    labels = street()
    seen = np.ones(SHAPE, bool)
    images = {name: np.full((450, 800, 3), 30 * k, np.uint8) for k, name in enumerate(NUSCENES_CAMERAS)}
    ids = np.where(labels == 4, 3, 0).astype(np.uint16)
    return FramePicture('scocc_sample on street 5', 3, 50, 0.6, images, labels, OccupancyTruth(labels, seen, seen, ids), ids,
                        0.471, 0.66, 132.0)


def march_step_by_step(solid: np.ndarray, start: np.ndarray, ray: np.ndarray) -> tuple[int, ...] | None:
    """First solid voxel by tiny steps."""
    voxels = np.floor(start + np.arange(0, 40, 0.002)[:, None] * ray).astype(int)
    voxels = voxels[((voxels >= 0) & (voxels < solid.shape)).all(axis=1)]
    hits = np.flatnonzero(solid[tuple(voxels.T)])
    return tuple(int(v) for v in voxels[hits[0]]) if hits.size else None


def test_rays_hit_the_first_solid_voxel() -> None:
    rng = np.random.default_rng(3)
    solid = rng.random((20, 24, 8)) < 0.06
    start = np.array([3.0, 9.0, 12.0], np.float32)
    rays = rng.normal(size=(3, 80)).astype(np.float32) + np.array([[0.5], [0.2], [-1.5]], np.float32)
    rays /= np.linalg.norm(rays, axis=0)
    hit, voxel = march(empty_leap(solid), start, rays)
    found = {int(k): tuple(int(v) for v in voxel[:, j]) for j, k in enumerate(hit)}
    wrong = [k for k in range(80) if found.get(k) != march_step_by_step(solid, start, rays[:, k])]
    assert len(wrong) <= 1, 'small steps may cut one corner, no more'
    assert len(found) > 20


def test_leap_is_the_chebyshev_distance() -> None:
    solid = np.zeros((30, 30, 12), bool)
    solid[10, 12, 4] = True
    leap = empty_leap(solid)
    assert leap[10, 12, 4] == 0
    assert leap[13, 12, 4] == 3
    assert leap[13, 10, 8] == 4
    assert leap[29, 29, 11] == 16


def test_cube_is_drawn_where_it_stands() -> None:
    solid = np.zeros(SHAPE, bool)
    solid[98:103, 98:103, 3:8] = True
    colors = np.full((*SHAPE, 3), (200, 0, 0), np.uint8)
    view = View(eye_m=(-20, 0, 10), target_m=(0.2, 0.2, 1.2), width=160, height=90)
    image = render_voxels(colors, solid, view, ((255, 255, 255), (255, 255, 255))).astype(int)
    red = image[..., 0] - image[..., 1] > 60
    assert red[45, 80]
    assert not red[:, :55].any()
    assert not red[:, 105:].any()
    top, back = image[39, 80], image[47, 80]
    assert top[0] > back[0] + 20, 'the sun lights the top more than the side in shade'


def test_shadow_falls_away_from_the_sun() -> None:
    solid = np.zeros(SHAPE, bool)
    solid[:, :, 2] = True
    view = View(eye_m=(0, -0.1, 60), target_m=(0, 0, 0), width=200, height=200, field_of_view_deg=30)
    colors = np.full((*SHAPE, 3), 200, np.uint8)
    bare = render_voxels(colors, solid, view, ((0, 0, 0), (0, 0, 0))).astype(int)
    solid[100, 100, 3:12] = True
    with_pole = render_voxels(colors, solid, view, ((0, 0, 0), (0, 0, 0))).astype(int)
    darker = (bare - with_pole)[..., 0] > 40
    rows, columns = np.nonzero(darker)
    # seen from above with y up the picture and x to the right; the sun stands towards -x, +y
    assert columns.mean() > 102
    assert rows.mean() > 102


def test_birds_eye_orientation_and_unknown() -> None:
    labels = street()
    labels[:60, :30] = UNKNOWN
    picture = np.asarray(render_birds_eye(labels, 800)).astype(int)

    def cell(x: int, y: int) -> np.ndarray:
        return picture[800 - 4 * x - 2, 800 - 4 * y - 2]

    assert np.abs(cell(125, 100) - CLASS_COLORS[4]).max() < 60, 'the car, in front of the ego vehicle: above the middle'
    assert np.abs(cell(50, 152) - CLASS_COLORS[15]).max() < 60, 'the wall on the left'
    assert tuple(cell(20, 15)) == UNSEEN
    assert tuple(cell(100, 30)) == (255, 255, 255), 'seen and free'


def test_composite_shows_every_part_in_time(frame: FramePicture) -> None:
    compose(frame)
    start = time.process_time()
    page = compose(frame)
    assert time.process_time() - start < 2, 'about 0.5 s on one idle core'
    assert page.size == (WIDTH, HEIGHT)
    pixels = np.asarray(page)
    for k in range(1, 6):
        assert (pixels == 30 * k).all(axis=-1).sum() > 20_000, f'camera {k}'
    magenta = (np.abs(pixels.astype(int) - CLASS_COLORS[11]).max(axis=-1) < 60)
    assert magenta[:, :WIDTH // 2].sum() > 30_000
    assert magenta[:, WIDTH // 2:].sum() > 30_000
    assert not np.array_equal(pixels, np.asarray(compose(FramePicture(**{**frame.__dict__, 'miou': 0.1})))), 'the score is shown'


def test_missing_camera_is_said(frame: FramePicture) -> None:
    partial = FramePicture(**{**frame.__dict__, 'images': {'CAM_BACK': frame.images['CAM_BACK']}})
    assert not np.array_equal(np.asarray(compose(partial)), np.asarray(compose(frame)))


def test_gif_stays_under_its_limit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (60, 100, 3)).astype(np.uint8)
    frames = [Image.fromarray(np.roll(noise, 10 * k, axis=1)).resize((800, 480)) for k in range(4)]
    size = write_gif(frames, tmp_path / 'a.gif', 0.2, max_bytes=900_000)
    assert (tmp_path / 'a.gif').stat().st_size <= 900_000
    with Image.open(tmp_path / 'a.gif') as gif:
        assert gif.n_frames == 4
        assert gif.size == size
        assert gif.info['duration'] == 200
        assert gif.info['loop'] == 0
    with pytest.raises(ValueError, match='no frames'):
        write_gif([], tmp_path / 'b.gif', 0.2)


def test_class_colours_survive_the_palette(tmp_path: Path, frame: FramePicture) -> None:
    write_gif([compose(frame)] * 2, tmp_path / 'a.gif', 0.2)
    with Image.open(tmp_path / 'a.gif') as gif:
        colors = {color for _, color in gif.convert('RGB').getcolors(1 << 24)}
    for label in (4, 3, 7):
        assert min(max(abs(a - b) for a, b in zip(color, CLASS_COLORS[label], strict=True)) for color in colors) < 12


def test_report_is_self_contained(tmp_path: Path, frame: FramePicture) -> None:
    iou = {'car': 0.5}
    score = Score(0.4712, 0.66, {info: iou.get(info, float('nan')) for info in (
        'others', 'barrier', 'bicycle', 'bus', 'car', 'construction_vehicle', 'motorcycle', 'pedestrian', 'traffic_cone', 'trailer',
        'truck', 'driveable_surface', 'other_flat', 'sidewalk', 'terrain', 'manmade', 'vegetation')})
    live = LiveScore('scocc_sample', 50, 48, 0, score, (120.0, 130.0, float('nan')), (1, 2, 3), ())
    report = Report('a <title>', 'under it', live, {'scocc_sample': score, '(a) constant': Score(0.2, 0.3, score.iou)},
                    [compose(frame)], 0.2, ['how it was done'], {'machine': 'two cores'})
    write_report(report, tmp_path / 'index.html')
    page = (tmp_path / 'index.html').read_text()
    assert not re.search(r'(src|href)="?https?:', page)
    assert 'a &lt;title&gt;' in page
    for text in ('47.1', '48 / 50', '>2<', '125 ms', '(a) constant', '20.0', 'how it was done', 'two cores'):
        assert text in page, text
    images = re.findall(r'data:image/jpeg;base64,([A-Za-z0-9+/=]+)', page)
    assert len(images) == 1
    assert Image.open(io.BytesIO(base64.b64decode(images[0]))).size[0] == FRAME_WIDTH

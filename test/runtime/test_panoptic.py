"""Centres and instance ids are those of the published post-processing; the live form groups by the corrected class map."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import FREE, OCC3D, THINGS, UNKNOWN
from occ_perception.runtime.panoptic import (
    CORRECTED_CLASSES,
    FIRST_CENTER_ID,
    HEATMAP_CLASSES,
    MAX_CENTERS,
    PUBLISHED_CLASSES,
    Centers,
    assign_instances,
    decode_centers,
    instances_from_centers,
)

GOLDEN = Path(__file__).resolve().parents[1] / 'golden'


def generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def smooth_field(name: str, channels: int, size: int, nodes: int, amplitude: float) -> np.ndarray:
    """(channels, size, size) float32: normal noise on nodes x nodes points, bilinear between them, corners aligned."""
    low = generator(name).standard_normal((nodes, nodes, channels))
    at = np.linspace(0.0, nodes - 1.0, size)
    first = np.minimum(at.astype(np.int64), nodes - 2)
    f = at - first
    fy, fx = f[:, None, None], f[None, :, None]
    top = low[first][:, first] * (1 - fx) + low[first][:, first + 1] * fx
    bottom = low[first + 1][:, first] * (1 - fx) + low[first + 1][:, first + 1] * fx
    return (amplitude * (top * (1 - fy) + bottom * fy)).transpose(2, 0, 1).astype(np.float32)


def blocks(name: str, cell: int) -> np.ndarray:
    """(200, 200, 16) uint8: columns of one class up to a random height, free above."""
    random = generator(name)
    label = random.integers(0, 18, (200 // cell, 200 // cell)).repeat(cell, 0).repeat(cell, 1)
    top = random.integers(0, 16, (200 // cell, 200 // cell)).repeat(cell, 0).repeat(cell, 1)
    return np.where(np.arange(16) < top[:, :, None], label[:, :, None], FREE).astype(np.uint8)


@pytest.fixture(scope='module')
def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    noise = (0.02 * generator('pano/heatnoise').standard_normal((10, 200, 200))).astype(np.float32)
    heatmap = smooth_field('pano/heat', 10, 200, 40, 1.6) + noise - np.float32(4.2)
    reg = generator('pano/reg').uniform(-0.2, 1.2, (1, 2, 200, 200)).astype(np.float32)[0]
    height = generator('pano/height').uniform(-1.5, 2.5, (1, 1, 200, 200)).astype(np.float32)[0]
    return heatmap, reg, height


def centers_of(golden: np.lib.npyio.NpzFile) -> Centers:
    return Centers(golden['centers_xyz'], golden['centers_score'], golden['centers_label'])


def assert_same_grouping(ids: np.ndarray, golden: np.ndarray) -> None:
    """Equal below the first centre's id, and one to one above it."""
    ids, golden = ids.astype(np.int64), golden.astype(np.int64)
    grouped = golden >= FIRST_CENTER_ID
    np.testing.assert_array_equal(ids >= FIRST_CENTER_ID, grouped)
    np.testing.assert_array_equal(ids[~grouped], golden[~grouped])
    pairs = np.unique(np.stack([ids[grouped], golden[grouped]]), axis=1)
    assert pairs.shape[1] == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


def test_centers_are_the_published_ones(head):
    golden = np.load(GOLDEN / 'panoptic_unit.npz')
    found = decode_centers(*head)
    np.testing.assert_array_equal(found.label, golden['centers_label'])
    np.testing.assert_allclose(found.xyz, golden['centers_xyz'], atol=1e-5)
    np.testing.assert_allclose(found.score, golden['centers_score'], atol=1e-6)


def test_instances_are_the_published_ones(head):
    golden = np.load(GOLDEN / 'panoptic_unit.npz')
    labels = blocks('pano/occ', 5)
    assert_same_grouping(assign_instances(labels, decode_centers(*head), classes=PUBLISHED_CLASSES), golden['ids'])


def test_instances_of_a_network_are_the_published_ones():
    golden = np.load(GOLDEN / 'panoptic_network.npz')
    assert len(golden['centers_xyz']) == MAX_CENTERS
    assert_same_grouping(assign_instances(golden['labels'], centers_of(golden), classes=PUBLISHED_CLASSES), golden['ids'])


def test_goldens_tell_the_class_maps_apart():
    golden = np.load(GOLDEN / 'panoptic_network.npz')
    with pytest.raises(AssertionError):
        assert_same_grouping(assign_instances(golden['labels'], centers_of(golden)), golden['ids'])


def test_corrected_map_joins_channels_and_labels_of_one_name():
    names = {info.id: info.name for info in OCC3D}
    assert tuple(names[label] for label in CORRECTED_CLASSES.label_of_channel) == HEATMAP_CLASSES


def one_peak(channel: int, row: int, column: int, logit: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    heatmap = np.full((10, 200, 200), -10.0, np.float32)
    heatmap[channel, row, column] = logit
    return heatmap, np.full((2, 200, 200), 0.5, np.float32), np.full((1, 200, 200), 1.5, np.float32)


def test_a_peak_lies_in_the_middle_of_its_cell():
    found = decode_centers(*one_peak(7, row=120, column=30))
    np.testing.assert_allclose(found.xyz, [[-40 + 0.4 * 30.5, -40 + 0.4 * 120.5, 1.5]], atol=1e-5)
    assert found.label.tolist() == [7]


def test_threshold_plateaus_and_limits():
    heatmap, reg, height = one_peak(0, 10, 10)
    heatmap[0, 10, 11] = 2.0
    assert len(decode_centers(heatmap, reg, height).xyz) == 2
    heatmap[0, 10, 11] = 1.9
    assert len(decode_centers(heatmap, reg, height).xyz) == 1
    heatmap[0, 10, 10:12] = 20, 21  # where the sigmoid in single precision is 1 for both
    assert len(decode_centers(heatmap, reg, height).xyz) == 2
    heatmap[0, 10, 10:12] = 2.0, 1.9
    assert len(decode_centers(heatmap, reg, height, score_threshold=0.9).xyz) == 0
    assert len(decode_centers(heatmap, reg, np.full_like(height, 11)).xyz) == 0
    assert len(decode_centers(heatmap + 12, reg, height, score_threshold=1e-6).xyz) == MAX_CENTERS
    with pytest.raises(ValueError, match=r'reg \(2, 200, 100\)'):
        decode_centers(heatmap, reg[:, :, :100], height)


def street(label: int) -> np.ndarray:
    labels = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    labels[:, :, 2] = 11
    labels[:5] = UNKNOWN
    labels[100:110, 100:105, 3:6] = label
    labels[112:122, 100:105, 3:6] = label
    return labels


def at_voxels(*voxels: tuple[int, int, int], channel: int = 0) -> Centers:
    xyz = np.array(OCC3D_GRID.origin_m) + 0.4 * (np.array(voxels) + 0.5)
    return Centers(xyz.astype(np.float32), np.linspace(0.9, 0.5, len(voxels), dtype=np.float32), np.full(len(voxels), channel))


def test_touching_cars_are_told_apart_by_their_centers():
    labels = street(4)
    labels[110:112, 100:105, 3:6] = 4
    ids, instances = instances_from_centers(labels, at_voxels((105, 102, 4), (116, 102, 4)))
    assert [(one.id, one.label, one.voxel_count) for one in instances] == [(1, 4, 11 * 15), (2, 4, 11 * 15)]
    for one in instances:
        assert one.voxel_count == (ids == one.id).sum()
        assert one.size_m[0] == pytest.approx(one.voxel_count / 15 * 0.4, abs=1e-6)
        assert one.center_m == pytest.approx(tuple(OCC3D_GRID.centers()[ids == one.id].mean(axis=0)), abs=1e-4)
    assert sorted(one.score for one in instances) == pytest.approx([0.5, 0.9])
    assert not ids[labels != 4].any()


def test_equally_near_voxels_go_to_the_earlier_center():
    labels = street(4)
    for order in ((0, 1), (1, 0)):
        voxels = [(100, 102, 4), (110, 102, 4)]
        ids = assign_instances(labels, at_voxels(voxels[order[0]], voxels[order[1]]))
        assert (ids[105, 100:105, 3:6] == FIRST_CENTER_ID).all()


@pytest.mark.parametrize('channel', range(10))
def test_live_instances_have_the_class_of_their_channel(channel):
    label = next(info.id for info in OCC3D if info.name == HEATMAP_CLASSES[channel])
    _, instances = instances_from_centers(street(label), at_voxels((105, 102, 4), (117, 102, 4), channel=channel))
    assert [one.label for one in instances] == ([label, label] if label in THINGS else [])


def test_no_center_no_instance_and_ids_stay_classes():
    labels = street(4)
    nothing = Centers(np.zeros((0, 3), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    ids, instances = instances_from_centers(labels, nothing)
    assert not ids.any()
    assert instances == ()
    np.testing.assert_array_equal(assign_instances(labels, nothing), labels)


def test_it_keeps_up_with_the_sensors(head):
    labels = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    random = np.random.default_rng(0)
    for label in random.choice(THINGS, 60):
        x, y = random.integers(0, 188, 2)
        labels[x:x + 11, y:y + 5, 3:7] = label
    times = []
    for _ in range(5):
        began = time.perf_counter()
        instances_from_centers(labels, decode_centers(*head))
        times.append(time.perf_counter() - began)
    assert min(times) < 0.03, 'about 4 ms on one core of 2024'

"""The ray caster against the official kernel's numbers, and against a plain loop over voxels on odd grids and rays."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.metrics import ray_cast
from occ_perception.metrics.ray_cast import RayHits, cast_rays
from occ_perception.metrics.ray_set import lidar_rays

GOLDEN = Path(__file__).resolve().parents[1] / 'golden'
CUBE = VoxelGridSpec((0.0, 0.0, 0.0), 1.0, (7, 5, 4))


def torch_caster() -> Callable[..., RayHits]:
    pytest.importorskip('torch')
    from occ_perception.metrics import ray_cast_torch

    def cast(*arguments, **named) -> RayHits:
        return ray_cast_torch.cast_rays(*arguments, **named, device='cpu')
    return cast


@pytest.fixture(params=['numpy', 'torch'])
def caster(request: pytest.FixtureRequest) -> Callable[..., RayHits]:
    return cast_rays if request.param == 'numpy' else torch_caster()


def check_unit_case(golden: dict, volume: np.ndarray, caster: Callable[..., RayHits]) -> None:
    """Every stored ray exactly, and the counts and the sum over all rays."""
    hits = caster(volume, np.array([golden['origin']]), FREE)
    every = slice(None, None, golden['ray_index_step'])
    assert hits.labels[every].tolist() == golden['label']
    np.testing.assert_array_equal(hits.voxel[every].astype(np.float32), np.float32(golden['flat_voxel_rounded_to_float32']))
    np.testing.assert_array_equal(hits.distance_m[every], np.float32(golden['distance_m']))
    assert np.count_nonzero(hits.labels != FREE) == golden['n_hit']
    assert np.count_nonzero(hits.distance_m < 0) == golden['n_missed_grid']
    assert hits.distance_m.sum(dtype=np.float64) == pytest.approx(golden['dist_sum'], rel=1e-12)


@pytest.mark.parametrize('index', range(7))
def test_equals_the_official_kernel(expected: dict, caster: Callable[..., RayHits], index: int) -> None:
    volume = np.full((200, 200, 16), FREE, np.uint8)
    with np.load(GOLDEN / 'metrics_raycast.npz') as data:
        at, labels = data[f'voxels_{index}']
    volume.reshape(-1)[at] = labels
    check_unit_case(expected['raycast_unit']['cases'][index], volume, caster)


def test_equals_the_official_kernel_on_every_case_given(cases) -> None:
    for golden in cases.expected('raycast_unit')['cases']:
        check_unit_case(golden, cases.generator.sparse_volume(*golden['volume']), cast_rays)


def traverse(occupied: np.ndarray, origin: np.ndarray, end: np.ndarray) -> tuple[float, tuple[int, int, int]]:
    """One ray, one voxel after the other: distance in voxel units and voxel (float32 voxel coordinates in)."""
    origin, end = origin.astype(float).tolist(), end.astype(float).tolist()
    span = [e - o for e, o in zip(end, origin, strict=True)]
    length = math.sqrt(span[0] * span[0] + span[1] * span[1] + span[2] * span[2])
    direction = [s / length for s in span]
    voxel = [math.trunc(o) for o in origin]
    step = [1 if d >= 0 else -1 for d in direction]
    largest = sys.float_info.max
    border = [(v + (s > 0) - o) / d if d else largest for v, s, o, d in zip(voxel, step, origin, direction, strict=True)]
    stride = [s / d if d else largest for s, d in zip(step, direction, strict=True)]
    seen: list[tuple[float, tuple[int, int, int]]] = []
    for _ in range(1001):
        inside = all(0 <= v < n for v, n in zip(voxel, occupied.shape, strict=True))
        if seen and not inside:
            break
        axis = 0 if border[0] < border[1] else 1
        axis = axis if border[axis] < border[2] else 2
        if inside:
            seen.append((border[axis], (voxel[0], voxel[1], voxel[2])))
            if occupied[seen[-1][1]]:
                return seen[-1]
        voxel[axis] += step[axis]
        border[axis] += stride[axis]
    return seen[-1] if seen else (-1.0, (0, 0, 0))


def check_against_loop(labels: np.ndarray, origins: np.ndarray, rays: np.ndarray, grid: VoxelGridSpec,
                       caster: Callable[..., RayHits]) -> RayHits:
    hits = caster(labels, origins, FREE, rays, grid)
    lower, edge = np.float32(grid.origin_m), np.float32(grid.resolution_m)
    index = 0
    for origin in origins:
        for ray in rays.astype(np.float32):
            start = ((origin - lower) / edge).astype(np.float32)
            distance, voxel = traverse(labels != FREE, start, (((ray + origin) - lower) / edge).astype(np.float32))
            assert hits.distance_m[index] == np.float32(distance) * edge, (origin, ray)
            assert hits.voxel[index] == np.ravel_multi_index(voxel, labels.shape), (origin, ray)
            assert hits.labels[index] == labels[voxel]
            index += 1
    return hits


def test_odd_rays_on_a_small_grid(caster: Callable[..., RayHits]) -> None:
    """Along the axes and diagonals (ties), from corners, borders, outside on every side, and at random."""
    rng = np.random.default_rng(5)
    labels = np.where(rng.random(CUBE.shape) < 0.1, 4, FREE).astype(np.uint8)
    lattice = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    rays = np.concatenate([lattice[np.abs(lattice).any(axis=1)], rng.normal(size=(20, 3))])
    origins = np.concatenate([[[0, 0, 0], [7, 5, 4], [3, 2, 1], [3.5, 2.5, 1.5], [-0.5, 2, 1], [-1.5, 2, 1], [9, 2, 1], [3, -4, 2],
                               [3, 2, 9.25], [-3, -3, -3]], rng.uniform(-3, 9, (20, 3))])
    hits = check_against_loop(labels, origins, rays, CUBE, caster)
    assert 0 < np.count_nonzero(hits.distance_m < 0) < hits.distance_m.size


def test_rays_give_up_after_1001_voxels(caster: Callable[..., RayHits]) -> None:
    grid = VoxelGridSpec((0.0, 0.0, 0.0), 1.0, (1500, 2, 2))
    labels = np.full(grid.shape, FREE, np.uint8)
    labels[1000:, 1] = 4
    origins = np.array([[0.5, 1.5, 0.5], [-400.5, 0.5, 0.5], [-400.5, 1.5, 0.5], [-1000.5, 0.5, 0.5], [-1001.5, 0.5, 0.5]])
    hits = check_against_loop(labels, origins, np.array([[1.0, 0, 0]]), grid, caster)
    assert hits.labels[0] == 4 and hits.labels[2] == FREE and hits.distance_m[3] > 0 > hits.distance_m[4]


def test_single_precision_differs_in_a_few_grazing_rays_only() -> None:
    labels = np.where(np.random.default_rng(0).random((200, 200, 16)) < 0.02, 15, FREE).astype(np.uint8)
    origins = np.array([[-10.491722984, 1.284028859, 1.860184871], [3.275359274, 0.123743940, 1.821347964]])
    double, single = cast_rays(labels, origins, FREE), cast_rays(labels, origins, FREE, single_precision=True)
    assert (double.distance_m != single.distance_m).any()
    assert np.count_nonzero(double.voxel != single.voxel) < 0.001 * double.voxel.size


def test_unknown_does_not_stop_a_ray() -> None:
    labels = np.full((200, 200, 16), FREE, np.uint8)
    labels[110:] = UNKNOWN
    labels[120:, :, :] = np.where(np.arange(16) < 8, 15, UNKNOWN)
    hits = cast_rays(labels, np.array([[0.0, 0, 0.5]]), FREE)
    without = np.where(labels == UNKNOWN, FREE, labels)
    other = cast_rays(without, np.array([[0.0, 0, 0.5]]), FREE)
    np.testing.assert_array_equal(hits.labels, other.labels)
    np.testing.assert_array_equal(hits.distance_m, other.distance_m)


def test_block_size_and_ray_order_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.where(np.random.default_rng(1).random((200, 200, 16)) < 0.01, 15, FREE).astype(np.uint8)
    origins = np.array([[1.0, 2, 1.8], [-20, 30, 6.0]])
    rays, order = lidar_rays()[::7], np.random.default_rng(2).permutation(2006)
    whole = cast_rays(labels, origins, FREE, rays)
    shuffled = cast_rays(labels, origins[:1], FREE, rays[order])
    np.testing.assert_array_equal(shuffled.distance_m, whole.distance_m[:2006][order])
    monkeypatch.setattr(ray_cast, 'BLOCK', 61)
    np.testing.assert_array_equal(cast_rays(labels, origins, FREE, rays).distance_m, whole.distance_m)


def test_reads_other_volumes_where_the_rays_ended() -> None:
    labels = np.full(CUBE.shape, FREE, np.uint8)
    labels[5, 2, 1] = 4
    flow = np.zeros((*CUBE.shape, 2), np.float32)
    flow[5, 2, 1] = 1, 2
    hits = cast_rays(labels, np.array([[0.5, 2.5, 1.5]]), FREE, np.array([[1.0, 0, 0]]), CUBE)
    assert hits.labels.tolist() == [4] and hits.distance_m.tolist() == [5.5] and hits.read(flow).tolist() == [[1, 2]]
    assert hits.read(labels).tolist() == [4]


def test_wrong_input_is_named() -> None:
    labels = np.full((200, 200, 16), FREE, np.uint8)
    with pytest.raises(ValueError, match=r'labels have shape \(7, 5, 4\), the grid \(200, 200, 16\)'):
        cast_rays(np.zeros(CUBE.shape, np.uint8), np.zeros((1, 3)), FREE)
    with pytest.raises(ValueError, match=r'labels 17 to 17: use 0..16'):
        cast_rays(labels, np.zeros((1, 3)), 16)
    with pytest.raises(ValueError, match=r'origins of shape \(3,\)'):
        cast_rays(labels, np.zeros(3), FREE)
    with pytest.raises(ValueError, match='no direction'):
        cast_rays(labels, np.zeros((1, 3)), FREE, np.zeros((1, 3)))

"""The sample world: pictures, sweeps and truth of one street agree with each other, and come out the same every time."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial import cKDTree

pytest.importorskip('embreex', reason='the sample world needs embreex')

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.datasets.sample_world import WorldFrame, make_street, render_frame, training_frames
from occ_perception.datasets.sample_world.lidar import LidarSweep
from occ_perception.datasets.sample_world.rig import CAMERAS, LIDAR_BEAMS_DEG, ego_from_lidar, intrinsics
from occ_perception.datasets.sample_world.street import Street
from occ_perception.datasets.sample_world.timeline import Timeline
from occ_perception.geometry.transforms import apply, inverse
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import FREE, THINGS

SEED, TIME_S, SIZE = 3, 2.0, (320, 180)
GROUND = (11, 12, 13, 14)


@pytest.fixture(scope='module')
def street() -> Street:
    return make_street(SEED, 4.0)


@pytest.fixture(scope='module')
def frame(street: Street) -> WorldFrame:
    return render_frame(street, TIME_S, SIZE)


def digest(frame: WorldFrame) -> str:
    sha = hashlib.sha256()
    for view in frame.cameras.values():
        sha.update(view.image.tobytes())
    sha.update(frame.sweep.points.tobytes())
    for array in frame.truth.arrays().values():
        sha.update(array.tobytes())
    return sha.hexdigest()


def test_same_seed_same_bytes_in_another_process(frame: WorldFrame) -> None:
    script = (f'import sys; sys.path.insert(0, "test/datasets"); sys.path.insert(0, "."); import test_sample_world as t; '
              f'print(t.digest(t.render_frame(t.make_street({SEED}, 4.0), {TIME_S}, {SIZE})))')
    other = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True).stdout.strip()
    assert other == digest(frame)


def test_streets_differ_by_seed(frame: WorldFrame) -> None:
    other = render_frame(make_street(SEED + 1, 4.0), TIME_S, SIZE)
    assert (other.truth.semantics != frame.truth.semantics).mean() > 0.03
    assert np.abs(other.cameras['CAM_FRONT'].image.astype(int) - frame.cameras['CAM_FRONT'].image).mean() > 20


def test_every_class_is_seen_within_a_short_drive() -> None:
    seen = np.zeros(18, int)
    for world, _ in training_frames(31, 4, 1.5, SIZE):
        visible = world.truth.semantics[world.truth.mask_camera.astype(bool)]
        seen += np.bincount(visible, minlength=18)[:18]
    assert (seen[:17] >= 100).all(), dict(enumerate(seen))


def voxels(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index, inside = OCC3D_GRID.indices(points)
    return index[inside], inside


def pixel_points(frame: WorldFrame, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a camera's pixels end, in the ego frame of the reference, their classes and objects."""
    view = frame.cameras[name]
    rows, columns = np.nonzero(view.depth < 60)
    ray = np.stack([columns, rows, np.ones(len(rows))], 1) @ np.linalg.inv(view.intrinsics).T
    ego = inverse(frame.fixed_from_ego) @ view.fixed_from_ego @ view.ego_from_camera
    points = apply(ego, ray * (view.depth[rows, columns] + 0.01)[:, None])
    return points, view.label[rows, columns], view.instance[rows, columns]


@pytest.mark.parametrize('name', NUSCENES_CAMERAS)
def test_pixels_end_in_occupied_voxels_that_the_camera_mask_marks(street: Street, frame: WorldFrame, name: str) -> None:
    points, label, instance = pixel_points(frame, name)
    index, inside = voxels(points)
    truth = frame.truth.semantics[tuple(index.T)]
    stands = ~np.isin(instance[inside], [thing.id for thing in street.objects if thing.moving])
    assert (truth[stands] != FREE).mean() > 0.98
    assert (truth == label[inside])[stands].mean() > 0.88
    assert frame.truth.mask_camera[tuple(index.T)].mean() > 0.999


def test_camera_mask_leaves_out_what_is_hidden(frame: WorldFrame) -> None:
    mask = frame.truth.mask_camera.astype(bool)
    centers = OCC3D_GRID.centers()
    free = frame.truth.semantics == FREE
    assert 40_000 < mask.sum() < 400_000
    assert (mask & free).sum() > 5 * (mask & ~free).sum()
    near = np.linalg.norm(centers[..., :2], axis=-1) < 1.0
    assert not mask[near & (centers[..., 2] < 0.3)].any(), 'no camera sees the ground below the vehicle'
    houses = (frame.truth.semantics == 15)
    inside = houses & np.roll(houses, 1, 0) & np.roll(houses, -1, 0) & np.roll(houses, 1, 1) & np.roll(houses, -1, 1)
    assert mask[inside].mean() < 0.1


def sweep_in_ego(street: Street, sweep: LidarSweep) -> np.ndarray:
    """Points of a sweep in the ego frame at its end, by the pose at each point's own time."""
    now = inverse(street.ego_pose(sweep.time_s))
    out = np.zeros_like(sweep.points)
    for lag in np.unique(sweep.time):
        here = sweep.time == lag
        out[here] = apply(now @ street.ego_pose(sweep.time_s + float(lag)) @ ego_from_lidar(), sweep.points[here])
    return out


def test_sweep_agrees_with_truth(street: Street, frame: WorldFrame) -> None:
    sweep = frame.sweep
    assert 20_000 < len(sweep.points) <= 32 * 1080
    assert sweep.time.max() <= 0 and sweep.time.min() > -0.0501 and np.unique(sweep.ring).tolist() == list(range(32))
    index, inside = voxels(sweep_in_ego(street, sweep))
    truth = frame.truth.semantics[tuple(index.T)]
    assert (truth != FREE).mean() > 0.95
    assert (truth == sweep.label[inside]).mean() > 0.85
    assert frame.truth.mask_lidar[tuple(index.T)].mean() > 0.98


def test_lidar_axes_are_those_of_nuscenes(frame: WorldFrame) -> None:
    points = frame.sweep.points
    assert np.allclose(ego_from_lidar()[:3, :3] @ [0, 1, 0], [1, 0, 0]), 'y forward'
    elevation = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    assert np.abs(elevation - LIDAR_BEAMS_DEG[frame.sweep.ring]).max() < 0.1
    first = points[np.argmin(frame.sweep.time)]
    assert abs(first[0]) < 0.2 * abs(first[1]) and first[1] < 0, 'a turn begins behind the vehicle'


def test_cameras_expose_at_their_own_times(street: Street, frame: WorldFrame) -> None:
    for name, view in frame.cameras.items():
        assert view.time_s == pytest.approx(TIME_S + CAMERAS[name].exposure_offset_s)
        assert np.allclose(view.fixed_from_ego, street.ego_pose(view.time_s))
        assert view.image.shape == (180, 320, 3) and view.image.std() > 20
    moved = frame.fixed_from_ego[:3, 3] - frame.cameras['CAM_FRONT_LEFT'].fixed_from_ego[:3, 3]
    assert 0.15 < np.linalg.norm(moved) < 0.6


def test_instances_and_flow_follow_the_objects(street: Street, frame: WorldFrame) -> None:
    truth, ego_from_world = frame.truth, inverse(frame.fixed_from_ego)
    marked = truth.instances > 0
    assert set(np.unique(truth.semantics[marked])) <= set(THINGS)
    assert marked[np.isin(truth.semantics, THINGS)].mean() > 0.999
    by_id = {thing.id: thing for thing in street.objects}
    moving = 0
    for identity in np.unique(truth.instances[marked]):
        thing, mine = by_id[int(identity)], truth.instances == identity
        assert (truth.semantics[mine] == thing.label).all()
        a, b = (apply(ego_from_world, thing.track.pose(TIME_S + dt)[None, :3, 3])[0] for dt in (-0.05, 0.05))
        assert np.allclose(truth.flow[mine], ((b - a) / 0.1)[:2], atol=0.05)
        moving += np.abs(truth.flow[mine]).max() > 1
        box = apply(inverse(thing.track.pose(TIME_S)) @ frame.fixed_from_ego, OCC3D_GRID.centers()[mine]) - thing.center_m
        assert (np.abs(box) <= np.array(thing.size_m) / 2 + 0.36).all()
    assert moving >= 3
    assert not truth.flow[~marked].any()


def test_nothing_stands_where_vehicles_drive(street: Street) -> None:
    """Standing things, crowns of trees aside, keep out of the way of everything that drives."""
    low = street.solids[street.solids[:, 2] < street.line.z.min() + 2.5, :2]
    tree = cKDTree(low)
    along = np.arange(-30, 60, 0.5)
    for thing in street.objects:
        if thing.moving and thing.label in (2, 4):
            way = street.line.to_world(along, np.full_like(along, thing.track.d0))
            clear = 0.1 if thing.label == 2 else 0.9
            assert tree.query(way[:, :2])[0].min() > clear, thing.category


def test_ground_lies_around_height_zero(frame: WorldFrame) -> None:
    semantics = frame.truth.semantics[85:115, 85:115]
    heights = np.nonzero(np.isin(semantics, GROUND))[2]
    assert len(heights) > 700 and set(np.unique(heights)) <= {1, 2, 3} and (heights == 2).mean() > 0.9


def test_image_size_scales_intrinsics_and_must_be_wide() -> None:
    assert np.allclose(intrinsics('CAM_BACK', (800, 450))[:2] * 2, intrinsics('CAM_BACK', (1600, 900))[:2])
    with pytest.raises(ValueError, match='640x480 is not 16:9'):
        intrinsics('CAM_FRONT', (640, 480))


def test_timeline_meets_the_contract() -> None:
    line = Timeline(7, 4)
    references = [e.stamp_ns for k in range(4) for e in line.sweeps(k, True)]
    assert set(np.diff(references)) == {50_000_000}
    exposures = [e for k in range(4) for e in line.exposures(k, True) if e.sensor == 'CAM_BACK']
    gaps = np.diff([e.stamp_ns for e in exposures]) / 1e9
    assert np.allclose(gaps, 1 / 12, atol=2e-6) and len(exposures) == 19
    assert exposures[0].stamp_ns == line.stamp(line.keyframe_s(0) + CAMERAS['CAM_BACK'].exposure_offset_s)
    assert all(e.stamp_ns % 1000 == 0 for e in exposures)
    due = [e.stamp_ns - line.start_ns for k in range(4) for e in line.truths(k, 5)]
    assert [round(t / 1e8) for t in due] == [2, 4, 6, 7, 8, 10, 12, 14, 16, 17]
    assert {e.stamp_ns for k in range(4) for e in line.truths(k, 20)} == set(references)
    with pytest.raises(ValueError, match='3 Hz does not divide'):
        line.truths(0, 3)

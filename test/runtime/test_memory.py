"""Temporal memory: frames are found by age, placed by their own poses, forgotten for a reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from occ_perception.catalogue import HistorySpec, entry
from occ_perception.datasets.sample_world import Street, make_street, render_frame
from occ_perception.engines.protocol import WARPED, CenterArrays, FrameMemory, Inference
from occ_perception.geometry.camera_vector import published_source
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.geometry.map_warp import map_warp
from occ_perception.geometry.transforms import matrix
from occ_perception.labels import FREE
from occ_perception.runtime import predictor as module
from occ_perception.runtime.frames import CameraImage, SensorFrame
from occ_perception.runtime.memory import CameraSet, Remembered, TemporalMemory
from occ_perception.runtime.sequence import place_frames

FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
K = np.array([[278.0, 0, 176], [0, 278.0, 40], [0, 0, 1]])
SECOND = 1_000_000_000


def turn(angle: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    return matrix(np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]), (x, y, 0))


def pose(time_s: float) -> np.ndarray:
    """fixed_from_ego of a vehicle that drives a curve."""
    return turn(0.3 * time_s, 8 * np.sin(0.3 * time_s) / 0.3, 8 * (1 - np.cos(0.3 * time_s)) / 0.3)


def frame(time_s: float, names: tuple[str, ...] = entry('scocc_sample').cameras, at=pose, mount_x: float = 1.0) -> SensorFrame:
    """Each camera exposes 10 ms earlier than the one before."""
    cameras = {}
    for name in names:
        index = entry('scocc_sample').cameras.index(name)
        exposure_s = time_s - 0.01 * index
        image = np.full((128, 352, 3), 10 * index + 5, np.uint8)
        cameras[name] = CameraImage(name, round(exposure_s * SECOND), image, K, turn(index) @ matrix(FORWARD, (mount_x, 0, 1.5)),
                                    at(exposure_s))
    return SensorFrame(round(time_s * SECOND), at(time_s), cameras)


def car() -> np.ndarray:
    """Labels of a free world with one car, ahead of any camera."""
    labels = np.full((200, 200, 16), FREE, np.uint8)
    labels[140:146, 98:102, 3:6] = 4
    return labels


class Recorder:
    """An engine that keeps what it is given; its memory is the number of the frame."""

    description = 'recorder'

    def __init__(self) -> None:
        self.frames: list = []

    def infer(self, images, frames, lidar=None):
        self.frames.append(frames)
        labels = np.full((200, 200, 16), FREE, np.uint8)
        heat = np.full((10, 200, 200), -9, np.float32)
        number = len(self.frames)
        return Inference(labels, CenterArrays(heat[:2], heat[:1], heat), FrameMemory(*(f'{kind}{number}' for kind in 'pscm')))


@pytest.fixture
def make(monkeypatch):
    def made(name: str, **options):
        monkeypatch.setattr(module, 'open_engine', lambda *_: Recorder())
        return module.Predictor(name, **options)
    return made


def test_the_past_is_lifted_from_where_it_was_seen_into_where_the_vehicle_is(make):
    predictor = make('scocc_sample_2f')
    predictor.predict(frame(1.0))
    prediction = predictor.predict(frame(1.5))
    present, past = predictor.engine.frames[-1]
    assert present.memory is None
    assert past.memory.prepared == 'p1'
    row = predictor.entry
    source, post = published_source(np.stack([K] * 6), 128, 352)
    for placed, time_s in ((present, 1.5), (past, 1.0)):
        poses = [np.linalg.inv(pose(1.5)) @ pose(time_s - 0.01 * i) @ turn(i) @ matrix(FORWARD, (1.0, 0, 1.5)) for i in range(6)]
        expected = build_lift_tables(row.frustum, source, np.stack(poses), row.frustum.default_caps(6), network_from_source=post)
        np.testing.assert_array_equal(placed.tables['slot'], expected.slot)
        np.testing.assert_array_equal(placed.tables['cell'], expected.cell)
    assert prediction.past_stamps_ns == (SECOND,)


def test_before_anything_is_known_the_present_stands_in(make):
    predictor = make('panoptic-flashocc-r50-depth4d-longterm8f')
    assert predictor.predict(frame(1.0)).past_stamps_ns == (0,) * 8
    first = predictor.engine.frames[-1]
    assert len(first) == 9
    assert all(placed is first[0] for placed in first)
    predictor.predict(frame(1.5))
    second = predictor.engine.frames[-1]
    assert second[1].memory.prepared == 'p1'
    assert all(placed is second[0] for placed in second[2:])


def test_frames_are_chosen_by_age_whatever_the_rate(make):
    """At 20 frames per second a network sees at key frames what it sees at two per second."""
    fast, slow = make('panoptic-flashocc-r50-depth4d-longterm8f'), make('panoptic-flashocc-r50-depth4d-longterm8f')
    for tick in range(0, 121):
        time_s = 1 + tick / 20
        quick = fast.predict(frame(time_s))
        if tick % 10 == 0:
            calm = slow.predict(frame(time_s))
            assert quick.past_stamps_ns == calm.past_stamps_ns
    assert quick.past_stamps_ns == tuple(round((7 - 0.5 * k) * SECOND) for k in range(1, 9))
    assert len(fast._memory) <= 20 * 4.15 + 2


def test_a_frame_too_far_from_the_age_is_not_taken():
    memory = TemporalMemory(HistorySpec((0.5,), tolerance_s=0.1))
    cameras = CameraSet(np.eye(3)[None], np.eye(4)[None], np.eye(4)[None], np.ones(1, bool))
    memory.add(Remembered(SECOND, np.eye(4), cameras, FrameMemory('p'), False))
    assert memory.recall(round(1.6 * SECOND))[0] is not None
    assert memory.recall(round(1.61 * SECOND)) == [None]
    assert memory.recall(round(1.39 * SECOND)) == [None]


@pytest.mark.parametrize(('change', 'why'), [
    ({'time_s': 1.2}, 'time_jump'), ({'time_s': 1.5}, 'time_jump'), ({'time_s': 3.6}, 'gap'),
    ({'time_s': 2.0, 'at': lambda time_s: turn(0, 500)}, 'pose_jump'), ({'time_s': 2.0, 'mount_x': 1.2}, 'calibration'),
    ({'time_s': 2.0}, ''), ({'time_s': 2.0, 'names': ('CAM_FRONT',)}, '')])
def test_the_past_is_forgotten_for_a_reason(make, change, why):
    predictor = make('scocc_sample_2f')
    predictor.predict(frame(1.0))
    predictor.predict(frame(1.5))
    prediction = predictor.predict(frame(**change))
    assert prediction.forgotten == why
    assert prediction.past_stamps_ns == ((0,) if why else (round(1.5 * SECOND),))


def test_reset_and_gap_parameter(make):
    predictor = make('scocc_sample_2f', max_gap_s=0.4)
    predictor.predict(frame(1.0))
    assert predictor.predict(frame(1.5)).forgotten == 'gap'
    predictor.reset()
    prediction = predictor.predict(frame(1.8))
    assert (prediction.forgotten, prediction.past_stamps_ns) == ('', (0,))


def test_a_reset_comes_between_the_frames_that_it_came_between(make):
    """Also where the frame before has been submitted and its objects are not followed yet."""
    predictor = make('scocc_sample_2f')
    predictor.engine.infer = lambda *_: Inference(car(), None, FrameMemory('p'))
    first = predictor.submit(frame(1.0))
    predictor.reset()
    second = predictor.submit(frame(1.5))
    made = [first.result(), second.result(), predictor.predict(frame(2.0))]
    assert [prediction.instances[0].id for prediction in made] == [1, 2, 2]
    assert [prediction.past_stamps_ns for prediction in made] == [(0,), (0,), (round(1.5 * SECOND),)]


def test_stereo_matches_with_the_frame_before_and_remembers_the_costs(make):
    predictor = make('flashocc-r50-4d-stereo')
    for time_s in (1.0, 1.5, 2.0):
        predictor.predict(frame(time_s))
    cold, second, third = predictor.engine.frames
    assert cold[0] is cold[1]
    assert cold[0].match.before is None
    np.testing.assert_allclose(cold[0].match.sweeps[:, :, 3], 0, atol=1e-6)  # matched with itself: nothing moves
    # the published code has no frame before the first: it matches the first with the present one
    assert second[0].match.before.stereo == 's1'
    assert second[1].match.before is None
    assert third[0].match.before.stereo == 's2'
    assert third[1].match is None
    assert third[1].memory.matched == 'c2'
    moved = np.linalg.inv(pose(1.5 - 0.03)) @ pose(2.0 - 0.03)
    mount = turn(3) @ matrix(FORWARD, (1.0, 0, 1.5))
    expected = np.linalg.inv(mount) @ moved @ mount
    np.testing.assert_allclose(third[0].match.sweeps[3, :, 3], expected[:3, 3], atol=1e-4)
    assert third[0].cameras.shape == third[1].cameras.shape == (6, 27)
    np.testing.assert_array_equal(third[0].cameras[:, 15:], third[1].cameras[:, 15:])  # the present pose gates past frames


def test_the_heavy_part_of_old_stereo_frames_is_let_go(make):
    predictor = make('scocc-r50-6f')
    for tick in range(9):
        predictor.predict(frame(1 + tick / 2))
    kept = [remembered.memory.stereo for remembered in predictor._memory._frames]
    assert kept == [None] * 5 + ['s8', 's9']


def test_warped_memory_keeps_maps_and_moves_them(make):
    predictor = make('scocc_sample_2f', memory=WARPED)
    predictor.predict(frame(1.0))
    predictor.predict(frame(1.5))
    past = predictor.engine.frames[-1][1]
    assert (past.tables, past.memory.map, past.memory.prepared) == (None, 'm1', None)
    ahead = np.array([10.0, 4.0, 0, 1])  # a place in the present ego frame, metres
    there = np.linalg.inv(pose(1.0)) @ pose(1.5) @ ahead
    half = 0.4 * 199 / 2
    np.testing.assert_allclose(past.warp @ [*(ahead[:2] / half), 1], there[:2] / half, atol=1e-5)
    np.testing.assert_allclose(map_warp(np.eye(4), predictor.entry.grid), np.eye(2, 3), atol=1e-7)


def test_unknown_form_of_memory_is_named(make):
    with pytest.raises(ValueError, match="'photographic'"):
        make('scocc_sample_2f', memory='photographic')


@pytest.fixture(scope='module')
def drive():
    """Two moments of a street, 2 s apart, the vehicle turning between them: frames, class and depth of what is seen, truth."""
    torch = pytest.importorskip('torch')
    from occ_perception.training.prepare import make_sample
    from occ_perception.training.samples import class_histogram, depth_histogram

    straight = Street.ego_pose
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(Street, 'ego_pose', lambda street, time_s: straight(street, time_s) @ turn(0.12 * time_s))
    street = make_street(200_950, 6.0)
    row = replace(entry('scocc_sample'), history=HistorySpec((2.0,)))
    moments = []
    for time_s in (1.0, 3.0):
        world = render_frame(street, time_s, (480, 270), sweep=False)
        sample = make_sample(world, row)
        views = [world.cameras[name] for name in row.cameras]
        cameras = CameraSet(sample.intrinsics, np.stack([v.ego_from_camera for v in views]),
                            np.stack([v.fixed_from_ego @ v.ego_from_camera for v in views]), np.ones(6, bool))
        depth = depth_histogram(sample.depth_m, row.frustum.depth_start, row.frustum.depth_step, row.frustum.bins)
        seen = torch.from_numpy(depth)[None], torch.from_numpy(class_histogram(sample.pixel_class)[:, :FREE])[None]
        moments.append((world, cameras, seen))
    monkeypatch.undo()
    return row, moments


def test_a_turning_vehicle_finds_past_things_where_they_are(drive):
    """What the past frame saw, placed by the remembered poses, lies where the truth has it now; not so with wrong poses."""
    from occ_perception.networks.parts.lift_splat import LiftTensors, lift

    row, ((before, old, seen), (now, cameras, _)) = drive
    still = [11, 13, 15]  # road, sidewalk, buildings
    truth = np.stack([(now.truth.semantics == label).any(2).T for label in still])

    def agreement(fixed_from_camera: np.ndarray) -> float:
        placed_otherwise = replace(old, fixed_from_camera=fixed_from_camera)
        remembered = Remembered(0, before.fixed_from_ego, placed_otherwise, FrameMemory('p'), False)
        placed = place_frames(row, False, cameras, now.fixed_from_ego, [remembered])[1]
        found = lift(*seen, LiftTensors.from_arrays(placed.tables), row.frustum.map_shape)[0, still].numpy()
        return float((found * truth).sum() / found.sum())

    moved = np.linalg.inv(now.fixed_from_ego) @ before.fixed_from_ego
    assert np.linalg.norm(moved[:2, 3]) > 4
    assert abs(np.arctan2(moved[1, 0], moved[0, 0])) > 0.15
    right = agreement(old.fixed_from_camera)
    assert right > 0.8
    ignored = agreement(now.fixed_from_ego @ old.ego_from_camera)
    inverted = agreement(now.fixed_from_ego @ np.linalg.inv(moved) @ old.ego_from_camera)
    late = agreement(now.fixed_from_ego @ matrix(np.eye(3), 0.7 * moved[:3, 3]) @ old.ego_from_camera)
    assert max(ignored, inverted, late) < right - 0.05, (right, ignored, inverted, late)

"""Objects keep their ids and get their velocities over ground while the vehicle itself drives and turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from occ_perception.geometry.transforms import apply, inverse, matrix
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.runtime.association import looks_of
from occ_perception.runtime.frames import Instance
from occ_perception.runtime.instances import instances_from_labels
from occ_perception.runtime.tracking import Tracker, TrackerParams

CAR, TRUCK, PEDESTRIAN, BICYCLE = 4, 10, 7, 2
BOX = {CAR: (4.4, 1.9, 1.6), TRUCK: (8.0, 2.6, 3.2), PEDESTRIAN: (0.9, 0.8, 1.8), BICYCLE: (1.8, 0.8, 1.7)}


@dataclass(frozen=True)
class Thing:
    """Moves straight in the fixed frame: at place (x, y) at time 0, velocity (vx, vy)."""

    label: int
    place: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)

    def at(self, seconds: float) -> np.ndarray:
        return np.array([self.place[0] + seconds * self.velocity[0], self.place[1] + seconds * self.velocity[1], 0.8])


def turning(seconds: float) -> np.ndarray:
    """Ego pose: 8 m/s on a circle of 20 m radius, in a frame that is itself far away and turned."""
    angle = 0.4 * seconds
    cos, sin = np.cos(angle), np.sin(angle)
    pose = matrix(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]), (20 * sin, 20 * (1 - cos), 0.0))
    cos, sin = np.cos(2.0), np.sin(2.0)
    return matrix(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]), (1200.0, -400.0, 3.0)) @ pose


def parked(seconds: float) -> np.ndarray:
    return np.eye(4)


START = turning(0.0)


def in_fixed(thing: Thing) -> Thing:
    """A thing given relative to the turning vehicle's start."""
    place = apply(START, np.array([[*thing.place, 0.0]]))[0]
    velocity = START[:2, :2] @ np.array(thing.velocity)
    return Thing(thing.label, (place[0], place[1]), (velocity[0], velocity[1]))


def seen(things: Sequence[Thing], seconds: float, pose: np.ndarray, jitter: np.random.Generator | None = None) -> list[Instance]:
    """The things as a grid would show them: in the ego frame, on a lattice of half voxels."""
    out = []
    for number, thing in enumerate(things, start=1):
        center = apply(inverse(pose), thing.at(seconds)[None])[0]
        if jitter is not None:
            center[:2] += jitter.normal(0, 0.12, 2)
        x, y, z = (np.round(center / 0.2) * 0.2).tolist()
        heading = np.arctan2(thing.velocity[1], thing.velocity[0]) - np.arctan2(pose[1, 0], pose[0, 0])
        yaw = float((heading + np.pi / 2) % np.pi - np.pi / 2)
        out.append(Instance(number, thing.label, 1.0, (x, y, z), BOX[thing.label], yaw, 100))
    return out


def follow(things: Sequence[Thing], pose: Callable[[float], np.ndarray], seconds: float = 3.0, hertz: float = 5.0,
           told_pose: Callable[[float], np.ndarray] | None = None) -> list[list[tuple[Instance, np.ndarray]]]:
    """Per frame, per thing: what the tracker tells, and the true velocity in the ego frame."""
    tracker, jitter, frames = Tracker(), np.random.default_rng(0), []
    for number in range(round(seconds * hertz) + 1):
        now = number / hertz
        found = tracker.update(round(now * 1e9), (told_pose or pose)(now), seen(things, now, pose(now), jitter)).instances
        truth = [pose(now)[:2, :2].T @ np.array(thing.velocity) for thing in things]
        frames.append(list(zip(found, truth, strict=True)))
    return frames


SCENE = [in_fixed(thing) for thing in (
    Thing(CAR, (12, 4)), Thing(CAR, (18, 4)), Thing(CAR, (24, 4)), Thing(CAR, (-14, -6), (9, 0)), Thing(TRUCK, (30, 20), (-7, -5)),
    Thing(PEDESTRIAN, (8, -6), (1.3, 0.3)), Thing(PEDESTRIAN, (9, -9)), Thing(BICYCLE, (-6, 8), (4, 1)))]


@pytest.mark.parametrize('hertz', [2.0, 5.0, 10.0, 20.0])
def test_ids_and_velocities_while_the_vehicle_turns(hertz):
    frames = follow(SCENE, turning, hertz=hertz)
    ids = [[one.id for one, _ in frame] for frame in frames]
    assert ids == [ids[0]] * len(frames)
    assert len(set(ids[0])) == len(SCENE)
    for frame in frames[round(1.5 * hertz):]:
        for one, truth in frame:
            assert np.hypot(*(np.array(one.velocity_m_s[:2]) - truth)) < 0.8
            if not truth.any():
                assert np.hypot(*one.velocity_m_s[:2]) < 0.4
    standing = [np.hypot(*one.velocity_m_s[:2]) for frame in frames for one, truth in frame if not truth.any()]
    assert np.mean(standing) < 0.05


def ids_lost(frames: list[list[tuple[Instance, np.ndarray]]]) -> int:
    ids = np.array([[one.id for one, _ in frame] for frame in frames])
    return int((ids[1:] != ids[:-1]).sum())


def worst_error(frames: list[list[tuple[Instance, np.ndarray]]]) -> float:
    return max(float(np.hypot(*(np.array(one.velocity_m_s[:2]) - truth))) for frame in frames[8:] for one, truth in frame)


@pytest.mark.parametrize('wrong', [lambda now: START, lambda now: inverse(turning(now)), lambda now: turning(now + now ** 2 / 10)],
                         ids=['ignored', 'inverted', 'of another time'])
def test_wrong_poses_do_not_pass(wrong):
    right = follow(SCENE, turning)
    assert ids_lost(right) == 0
    assert worst_error(right) < 0.8
    frames = follow(SCENE, turning, told_pose=wrong)
    assert worst_error(frames) > 2.0


def test_velocity_is_told_once_an_object_is_confirmed():
    frames = follow([Thing(CAR, (0, 5), (8, 0))], parked, seconds=2.0, hertz=10.0)
    told = [one.velocity_m_s for frame in frames for one, _ in frame]
    assert told[0] == told[1] == told[2] == (0, 0, 0)
    assert told[5][0] == pytest.approx(8, abs=1.5)
    assert told[-1][0] == pytest.approx(8, abs=0.5)


def test_heading_points_the_way_an_object_moves():
    for velocity in ((-6.0, 0.5), (6.0, 0.5)):
        (one, _), = follow([Thing(CAR, (5, 5), velocity)], parked)[-1]
        assert np.cos(one.yaw_rad - np.arctan2(velocity[1], velocity[0])) > 0.9
        assert abs(one.yaw_rad) <= np.pi


def voxels(things: Sequence[Thing], seconds: float) -> np.ndarray:
    """Labels of upright boxes along the axes."""
    labels = np.full(OCC3D_GRID.shape, 17, np.uint8)
    centers = OCC3D_GRID.centers()[:, :, 0, :2]
    for thing in things:
        half = np.array(BOX[thing.label][:2]) / 2
        labels[(np.abs(centers - thing.at(seconds)[:2]) <= half).all(axis=2), 2:6] = thing.label
    return labels


def track_voxels(things: Sequence[Thing], seconds: float, hertz: float = 5.0) -> list[dict[int, tuple[Instance, int]]]:
    """Per frame: number of thing -> the tracked component at its centre and the relabelled volume's id there."""
    tracker, frames = Tracker(), []
    for number in range(round(seconds * hertz)):
        now = number / hertz
        ids, instances = instances_from_labels(voxels(things, now), OCC3D_GRID)
        tracked = tracker.update(round(now * 1e9), np.eye(4), instances)
        volume = tracked.relabelled(ids)
        frame = {}
        for which, thing in enumerate(things):
            (index,), (inside,) = OCC3D_GRID.indices(thing.at(now)[None])
            owner = int(volume[tuple(index)]) if inside else 0
            if owner:
                frame[which] = next(one for one in tracked.instances if one.id == owner), owner
        frames.append(frame)
    return frames


def test_components_that_merge_and_part_again_keep_their_ids():
    slow, fast = Thing(CAR, (-10, 3.0), (2, 0)), Thing(CAR, (-26, 4.9), (12, 0))
    frames = track_voxels([slow, fast], 3.0)
    owners = [(frame[0][1], frame[1][1]) for frame in frames]
    merged = [a == b for a, b in owners]
    assert 2 <= sum(merged) <= 6
    assert owners[0][0] != owners[0][1]
    assert owners[-1] == owners[0]


def test_components_that_stay_merged_for_seconds_part_with_their_ids():
    frames = track_voxels([Thing(CAR, (-10, 3.0), (2, 0)), Thing(CAR, (-22, 4.9), (6, 0))], 7.0)
    owners = [(frame[0][1], frame[1][1]) for frame in frames]
    assert sum(a == b for a, b in owners) > 9
    assert owners[-1] == owners[0]


def test_a_box_that_grows_over_its_neighbour_has_not_moved():
    tracker = Tracker()
    for number in range(20):
        one = replace(car(8.0), size_m=(10.4, 1.9, 1.6)) if 8 <= number < 12 else car(5.0)
        (told,) = tracker.update(200_000_000 * number, np.eye(4), [one]).instances
        assert told.id == 1
        assert np.hypot(*told.velocity_m_s[:2]) < 0.3


def test_a_small_object_far_off_is_not_what_a_large_one_has_become():
    tracker = Tracker()
    for number in range(5):
        tracker.update(200_000_000 * number, np.eye(4), [replace(car(0.0), size_m=(14.0, 1.9, 1.6))])
    (told,) = tracker.update(1_000_000_000, np.eye(4), [car(12.0)]).instances
    assert told.id == 2


def test_what_is_known_well_goes_before_what_was_just_born():
    tracker = Tracker()
    for number in range(10):
        tracker.update(200_000_000 * number, np.eye(4), [car(0.0)])
    tracker.update(2_000_000_000, np.eye(4), [car(0.0), car(2.4, number=2)])
    (told,) = tracker.update(2_200_000_000, np.eye(4), [car(0.5)]).instances
    assert told.id == 1


def test_of_two_equally_near_the_one_of_the_same_class():
    tracker = Tracker()

    def van(x: float, y: float = 0.0) -> Instance:
        return replace(car(x, y, TRUCK, number=2), size_m=BOX[CAR])

    for number in range(5):
        tracker.update(200_000_000 * number, np.eye(4), [car(0.0), van(2.4)])
    told = tracker.update(1_000_000_000, np.eye(4), [car(1.3), van(1.1)]).instances
    assert [one.id for one in told] == [1, 2]


def test_errors_that_last_do_not_become_velocities_at_a_high_rate():
    tracker, jitter, speeds = Tracker(), np.random.default_rng(3), []
    for number in range(200):
        if number % 6 == 0:
            x, y = jitter.normal(0, 0.25, 2)
        (told,) = tracker.update(50_000_000 * number, np.eye(4), [car(5 + x, y)]).instances
        speeds.append(np.hypot(*told.velocity_m_s[:2]))
    assert np.mean(speeds) < 0.02


def test_looks_lie_in_the_fixed_frame():
    pose = turning(1.0)
    turn = np.arctan2(pose[1, 0], pose[0, 0])
    looks = looks_of([replace(car(10.0, 5.0), yaw_rad=0.3), car(38.0), car(-20.0, -39.5)], pose, OCC3D_GRID)
    np.testing.assert_allclose(looks.yaw, [turn + 0.3, turn, turn])
    np.testing.assert_allclose(looks.place[0], apply(pose, np.array([10.0, 5.0, 0.8]))[:2])
    assert looks.cut.tolist() == [[0, 0], [1, 0], [0, -1]]


def test_what_comes_in_over_the_border_has_its_velocity_at_once():
    frames = track_voxels([Thing(TRUCK, (46, 0), (-10, 0)), Thing(TRUCK, (46, 8))], 2.0)
    entering = [frame[0][0] for frame in frames if 0 in frame]
    assert len({one.id for one in entering}) == 1
    assert max(abs(one.velocity_m_s[0]) for one in entering) < 12
    seen_whole = next(number for number, one in enumerate(entering) if one.size_m[0] > 7.5)
    assert entering[seen_whole].velocity_m_s[0] == pytest.approx(-10, abs=1.5)
    assert entering[-1].velocity_m_s[0] == pytest.approx(-10, abs=1.0)


@pytest.mark.parametrize('speed', [0.0, -10.0])
def test_what_comes_into_view_at_the_border_grows_beyond_it(speed):
    tracker, told = Tracker(), []
    for number in range(12):
        now = 0.2 * number
        labels = voxels([Thing(TRUCK, (46 + (speed - 10) * now, 6.0))], 0.0)
        told += tracker.update(round(1e9 * now), matrix(np.eye(3), (10 * now, 0.0, 0.0)),
                               instances_from_labels(labels, OCC3D_GRID)[1]).instances
    assert {one.id for one in told} == {1}
    assert told[-1].velocity_m_s[0] == pytest.approx(speed, abs=0.7)
    assert all(min(speed, 0) - 2 < one.velocity_m_s[0] < 0.7 for one in told)


def car(x: float, y: float = 0.0, label: int = CAR, number: int = 1) -> Instance:
    return Instance(number, label, 1.0, (x, y, 0.8), BOX[label], 0.0, 100)


def test_class_is_voted():
    tracker = Tracker()
    labels = [CAR, TRUCK, CAR, CAR, TRUCK, CAR, TRUCK, TRUCK, TRUCK, TRUCK, TRUCK, TRUCK, TRUCK]
    told = [tracker.update(200_000_000 * number, np.eye(4), [car(5.0, label=label)]).instances[0]
            for number, label in enumerate(labels)]
    assert {one.id for one in told} == {1}
    assert [one.label for one in told[:8]] == [CAR] * 8
    assert told[-1].label == TRUCK


def test_other_kinds_of_things_are_other_objects():
    tracker = Tracker()
    tracker.update(0, np.eye(4), [car(5.0)])
    (other,) = tracker.update(200_000_000, np.eye(4), [car(5.0, label=PEDESTRIAN)]).instances
    assert (other.id, other.label) == (2, PEDESTRIAN)


@pytest.mark.parametrize('hertz', [2.0, 20.0])
def test_a_lost_object_is_kept_for_a_time_and_then_forgotten(hertz):
    def after(pause_s: float) -> tuple[int, int]:
        tracker = Tracker()
        step = round(1e9 / hertz)
        stamp = 0
        for _ in range(round(2 * hertz)):
            first = tracker.update(stamp, np.eye(4), [car(5.0)]).instances[0].id
            stamp += step
        for _ in range(round(pause_s * hertz)):
            assert tracker.update(stamp, np.eye(4), []).instances == ()
            stamp += step
        return first, tracker.update(stamp, np.eye(4), [car(5.0)]).instances[0].id

    first, again = after(0.5)
    assert again == first
    first, again = after(2.0)
    assert again != first


def test_what_was_seen_once_is_soon_forgotten():
    tracker = Tracker()
    for stamp in range(0, 1_000_000_000, 100_000_000):
        tracker.update(stamp, np.eye(4), [car(5.0)] if not stamp else [])
    assert tracker.update(1_000_000_000, np.eye(4), [car(5.0)]).instances[0].id == 2


def test_time_that_goes_back_and_long_pauses_forget():
    for next_stamp in (9_000_000_000, 13_000_000_000):
        tracker = Tracker()
        for number in range(6):
            tracker.update(10_000_000_000 + 100_000_000 * number, np.eye(4), [car(5.0 + number)])
        (one,) = tracker.update(next_stamp, np.eye(4), [car(11.0)]).instances
        assert one.id == 2
        assert one.velocity_m_s == (0, 0, 0)


def test_ids_rest_before_they_are_given_again():
    tracker = Tracker(TrackerParams(id_rest_s=5.0, forget_new_after_s=0.05))
    crowd = [car(x, y, PEDESTRIAN, 100 + 20 * j + i)
             for i, x in enumerate(range(-39, 39, 4)) for j, y in enumerate(range(-39, 39, 10))]
    lasting, given, wrapped = car(1.0, number=1), [], 0
    for number in range(430):
        present = [lasting] if len(given) < 64_000 else []
        told = tracker.update(210_000_000 * number, np.eye(4), [*present, *crowd]).instances
        tracker.update(210_000_000 * number + 100_000_000, np.eye(4), present)
        if present:
            assert told[0].id == 1
        new = [one.id for one in told[len(present):]]
        assert len(set(new)) == len(new)
        assert {min(new), max(new)} <= set(range(1, 65_536))
        wrapped += given != [] and min(new) < min(given[-len(crowd):])
        given += new
    assert wrapped == 1
    assert given.count(2) == 2
    assert 1 not in given


def test_volume_and_list_agree():
    tracker = Tracker()
    labels = voxels([Thing(CAR, (5, 5)), Thing(CAR, (-8, 2)), Thing(PEDESTRIAN, (3, -6))], 0.0)
    ids, instances = instances_from_labels(labels, OCC3D_GRID)
    tracker.update(0, np.eye(4), [car(30.0 - 7 * number, number=number + 1) for number in range(8)])
    tracked = tracker.update(100_000_000, np.eye(4), [replace(one, id=one.id) for one in instances])
    volume = tracked.relabelled(ids)
    assert volume.dtype == np.uint16
    for before, after in zip(instances, tracked.instances, strict=True):
        np.testing.assert_array_equal(volume == after.id, ids == before.id)
        assert tracked.track_of[before.id] == after.id
    assert not volume[ids == 0].any()


def test_nothing_to_see():
    tracked = Tracker().update(0, np.eye(4), ())
    assert tracked.instances == ()
    assert not tracked.relabelled(np.zeros(OCC3D_GRID.shape, np.uint16)).any()


def test_it_keeps_up_with_sixty_objects():
    random = np.random.default_rng(1)
    things = [Thing(int(random.choice([CAR, TRUCK, PEDESTRIAN])), tuple(random.uniform(-38, 38, 2)), tuple(random.normal(0, 2, 2)))
              for _ in range(60)]
    tracker, times = Tracker(), []
    for number in range(20):
        found = seen(things, 0.1 * number, np.eye(4))
        began = time.perf_counter()
        tracker.update(100_000_000 * number, np.eye(4), found)
        times.append(time.perf_counter() - began)
    assert min(times[5:]) < 0.01, 'about 1.5 ms on one core of 2024'

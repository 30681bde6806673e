from __future__ import annotations

import random
from itertools import groupby, pairwise

import pytest

from occ_perception.runtime.intake.assembly import (
    DUPLICATE,
    LATE,
    NOT_DUE,
    OUT_OF_ORDER,
    OUT_OF_TOLERANCE,
    REPLACED,
    SILENT,
    TIME_JUMP,
    TOO_FEW_CAMERAS,
    AssembledSet,
    Assembler,
    AssemblyRules,
    CameraRule,
)
from occ_perception.runtime.intake.rate_thinner import MILLISECOND, SECOND, RateThinner

MS = MILLISECOND
OFFSETS = {'left': -30 * MS, 'front': -10 * MS, 'right': 12 * MS}


def rules(**changes) -> AssemblyRules:
    cameras = changes.pop('cameras', tuple(CameraRule(name, offset, 45 * MS) for name, offset in OFFSETS.items()))
    return AssemblyRules(cameras, **{'deadline_ns': 100 * MS, **changes})


def drive(seconds: float = 3.0, start: int = 10 * SECOND) -> list[tuple[int, str]]:
    """(stamp, stream) of a LiDAR at 20 Hz and three cameras at 12 Hz with their own phases."""
    events = [(start + i * 50 * MS, 'lidar') for i in range(int(seconds * 20))]
    for name, offset in OFFSETS.items():
        events += [(start + offset + round(i * SECOND / 12), name) for i in range(int(seconds * 12))]
    return sorted(events)


def play(assembler: Assembler, arrivals: list[tuple[int, int, str]]) -> list[AssembledSet]:
    """Feed (arrival, stamp, stream) in order of arrival, polling after each and until all deadlines have passed."""
    sets, now = [], 0
    for now, stamp, stream in sorted(arrivals):
        assembler.add(stream, stamp, (stream, stamp), now)
        sets += assembler.poll(now)
    return sets + assembler.poll(now + 10 * SECOND)


def choice(sets: list[AssembledSet]) -> list[tuple[int, dict[str, int]]]:
    return [(s.stamp_ns, {name: reading.stamp_ns for name, reading in s.cameras.items()}) for s in sets]


def test_nearest_frame_of_every_camera_is_taken() -> None:
    events = drive()
    assembler = Assembler(rules())
    sets = play(assembler, [(stamp, stamp, stream) for stamp, stream in events])
    references = [stamp for stamp, stream in events if stream == 'lidar'][::4]
    assert [s.stamp_ns for s in sets] == references
    for made in sets[:-1]:
        assert not made.missing
        for name, offset in OFFSETS.items():
            stamps = [stamp for stamp, stream in events if stream == name]
            target = made.stamp_ns + offset
            assert abs(made.cameras[name].stamp_ns - target) == min(abs(stamp - target) for stamp in stamps)
    assert assembler.due == len(references)
    assert not assembler.dropped


def test_choice_depends_on_stamps_not_on_jitter() -> None:
    """Delays of up to 60 ms, drawn anew each time (in order within a stream), give the same sets."""
    random.seed(1)
    base = [(stamp + random.randint(-2 * MS, 2 * MS) * (stream != 'lidar'), stream) for stamp, stream in drive()]
    wanted = choice(play(Assembler(rules(deadline_ns=SECOND)), [(stamp, stamp, stream) for stamp, stream in base]))
    assert len(wanted) == 15
    for _ in range(20):
        newest: dict[str, int] = {}
        arrivals = []
        for stamp, stream in sorted(base):
            newest[stream] = max(stamp + random.randint(0, 60 * MS), newest.get(stream, 0) + 1)
            arrivals.append((newest[stream], stamp, stream))
        assert choice(play(Assembler(rules(deadline_ns=SECOND)), arrivals)) == wanted


def test_complete_set_does_not_wait_for_a_frame_that_cannot_be_nearer() -> None:
    """Two earlier frames tell a camera's period: when the next one must be farther off, the set goes out at once."""
    assembler = Assembler(rules(cameras=(CameraRule('front', 0, 45 * MS),)))
    for stamp in (0, 80 * MS, 160 * MS):
        assembler.add('front', stamp, None, stamp)
    assembler.add('lidar', 190 * MS, None, 190 * MS)
    (made,) = assembler.poll(190 * MS)
    assert made.cameras['front'].stamp_ns == 160 * MS


def test_waits_for_a_nearer_frame() -> None:
    assembler = Assembler(rules(cameras=(CameraRule('front', 0, 60 * MS),)))
    for stamp in (0, 80 * MS, 160 * MS):
        assembler.add('front', stamp, None, stamp)
    assembler.add('lidar', 210 * MS, None, 210 * MS)
    assert assembler.poll(211 * MS) == []
    assembler.add('front', 240 * MS, None, 245 * MS)
    (made,) = assembler.poll(245 * MS)
    assert made.cameras['front'].stamp_ns == 240 * MS


def test_thinner_is_exact_on_jittered_periods() -> None:
    thinner = RateThinner(5.0)
    stamps = [i * 50 * MS + (i % 3 - 1) * MS for i in range(41)]
    due = [stamp for stamp in stamps if thinner.due(stamp)]
    assert due == stamps[::4]
    every = RateThinner(0)
    assert all(every.due(stamp) for stamp in stamps)


def test_partial_set_after_the_deadline_and_late_frame_counted() -> None:
    assembler = Assembler(rules())
    arrivals = [(stamp, stamp, stream) for stamp, stream in drive(1.0)]
    slow = next(i for i, (_, stamp, stream) in enumerate(arrivals) if stream == 'right' and stamp > 10 * SECOND + 390 * MS)
    arrivals = [a for i, a in enumerate(arrivals) if not (a[2] == 'right' and i >= slow)]
    late = (10 * SECOND + 520 * MS, 10 * SECOND + 400 * MS, 'right')
    sets = play(assembler, sorted([*arrivals, late]))
    third = next(s for s in sets if s.stamp_ns == 10 * SECOND + 400 * MS)
    assert third.missing == {'right': LATE}
    assert set(third.cameras) == {'left', 'front'}
    assembler.reset()
    assert sum(assembler.frames['right'].values()) == 1 + sum(stream == 'right' for _, _, stream in arrivals)


def test_late_frame_has_its_own_reason() -> None:
    assembler = Assembler(rules(cameras=(CameraRule('a', 0, 40 * MS), CameraRule('b', 0, 40 * MS))))
    assembler.add('lidar', 0, None, 0)
    assembler.add('a', 0, None, 0)
    assert assembler.poll(99 * MS) == []
    (made,) = assembler.poll(100 * MS)
    assert made.missing == {'b': LATE}
    assembler.add('b', 1 * MS, None, 120 * MS)
    assembler.add('b', 200 * MS, None, 200 * MS)
    assert assembler.frames['b'] == {LATE: 1}


def test_dead_camera_costs_the_deadline_for_a_second_only() -> None:
    arrivals = [(stamp, stamp, stream) for stamp, stream in drive(4.0) if stream != 'left']
    assembler = Assembler(rules())
    delays = {}
    for now, stamp, stream in arrivals:
        assembler.add(stream, stamp, None, now)
        for made in assembler.poll(now):
            delays[made.stamp_ns] = now - made.stamp_ns
            assert list(made.missing) == ['left']
    assert delays[10 * SECOND] >= 100 * MS
    late = [delay for stamp, delay in delays.items() if stamp >= 11 * SECOND]
    assert len(late) >= 14
    assert max(late) < 60 * MS


def test_too_few_cameras_drops_the_set() -> None:
    assembler = Assembler(rules(min_cameras=2))
    assembler.add('lidar', SECOND, None, SECOND)
    assembler.add('front', SECOND, None, SECOND)
    assert assembler.poll(2 * SECOND) == []
    assert assembler.dropped == {TOO_FEW_CAMERAS: 1}
    assert assembler.due == 1


def test_out_of_tolerance_is_named() -> None:
    assembler = Assembler(rules(cameras=(CameraRule('a', 0, 10 * MS), CameraRule('b', 0, 10 * MS))))
    for stamp in (0, 100 * MS, 200 * MS):
        assembler.add('a', stamp + 20 * MS, None, stamp)
        assembler.add('b', stamp, None, stamp)
    assembler.add('lidar', 100 * MS, None, 200 * MS)
    (made,) = assembler.poll(200 * MS)
    assert made.missing == {'a': OUT_OF_TOLERANCE}
    assembler.add('lidar', 900 * MS, None, 900 * MS)
    assembler.poll(1100 * MS)
    assert assembler.frames['a'][OUT_OF_TOLERANCE] == 1


def test_duplicates_and_disorder_are_counted() -> None:
    assembler = Assembler(rules())
    for stream in ('lidar', 'front'):
        for stamp in (SECOND, SECOND + 100 * MS, SECOND + 100 * MS, SECOND + 50 * MS):
            assembler.add(stream, stamp, None, stamp)
        assert assembler.frames[stream][DUPLICATE] == 1
        assert assembler.frames[stream][OUT_OF_ORDER] == 1
    assert assembler.due == 1


def test_bag_loop_starts_anew_and_loses_no_set_of_the_new_round() -> None:
    events = drive(2.0)
    length = 2 * SECOND
    assembler = Assembler(rules())
    arrivals = [(loop * length + stamp, stamp, stream) for loop in range(3) for stamp, stream in events]
    sets = play(assembler, arrivals)
    references = [stamp for stamp, stream in events if stream == 'lidar'][::4]
    for loop in range(3):
        got = [s.stamp_ns for s in sets[loop * len(references):(loop + 1) * len(references)]]
        assert got == references
    assert assembler.resets == 2
    assert all(not s.missing for s in sets if s.stamp_ns not in (references[-1],))


def test_every_frame_is_counted_once() -> None:
    events = drive(5.0)
    assembler = Assembler(rules())
    play(assembler, [(stamp, stamp, stream) for stamp, stream in events])
    assembler.reset()
    for name in ('lidar', *OFFSETS):
        assert sum(assembler.frames[name].values()) == sum(stream == name for _, stream in events)
    assert assembler.frames['front']['in_set'] == 25
    assert assembler.frames['front'][NOT_DUE] + assembler.frames['front'][REPLACED] + assembler.frames['front'][TIME_JUMP] == 35


def test_memory_is_bounded_without_references_and_with_a_stuck_clock() -> None:
    assembler = Assembler(rules())
    for i in range(10_000):
        assembler.add('front', i * 10 * MS, None, i)
    assert len(assembler._cameras['front'].frames) <= assembler.rules.capacity
    assert assembler.frames['front']['overflow'] == 10_000 - assembler.rules.capacity
    for i in range(1000):
        assembler.add('lidar', i * SECOND, None, 0)
    assert assembler.pending <= assembler.rules.max_pending
    assert assembler.dropped['overflow'] == 1000 - assembler.rules.max_pending


def test_reference_may_be_a_camera() -> None:
    """The anchor camera's own offset plays no part: it is the reference."""
    assembler = Assembler(rules(reference='front', max_rate_hz=0))
    arrivals = [(stamp, stamp, stream) for stamp, stream in drive(1.0) if stream != 'lidar']
    sets = play(assembler, arrivals)
    assert len(sets) == 12
    assert all(s.cameras['front'].stamp_ns == s.stamp_ns for s in sets)


def test_wanted_frames_are_those_that_get_used() -> None:
    """What `wanted` refuses never goes into a set (after the first), and it refuses about half of 12 Hz at 5 Hz."""
    assembler = Assembler(rules())
    refused, used, total = set(), set(), 0
    for stamp, stream in drive(4.0):
        if stream != 'lidar':
            total += 1
            if not assembler.wanted(stream, stamp) and stamp > 10 * SECOND + 100 * MS:
                refused.add((stream, stamp))
        assembler.add(stream, stamp, None, stamp)
        for made in assembler.poll(stamp):
            used |= {(name, reading.stamp_ns) for name, reading in made.cameras.items()}
    assert not refused & used
    assert len(refused) > 0.4 * total


def test_silent_camera_never_heard() -> None:
    assembler = Assembler(rules(cameras=(CameraRule('a'), CameraRule('b'))))
    for i in range(30):
        assembler.add('a', i * 50 * MS, None, i * 50 * MS)
        assembler.add('lidar', i * 50 * MS, None, i * 50 * MS)
        sets = assembler.poll(i * 50 * MS)
    assert sets == [] or sets[-1].missing == {'b': SILENT}


@pytest.mark.parametrize(('changes', 'word'), [
    ({'min_cameras': 4}, 'min_cameras is 4'), ({'cameras': ()}, 'cameras'), ({'max_rate_hz': -1.0}, 'max_rate_hz'),
])
def test_bad_rules_are_refused(changes: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        rules(**changes)


def test_unknown_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="stream 'rear'"):
        Assembler(rules()).add('rear', 0, None, 0)


def test_a_clock_that_stands_still_can_be_overruled() -> None:
    assembler = Assembler(rules())
    for stamp in (SECOND, SECOND + 200 * MS):
        assembler.add('lidar', stamp, None, 0)
    assembler.add('front', SECOND, None, 0)
    assembler.add('front', SECOND + 200 * MS, None, 0)
    assert assembler.poll(0) == []
    assert assembler.oldest_ns == SECOND
    assert [s.stamp_ns for s in assembler.poll(0, overdue=True)] == [SECOND]
    assert assembler.oldest_ns == SECOND + 200 * MS


def unplugged(begin: int, end: int) -> list[tuple[int, str]]:
    """drive() without the LiDAR from begin to end, seconds after its start."""
    return [(stamp, stream) for stamp, stream in drive() if stream != 'lidar' or not begin <= (stamp - 10 * SECOND) / SECOND < end]


def test_a_camera_stands_in_for_a_silent_lidar_until_it_is_back() -> None:
    assembler = Assembler(rules(stand_ins=('front',)))
    events = unplugged(1.0, 2.0)
    sets = play(assembler, [(stamp, stamp, stream) for stamp, stream in events])
    kinds = [made.reference.item[0] for made in sets]
    assert set(kinds) == {'lidar', 'front'}
    stamps = [made.stamp_ns - 10 * SECOND for made in sets]
    assert stamps == sorted(stamps)
    assert max(b - a for a, b in pairwise(stamps)) < 0.75 * SECOND  # half a second of patience, then one set every 0.2 s
    stood_in = [made for made in sets if made.reference.item[0] == 'front']
    assert assembler.stood_in == len(stood_in) >= 2
    for made in stood_in:
        assert 1.4 * SECOND < made.stamp_ns - 10 * SECOND < 2.1 * SECOND
        assert made.cameras['front'].stamp_ns == made.stamp_ns
        for name, offset in OFFSETS.items():  # the others as if the LiDAR had been there
            assert abs(made.cameras[name].stamp_ns - (made.stamp_ns - OFFSETS['front'] + offset)) <= 45 * MS
    assert kinds[-1] == 'lidar' and not assembler.dropped
    assert set(assembler.frames['lidar']) == {'in_set', 'not_due'}


def test_the_next_camera_stands_in_while_the_first_is_silent_as_well() -> None:
    assembler = Assembler(rules(stand_ins=('front', 'left')))
    events = [(stamp, stream) for stamp, stream in unplugged(0.5, 3.0)
              if stream != 'front' or not 1.2 <= (stamp - 10 * SECOND) / SECOND < 2.2]
    sets = play(assembler, [(stamp, stamp, stream) for stamp, stream in events])
    anchors = [made.reference.item[0] for made in sets]
    assert [anchor for anchor, _ in groupby(anchors)] == ['lidar', 'front', 'left', 'front']
    stamps = [made.stamp_ns for made in sets]
    assert stamps == sorted(set(stamps)) and max(b - a for a, b in pairwise(stamps)) < 0.75 * SECOND
    for made in sets:
        if made.reference.item[0] == 'left':
            assert 1.6 * SECOND < made.stamp_ns - 10 * SECOND < 2.3 * SECOND
            assert made.cameras['left'].stamp_ns == made.stamp_ns
            assert abs(made.cameras['right'].stamp_ns - (made.stamp_ns - OFFSETS['left'] + OFFSETS['right'])) <= 45 * MS
    assert assembler.stood_in == len(sets) - anchors.count('lidar') and not assembler.dropped


def test_all_that_come_before_may_be_dead_from_the_start() -> None:
    alone = [(stamp, stamp, stream) for stamp, stream in drive() if stream == 'left']
    sets = play(Assembler(rules(stand_ins=('front', 'left'))), alone)
    assert len(sets) >= 8 and all(made.reference.item[0] == 'left' for made in sets)


def test_a_lidar_that_never_comes_and_one_that_is_slow() -> None:
    cameras = [(stamp, stamp, stream) for stamp, stream in drive() if stream != 'lidar']
    sets = play(Assembler(rules(stand_ins=('front',))), cameras)
    assert len(sets) >= 8 and all(made.reference.item[0] == 'front' for made in sets)
    assert play(Assembler(rules()), cameras) == []
    slow = Assembler(rules(stand_ins=('front',)))
    key_frames = [(stamp, stamp, stream) for stamp, stream in drive() if stream != 'lidar' or stamp % (SECOND // 2) == 0]
    assert all(made.reference.item[0] == 'lidar' for made in play(slow, key_frames))
    assert slow.stood_in == 0


def test_sets_of_the_lidar_alone_where_rules_allow_them() -> None:
    lidar = [(stamp, stamp, stream) for stamp, stream in drive() if stream == 'lidar']
    dropped = Assembler(rules())
    assert play(dropped, lidar) == [] and dropped.dropped[TOO_FEW_CAMERAS] == 15
    sets = play(Assembler(rules(min_cameras=0)), lidar)
    assert len(sets) == 15 and not any(made.cameras for made in sets)


@pytest.mark.parametrize(('changes', 'words'), [({'stand_ins': ('rear',)}, 'rear cannot stand in'),
                                                ({'min_cameras': -1}, 'must be 0'),
                                                ({'reference': 'front', 'min_cameras': 0}, 'must be 1'),
                                                ({'reference': 'front', 'stand_ins': ('left',)}, 'left cannot stand in'),
                                                ({'stand_ins': ('left', 'left')}, 'left, left cannot stand in')])
def test_rules_that_do_not_go_together(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rules(**changes)

"""Figures of tracks on cases that can be counted by hand, and the command that prints them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from occ_perception.cli import track
from occ_perception.cli.main import main
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import FREE
from occ_perception.metrics.tracking import TrackingScore, TruthObject, truth_objects
from occ_perception.runtime.frames import Instance

CAR, TRUCK = 4, 10


def true(number: int, x: float, velocity: float = 0.0, label: int = CAR, scored: bool = True) -> TruthObject:
    return TruthObject(number, label, (x, 0.0), (velocity, 0.0), scored)


def found(number: int, x: float, velocity: float = 0.0, label: int = CAR) -> Instance:
    return Instance(number, label, 1.0, (x, 0.5, 1.0), (4, 2, 2), 0.0, 50, (velocity, 0.0, 0.0))


def test_switches_misses_and_false_ones():
    score = TrackingScore()
    score.begin_stream()
    score.add([true(1, 0), true(2, 20)], [found(7, 0.5), found(8, 20)])
    score.add([true(1, 1), true(2, 20)], [found(7, 1.5), found(9, 20)])
    score.add([true(1, 2), true(2, 20)], [found(9, 20), found(10, 40)])
    score.add([true(1, 3), true(2, 20)], [found(7, 3.0), found(9, 20)])
    every = score.rows()[-1]
    assert (every.objects, every.tracks, every.switches, every.fragmentations, every.mostly_tracked) == (8, 2, 1, 1, 1)
    assert every.mota == pytest.approx(1 - (1 + 1 + 1) / 8)
    assert every.recall == pytest.approx(7 / 8)
    assert every.precision == pytest.approx(7 / 8)
    assert every.idf1 == pytest.approx(2 * 6 / (8 + 8))


def test_classes_and_streams_are_kept_apart():
    score = TrackingScore()
    for _ in range(2):
        score.begin_stream()
        score.add([true(1, 0), true(2, 20, label=TRUCK)], [found(1, 0), found(2, 20)])
        score.add([true(1, 0), true(2, 20, label=TRUCK)], [found(1, 0), found(2, 20, label=TRUCK)])
    rows = {row.name: row for row in score.rows()}
    assert list(rows) == ['car', 'truck', 'all']
    assert (rows['car'].objects, rows['truck'].objects, rows['all'].objects) == (4, 4, 8)
    assert rows['truck'].recall == pytest.approx(0.5)
    assert rows['car'].precision == pytest.approx(4 / 6)
    assert rows['all'].switches == 0


def test_what_cannot_be_seen_counts_neither_way():
    score = TrackingScore()
    score.add([true(1, 0), true(2, 20, scored=False), true(3, 30, scored=False)], [found(1, 0), found(2, 20)])
    every = score.rows()[-1]
    assert (every.objects, every.mota, every.precision) == (1, 1.0, 1.0)


def test_farther_than_two_metres_is_missed():
    score = TrackingScore()
    score.add([true(1, 0)], [found(1, 2.1)])
    assert score.rows()[-1].recall == 0.0


def test_velocity_errors():
    score = TrackingScore()
    score.add([true(1, 0, 5.0), true(2, 20), true(3, 40, -3.0)], [found(1, 0, 4.0), found(2, 20, 0.25), found(3, 50, 9.0)])
    score.add([true(1, 0, 5.0), true(2, 20)], [found(1, 0, 8.0), found(2, 20, 0.0)])
    every = score.rows()[-1]
    assert every.velocity_error_m_s == pytest.approx(2.0)
    assert every.velocity_median_m_s == pytest.approx(2.0)
    assert every.standing_speed_m_s == pytest.approx(0.125)


def test_nothing_at_all():
    (row,) = TrackingScore().rows()
    assert row.objects == 0
    assert row.as_dict()['mota'] is None


def volume(x: int) -> SimpleNamespace:
    """Truth of a car, voxels x to x + 10, that moves, and of a truck that only three voxels show of; a hidden one behind."""
    semantics = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    instances, visible = np.zeros(OCC3D_GRID.shape, np.uint16), np.zeros(OCC3D_GRID.shape, np.uint8)
    flow = np.zeros((*OCC3D_GRID.shape, 2), np.float16)
    for number, label, at, shown in ((30, CAR, np.s_[x:x + 11, 90:95, 2:6], 100), (12, TRUCK, np.s_[60:80, 120:127, 2:9], 3),
                                     (40, TRUCK, np.s_[20:40, 120:127, 2:9], 2)):
        semantics[at], instances[at] = label, number
        visible.reshape(-1)[np.flatnonzero(instances == number)[:shown]] = 1
    flow[instances == 30] = (10.0, 0.0)
    return SimpleNamespace(semantics=semantics, instances=instances, flow=flow, mask_camera=visible)


def test_true_objects_of_a_volume():
    known = volume(100)
    objects = {one.id: one for one in truth_objects(known.instances, known.semantics, known.flow, known.mask_camera, OCC3D_GRID)}
    assert sorted(objects) == [12, 30, 40]
    assert (objects[30].label, objects[30].velocity_m_s, objects[30].scored) == (CAR, (10.0, 0.0), True)
    assert objects[30].center_m == pytest.approx((2.2, -3.0))
    assert (objects[12].label, objects[12].scored) == (TRUCK, True)
    assert not objects[40].scored


@pytest.fixture
def short_drive(monkeypatch):
    def drive(seed: int, frames: int, rate_hz: float, small: bool):
        for number in range(frames):
            now = number / rate_hz
            yield SimpleNamespace(time_s=now, fixed_from_ego=np.eye(4), truth=volume(60 + round(25 * now)))

    monkeypatch.setattr(track, '_drive', drive)


def test_the_command_scores_true_voxels(short_drive, capsys):
    assert main(['track', '--truth', '--streets', '1', '--seconds', '2', '--json']) == 0
    result = json.loads(capsys.readouterr().out)
    rows = {row['name']: row for row in result['rows']}
    assert (rows['car']['mota'], rows['car']['switches'], rows['all']['objects']) == (1.0, 0, 20)
    assert rows['car']['velocity_median_m_s'] < 0.5
    assert rows['truck']['standing_speed_m_s'] == 0
    assert main(['track', '--truth', '--streets', '2', '--seconds', '1']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ['car', 'truck', 'all']
    assert lines[2].split()[3] == '100.0'


@pytest.mark.parametrize('wrong', [['--streets', '0'], ['--first', '-1'], ['--rate', '50'], ['--seconds', '0.1']])
def test_the_command_refuses_what_it_cannot_do(wrong, capsys):
    assert main(['track', '--truth', *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err

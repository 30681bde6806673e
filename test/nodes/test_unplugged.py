"""Sensors of a network of cameras and LiDAR pulled out while it runs: what serves, what is said, and the way back."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
from fake_predictor import FakePredictor
from live import Ear, ros, running, until
from small_bag import START_NS, write_bag
from visualization_msgs.msg import MarkerArray

from occ_msgs.msg import VoxelFlow, VoxelGrid
from occ_perception import catalogue
from occ_perception.nodes import qos, system
from occ_perception.nodes.conversions import flow_of, stamp_ns
from occ_perception.runtime.fallback import NO_CAMERAS, NO_LIDAR, FallbackPredictor

SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def fusion(monkeypatch: pytest.MonkeyPatch) -> None:
    """scocc_sample as a network that takes LiDAR points, too, and may have either masked."""
    row = dataclasses.replace(catalogue.entry('scocc_sample'), lidar=catalogue.LidarSpec(), maskable=True)
    monkeypatch.setitem(catalogue.NETWORKS, 'scocc_sample', row)


def make(stand_ins: tuple[str, ...]) -> FallbackPredictor:
    """As make_predictor: the camera network without LiDAR, the network itself, masked, without cameras."""
    whole, other = FakePredictor(), FakePredictor()
    other.entry = dataclasses.replace(whole.entry, name='camera_only', lidar=None)
    known = {NO_LIDAR: other, NO_CAMERAS: whole}
    return FallbackPredictor(whole, {lacking: known[lacking] for lacking in stand_ins}, hold_s=0.3)


def serve(path: Path, stand_ins: tuple[str, ...] = (NO_LIDAR, NO_CAMERAS)):
    """Play a bag: (tally, grids, flows, arrows, counts, messages of /diagnostics)."""
    specs = system.nodes('scocc_sample', system.sources_of(str(path)), replay=system.Replay(str(path), lockstep=True))
    served = make(stand_ins)
    with ros() as context, running(specs, context, lambda *_: served) as system_, contextlib.closing(
            Ear(context, voxels=(VoxelGrid, 'occ/voxels', 50), flow=(VoxelFlow, 'occ/flow', 50),
                arrows=(MarkerArray, 'occ/flow_arrows', qos.OUTPUT))) as ear:
        assert system_.start()
        assert system_.finished.wait(30)
        assert until(lambda: (t := system_.tally()).published + sum(t.dropped.values()) == t.due, 5), system_.tally()
        assert ear.wait(lambda heard: len(heard['voxels']) == len(heard['flow']) == system_.tally().published, 5)
        ear.wait(lambda heard: bool(heard['arrows']), 5)
        return system_.tally(), ear.heard, dict(system_.nodes['occupancy']._health._counts), system_.nodes['occupancy']._describe()


def without(words: tuple[str, ...], begin: float, end: float):
    """For write_bag's `change`: topics that hold one of the words are silent from begin to end."""
    def change(topic: str, message, seconds: float):
        return None if any(word in topic for word in words) and begin <= seconds < end else message

    return change


def seconds_of(grid: VoxelGrid) -> float:
    return (stamp_ns(grid.header.stamp) - START_NS) / SECOND


def test_a_lidar_pulled_out_and_put_back(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    tally, heard, counts, _ = serve(write_bag(tmp_path / 'bag', 4.0, change=without(('LIDAR',), 1.0, 2.2)))
    grids = heard['voxels']
    assert not tally.dropped and tally.stood_in >= 3
    assert [seconds_of(grid) for grid in grids] == sorted(seconds_of(grid) for grid in grids)
    for grid in grids:
        assert grid.intended_network == 'scocc_sample'
        lidar = next(sensor for sensor in grid.sensors if sensor.name == 'lidar')
        if grid.fallback:
            assert (grid.network, grid.fallback, lidar.valid, lidar.readings) == ('camera_only', NO_LIDAR, False, 0)
            assert 1.4 < seconds_of(grid) < 2.7
        else:
            assert (grid.network, lidar.valid, lidar.readings) == ('scocc_sample', True, 1)
            assert seconds_of(grid) < 1.0 or seconds_of(grid) > 2.3
            assert sum(sensor.valid for sensor in grid.sensors) == 7
    assert {grid.fallback for grid in grids[-3:]} == {''}  # back by itself
    assert counts['fallback'][NO_LIDAR] == sum(bool(grid.fallback) for grid in grids) >= 3
    assert 'camera_only serves in place of scocc_sample [no_lidar]' in capfd.readouterr().err


def test_all_cameras_pulled_out_and_put_back(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    tally, heard, counts, _ = serve(write_bag(tmp_path / 'bag', 4.0, change=without(('CAM_',), 1.0, 2.2)))
    grids = heard['voxels']
    assert not tally.dropped and len(grids) == tally.due == 20
    blind = [grid for grid in grids if grid.fallback]
    assert {grid.fallback for grid in blind} == {NO_CAMERAS} and {grid.network for grid in blind} == {'scocc_sample'}
    assert all(0.9 < seconds_of(grid) < 2.7 for grid in blind) and 5 <= len(blind) <= 9
    assert {grid.fallback for grid in grids[-3:]} == {''}
    assert counts['fallback'][NO_CAMERAS] == len(blind)
    assert 'scocc_sample serves with that input masked [no_cameras]' in capfd.readouterr().err
    # what moves, beside each grid
    for grid, flow in zip(grids, heard['flow'], strict=True):
        assert flow.header == grid.header
        assert flow_of(flow)[101, 101, 4].tolist() == [3.0, -4.0]
    arrows = [marker for marker in heard['arrows'][0].markers if marker.points]
    assert len(arrows) == 1
    assert (arrows[0].points[1].x - arrows[0].points[0].x, arrows[0].points[1].y - arrows[0].points[0].y) == (
        pytest.approx(3.0), pytest.approx(-4.0))


def test_without_a_stand_in_sets_are_dropped_by_name_and_come_again(tmp_path: Path) -> None:
    tally, heard, _, _ = serve(write_bag(tmp_path / 'bag', 3.0, change=without(('LIDAR',), 1.0, 2.0)), (NO_CAMERAS,))
    assert tally.dropped[NO_LIDAR] >= 2 and set(tally.dropped) == {NO_LIDAR}
    assert not any(grid.fallback for grid in heard['voxels'])
    assert seconds_of(heard['voxels'][-1]) > 2.5


def test_with_the_front_camera_dead_as_well_another_anchors(tmp_path: Path) -> None:
    tally, heard, _, _ = serve(write_bag(tmp_path / 'bag', 4.0, change=without(('LIDAR', 'CAM_FRONT/'), 1.0, 2.2)))
    assert not tally.dropped and tally.stood_in >= 2
    fallen = [grid for grid in heard['voxels'] if grid.fallback]
    assert len(fallen) >= 2 and {grid.network for grid in fallen} == {'camera_only'}
    for grid in fallen:
        if seconds_of(grid) < 2.1:
            assert [sensor.name for sensor in grid.sensors if not sensor.valid] == ['CAM_FRONT', 'lidar']
    assert {grid.fallback for grid in heard['voxels'][-3:]} == {''}


def test_one_camera_less_is_no_reason_to_fall_back(tmp_path: Path) -> None:
    tally, heard, _, _ = serve(write_bag(tmp_path / 'bag', 2.0, change=without(('CAM_BACK/',), 0.5, 9.0)))
    assert not tally.dropped and not any(grid.fallback for grid in heard['voxels'])
    assert sum(sensor.valid for sensor in heard['voxels'][-1].sensors) == 6

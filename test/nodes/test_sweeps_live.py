"""The lidar node over DDS: earlier sweeps by age, clouds of every layout, clouds that are broken, late or come twice."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_predictor import FakePredictor
from live import Ear, ros, running, until
from sensor_msgs.msg import PointCloud2
from small_bag import SPEED_M_S, START_NS, T, cloud, turning, write_bag

from occ_msgs.msg import SweepInfo
from occ_perception import catalogue
from occ_perception.geometry.transforms import apply, inverse
from occ_perception.nodes import qos, system
from occ_perception.nodes.conversions import stamp_ns, sweeps_of

SECOND = 1_000_000_000
AGES = (0.25, 0.5)
DEEP = {'depth': 200, 'reliability': 'reliable'}


@pytest.fixture
def looking_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """scocc_sample as a network that looks at the present sweep and at two earlier ones."""
    row = dataclasses.replace(catalogue.entry('scocc_sample'), lidar=catalogue.LidarSpec(ages_s=AGES))
    monkeypatch.setitem(catalogue.NETWORKS, 'scocc_sample', row)


def serve(path: Path, made: FakePredictor, **lidar):
    """Play a bag in lockstep: (counts of the lidar node, messages on its topics)."""
    specs = system.nodes('scocc_sample', system.sources_of(str(path)), replay=system.Replay(str(path), lockstep=True))
    for spec in specs:
        if spec.name == 'lidar':
            spec.parameters.update({'network': 'scocc_sample', **lidar})
            policies = {f'qos_overrides./LIDAR_TOP/points.subscription.{policy}': value for policy, value in DEEP.items()}
            spec.parameters.update(policies)
    with ros() as context, running(specs, context, lambda *_: made) as system_, contextlib.closing(
            Ear(context, clouds=(PointCloud2, 'occ/sweeps', qos.SENSOR), infos=(SweepInfo, 'occ/sweep_info', qos.SENSOR))) as ear:
        assert system_.start()
        assert system_.finished.wait(30)
        assert until(lambda: (t := system_.tally()).published + sum(t.dropped.values()) == t.due, 5), system_.tally()
        ear.wait(lambda heard: len(heard['clouds']) == len(heard['infos']) > 10, 3)
        return dict(system_.nodes['lidar']._health._counts), ear.heard


def test_earlier_sweeps_are_found_by_age_and_moved_by_tf(tmp_path: Path, looking_back: None) -> None:
    """On a circle: what the network is given, what the topic says and the vehicle's path agree."""
    made = FakePredictor()
    counts, heard = serve(write_bag(tmp_path / 'bag', 1.6, change=turning), made)
    assert len(made.frames) == 8
    for frame in made.frames:
        seconds = (frame.stamp_ns - START_NS) / SECOND
        wanted = [age for age in (0.0, *AGES) if age <= seconds + 1e-6]
        assert [round((frame.stamp_ns - sweep.stamp_ns) / SECOND, 3) for sweep in frame.sweeps] == wanted
        for sweep, age in zip(frame.sweeps, wanted, strict=True):
            mount = frame.sweeps[0].ego_from_lidar[:3, 3]
            np.testing.assert_allclose(mount, (0.9, 0, 1.8), atol=1e-6)
            angle = SPEED_M_S / 20 * age  # the LiDAR stood behind, on the circle
            place = (-20 * np.sin(angle) + 0.9 * np.cos(angle), 20 * (1 - np.cos(angle)) - 0.9 * np.sin(angle), 1.8)
            np.testing.assert_allclose(sweep.ego_from_lidar[:3, 3], place, atol=5e-3)
            newest = sweep.points[sweep.points[:, 5].argmin()]
            assert newest[5] == pytest.approx(age, abs=1e-6)
            own = apply(inverse(sweep.ego_from_lidar), newest[None, :3].astype(float))[0]
            assert np.linalg.norm(own) == pytest.approx(10, abs=5e-3)
    infos = {stamp_ns(info.header.stamp): info for info in heard['infos']}
    sent = {stamp_ns(message.header.stamp): sweeps_of(message, infos[stamp_ns(message.header.stamp)])
            for message in heard['clouds'] if stamp_ns(message.header.stamp) in infos}
    both = [frame for frame in made.frames if frame.stamp_ns in sent]
    assert len(both) >= 4
    for frame in both:
        for given, received in zip(frame.sweeps, sent[frame.stamp_ns], strict=True):
            assert received.stamp_ns == given.stamp_ns
            np.testing.assert_array_equal(received.points, given.points)
            np.testing.assert_allclose(received.ego_from_lidar, given.ego_from_lidar, atol=1e-9)
    assert counts['sweeps']['incomplete'] >= 3  # at the start there is nothing to look back at


def strange(stamp: int, number: int):
    """Twenty clouds a second, most of them strange in a way of their own."""
    message = cloud(stamp, 'LIDAR_TOP')
    records = message.data.view(np.dtype([(n, '<f4') for n in ('x', 'y', 'z', 'intensity')] + [('ring', '<u2'), ('time', '<f4')]))
    field = T['sensor_msgs/msg/PointField']
    kind = number % 10
    if kind == 1:  # some not finite
        records['x'][:50] = np.nan
    elif kind == 2:  # no z
        message = dataclasses.replace(message, fields=[f for f in message.fields if f.name != 'z'])
    elif kind == 3:  # float64 places in another order, nothing else
        doubles = np.zeros(200, np.dtype([('z', '<f8'), ('x', '<f8'), ('y', '<f8')]))
        for name in 'xyz':
            doubles[name] = records[name]
        message = dataclasses.replace(message, fields=[field(n, 8 * i, 8, 1) for i, n in enumerate('zxy')], point_step=24,
                                      row_step=4800, data=doubles.view(np.uint8).ravel())
    elif kind == 4:  # big endian
        turned = records.astype(records.dtype.newbyteorder('>'))
        message = dataclasses.replace(message, is_bigendian=True, data=turned.view(np.uint8).ravel())
    elif kind == 5:  # no points at all
        message = dataclasses.replace(message, width=0, row_step=0, data=np.zeros(0, np.uint8))
    elif kind == 6:  # ten times too many
        message = cloud(stamp, 'LIDAR_TOP', 10_000)
    elif kind == 7:  # cut short
        message = dataclasses.replace(message, data=message.data[:1000])
    return message


def test_strange_clouds_are_read_or_counted_and_nothing_stops(tmp_path: Path, looking_back: None,
                                                              capfd: pytest.CaptureFixture) -> None:
    def change(topic: str, message, seconds: float):
        return strange(START_NS + round(seconds * SECOND), round(seconds * 20)) if topic == '/LIDAR_TOP/points' else message

    made = FakePredictor()
    path = write_bag(tmp_path / 'bag', 2.0, change=change)
    counts, heard = serve(path, made, max_points=1000, ego_front=11.0, ego_back=1.0, ego_side=2.0)
    assert len(made.frames) == 10  # a set for every fourth cloud, whatever is in it
    sweeps = counts['sweeps']
    # the topic is subscribed to, so that every cloud is looked at, if the ear was found in time
    assert 2 <= sweeps['bad_cloud'] <= 8 and sweeps['empty_cloud'] == 4
    points = counts['points']
    assert points['not_finite'] % 50 == 0 < points['not_finite'] and points['thinned'] % 9000 == 0 < points['thinned']
    assert points['ego'] > 0
    log = capfd.readouterr().err
    assert 'cloud has no field z, only x, y, intensity, ring, time' in log
    ranges = {len(frame.sweeps) for frame in made.frames}
    assert ranges <= {0, 1, 2, 3} and 0 in ranges
    for frame in made.frames:
        for sweep in frame.sweeps:
            assert np.isfinite(sweep.points).all() and len(sweep.points) <= 1000
            own = apply(inverse(sweep.ego_from_lidar), sweep.points[:, :3].astype(float))
            np.testing.assert_allclose(np.linalg.norm(own[:, :2], axis=1), 10, atol=0.3)  # read as it was written
            assert not ((np.abs(sweep.points[:, 1]) <= 2) & (sweep.points[:, 0] <= 11) & (sweep.points[:, 0] >= -1)).any() \
                or sweep is not frame.sweeps[0]
    assert len(heard['clouds']) > 10


def test_late_sweeps_and_sweeps_that_come_twice_are_counted(tmp_path: Path, looking_back: None) -> None:
    def change(topic: str, message, seconds: float):
        number = round(seconds * 20)
        if topic == '/LIDAR_TOP/points' and number in (11, 12):  # one tells the stamp of the one before, one comes behind the next
            return cloud(START_NS + (number - {11: 1, 12: 3}[number]) * SECOND // 20, 'LIDAR_TOP')
        return message

    made = FakePredictor()
    counts, _ = serve(write_bag(tmp_path / 'bag', 1.6, change=change), made)
    assert counts['sweeps']['duplicate'] == 2
    stamps = [frame.stamp_ns for frame in made.frames]
    assert stamps == sorted(set(stamps)) and len(stamps) >= 7

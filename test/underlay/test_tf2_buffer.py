"""Lookups in the transform buffer: composition, interpolation, times and errors. They hold for the distribution's tf2 as well."""

from __future__ import annotations

import math
import threading

import pytest
import tf2_ros
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time

MILLION = 1_000_000


def pose(parent, child, milliseconds, x=0.0, y=0.0, z=0.0, yaw=0.0):
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp = Time(nanoseconds=milliseconds * MILLION).to_msg()
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = x, y, z
    rotation.z, rotation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


def at(milliseconds):
    return Time(nanoseconds=milliseconds * MILLION)


def place(message):
    t, r = message.transform.translation, message.transform.rotation
    return pytest.approx((t.x, t.y, t.z), abs=1e-12), 2 * math.atan2(r.z, r.w)


@pytest.fixture
def buffer():
    """odom -> base moving along x and turning from 0 to 90 degrees between 1 s and 2 s, base -> lidar fixed, map -> odom fixed."""
    made = tf2_ros.Buffer()
    made.set_transform(pose('odom', 'base', 1000, x=0.0), 'test')
    made.set_transform(pose('odom', 'base', 2000, x=10.0, yaw=math.pi / 2), 'test')
    made.set_transform_static(pose('base', 'lidar', 0, x=1.0, z=2.0), 'test')
    made.set_transform_static(pose('map', 'odom', 0, y=5.0), 'test')
    return made


def test_between_two_poses_translation_is_linear_and_rotation_spherical(buffer):
    found = buffer.lookup_transform('odom', 'base', at(1250))
    position, yaw = place(found)
    assert position == (2.5, 0.0, 0.0)
    assert yaw == pytest.approx(math.pi / 8)
    assert (found.header.frame_id, found.child_frame_id) == ('odom', 'base')
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (1, 250 * MILLION)


def test_rotation_takes_the_shorter_arc():
    buffer = tf2_ros.Buffer()
    buffer.set_transform(pose('odom', 'base', 1000, yaw=math.radians(170)), 'test')
    buffer.set_transform(pose('odom', 'base', 2000, yaw=math.radians(-170)), 'test')
    _, yaw = place(buffer.lookup_transform('odom', 'base', at(1500)))
    assert abs(math.remainder(yaw - math.pi, 2 * math.pi)) < 1e-9


def test_transforms_compose_along_the_tree_and_back(buffer):
    position, yaw = place(buffer.lookup_transform('map', 'lidar', at(2000)))
    assert position == (10.0, 6.0, 2.0)
    assert yaw == pytest.approx(math.pi / 2)
    position, yaw = place(buffer.lookup_transform('lidar', 'map', at(2000)))
    assert position == (-6.0, 10.0, -2.0)
    assert yaw == pytest.approx(-math.pi / 2)


def test_time_zero_means_the_latest_common_time(buffer):
    buffer.set_transform(pose('base', 'arm', 1500, x=1.0), 'test')
    buffer.set_transform(pose('base', 'arm', 1700, x=2.0), 'test')
    found = buffer.lookup_transform('odom', 'arm', Time())
    assert Time.from_msg(found.header.stamp).nanoseconds == 1700 * MILLION
    assert buffer.get_latest_common_time('odom', 'arm').nanoseconds == 1700 * MILLION
    static_only = buffer.lookup_transform('base', 'lidar', Time())
    assert Time.from_msg(static_only.header.stamp).nanoseconds == 0


def test_between_two_times_by_way_of_a_fixed_frame(buffer):
    moved = buffer.lookup_transform_full('base', at(2000), 'base', at(1000), 'odom')
    position, yaw = place(moved)
    assert position == (0.0, 10.0, 0.0)
    assert yaw == pytest.approx(-math.pi / 2)
    assert buffer.can_transform_full('base', at(2000), 'base', at(1000), 'odom')
    assert not buffer.can_transform_full('base', at(2001), 'base', at(1000), 'odom')


@pytest.mark.parametrize(('target', 'source', 'milliseconds', 'error', 'text'), [
    ('odom', 'base', 2500, tf2_ros.ExtrapolationException, 'into the future'),
    ('odom', 'base', 500, tf2_ros.ExtrapolationException, 'into the past'),
    ('odom', 'lidar', 2500, tf2_ros.ExtrapolationException, r'from frame \[lidar\] to frame \[odom\]'),
    ('odom', 'nowhere', 1500, tf2_ros.LookupException, '"nowhere" passed to lookupTransform argument source_frame does not exist'),
    ('odom', 'island', 1500, tf2_ros.ConnectivityException, 'unconnected trees'),
    ('', 'base', 1500, tf2_ros.InvalidArgumentException, 'cannot be empty'),
    ('/odom', 'base', 1500, tf2_ros.InvalidArgumentException, "cannot start with a '/'"),
])
def test_failures_raise_what_the_field_expects(buffer, target, source, milliseconds, error, text):
    buffer.set_transform_static(pose('sea', 'island', 0), 'test')
    with pytest.raises(error, match=text):
        buffer.lookup_transform(target, source, at(milliseconds))
    assert issubclass(error, tf2_ros.TransformException)
    possible, reason = buffer.can_transform(target, source, at(milliseconds), return_debug_tuple=True)
    assert not possible
    assert reason


def test_a_single_pose_holds_for_its_own_stamp_only():
    buffer = tf2_ros.Buffer()
    buffer.set_transform(pose('odom', 'base', 1000, x=1.0), 'test')
    assert buffer.can_transform('odom', 'base', at(1000))
    with pytest.raises(tf2_ros.ExtrapolationException, match=r'only time 1\.000000 is in the buffer'):
        buffer.lookup_transform('odom', 'base', at(1001))


def test_identity_needs_no_known_frame(buffer):
    position, yaw = place(buffer.lookup_transform('anything', 'anything', at(123)))
    assert position == (0.0, 0.0, 0.0)
    assert yaw == 0.0


def test_ten_seconds_are_kept(buffer):
    for second in range(3, 16):
        buffer.set_transform(pose('odom', 'base', second * 1000), 'test')
    assert buffer.can_transform('odom', 'base', at(5500))
    assert not buffer.can_transform('odom', 'base', at(3500))
    buffer.set_transform(pose('odom', 'base', 2000), 'late')
    assert not buffer.can_transform('odom', 'base', at(3500))


def test_cache_time_can_be_chosen():
    buffer = tf2_ros.Buffer(cache_time=Duration(seconds=1))
    for tenth in range(30):
        buffer.set_transform(pose('odom', 'base', 1000 + tenth * 100), 'test')
    assert buffer.can_transform('odom', 'base', at(2950 - 50))
    assert not buffer.can_transform('odom', 'base', at(2500))


def test_poses_may_arrive_out_of_order(buffer):
    buffer.set_transform(pose('odom', 'base', 1500, x=100.0), 'test')
    position, _ = place(buffer.lookup_transform('odom', 'base', at(1500)))
    assert position == (100.0, 0.0, 0.0)


def test_a_static_pose_replaces_the_former_one(buffer):
    buffer.set_transform_static(pose('base', 'lidar', 0, x=3.0), 'test')
    position, _ = place(buffer.lookup_transform('base', 'lidar', at(99_000)))
    assert position == (3.0, 0.0, 0.0)


def test_clear_keeps_static_poses(buffer):
    buffer.clear()
    assert buffer.can_transform('base', 'lidar', at(1500))
    assert not buffer.can_transform('odom', 'base', at(1500))


def test_unusable_input_is_left_out(buffer):
    for bad in (pose('odom', 'odom', 2000), pose('', 'base', 2100), pose('odom', '', 2100), pose('odom', 'base', 2100, x=math.nan)):
        buffer.set_transform(bad, 'test')
    assert not buffer.can_transform('odom', 'base', at(2100))
    assert buffer.can_transform('odom', 'base', at(2000))


def test_long_quaternions_are_normalised(buffer):
    message = pose('base', 'mast', 0)
    message.transform.rotation.w = 1.5
    buffer.set_transform_static(message, 'test')
    assert buffer.lookup_transform('base', 'mast', Time()).transform.rotation.w == pytest.approx(1.0)


def test_a_loop_is_reported(buffer):
    buffer.set_transform_static(pose('b', 'a', 0), 'test')
    buffer.set_transform_static(pose('a', 'b', 0), 'test')
    with pytest.raises(tf2_ros.LookupException, match='contains a loop'):
        buffer.lookup_transform('odom', 'a', at(1500))


def test_waiting_ends_when_the_transform_arrives(buffer):
    threading.Timer(0.1, lambda: buffer.set_transform(pose('odom', 'base', 3000, x=20.0), 'test')).start()
    assert buffer.can_transform('odom', 'base', at(2500), timeout=Duration(seconds=5))
    assert not buffer.can_transform('odom', 'base', at(9000), timeout=Duration(nanoseconds=50 * MILLION))


def test_a_future_completes_when_the_transform_arrives(buffer):
    future = buffer.wait_for_transform_async('odom', 'base', at(2500))
    assert not future.done()
    buffer.set_transform(pose('odom', 'base', 3000, x=20.0), 'test')
    assert future.done()
    assert future.exception() is None
    assert buffer.wait_for_transform_async('odom', 'base', at(2500)).done()


def test_filling_and_asking_from_several_threads(buffer):
    failures = []

    def fill():
        for step in range(300):
            buffer.set_transform(pose('odom', 'base', 2000 + step, x=float(step)), 'test')

    def ask():
        for _ in range(300):
            try:
                buffer.lookup_transform('map', 'lidar', Time())
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for work in (fill, ask, ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures

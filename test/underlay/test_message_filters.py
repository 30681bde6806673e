"""Caches and synchronizers."""

from __future__ import annotations

import time

import message_filters
import rclpy
from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from std_msgs.msg import String


def stamped(milliseconds):
    message = PointStamped()
    message.header.stamp = Time(nanoseconds=milliseconds * 1_000_000).to_msg()
    return message


def milliseconds_of(message):
    return Time.from_msg(message.header.stamp).nanoseconds // 1_000_000


def test_subscriber_takes_what_create_subscription_takes_and_passes_messages_on():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=144)
    node = Node('both', context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received = []
    subscriber = message_filters.Subscriber(node, PointStamped, 'points', qos_profile=qos_profile_sensor_data)
    subscriber.registerCallback(lambda message, extra: received.append((milliseconds_of(message), extra)), 'extra')
    publisher = node.create_publisher(PointStamped, 'points', 10)
    end = time.monotonic() + 10
    while not received and time.monotonic() < end:
        publisher.publish(stamped(7))
        executor.spin_once(timeout_sec=0.05)
    assert received[0] == (7, 'extra')
    assert subscriber.getTopic() == 'points'
    assert subscriber.sub.topic_name == '/points'
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_cache_keeps_the_last_messages():
    source = message_filters.SimpleFilter()
    cache = message_filters.Cache(source, cache_size=3)
    passed = []
    cache.registerCallback(passed.append)
    for stamp in (10, 20, 30, 40):
        source.signalMessage(stamped(stamp))

    def at(milliseconds):
        return Time(nanoseconds=milliseconds * 1_000_000, clock_type=cache.cache_times[0].clock_type)

    assert len(passed) == 4
    assert [milliseconds_of(m) for m in cache.getInterval(at(15), at(30))] == [20, 30]
    assert milliseconds_of(cache.getElemAfterTime(at(25))) == 30
    assert milliseconds_of(cache.getElemBeforeTime(at(25))) == 20
    assert cache.getElemBeforeTime(at(15)) is None
    assert cache.getOldestTime() == at(20)
    assert cache.getLastestTime() == at(40)
    assert milliseconds_of(cache.getLast()) == 40


def test_cache_leaves_out_messages_without_stamp_unless_allowed():
    source = message_filters.SimpleFilter()
    strict, lenient = message_filters.Cache(source, 5), message_filters.Cache(source, 5, allow_headerless=True)
    source.signalMessage(String(data='x'))
    assert strict.getLast() is None
    assert lenient.getLast().data == 'x'


def test_equal_stamps_are_brought_together():
    left, right = message_filters.SimpleFilter(), message_filters.SimpleFilter()
    synchronizer = message_filters.TimeSynchronizer([left, right], 2)
    pairs = []
    synchronizer.registerCallback(lambda a, b: pairs.append((milliseconds_of(a), milliseconds_of(b))))
    for stamp in (10, 20, 30):
        left.signalMessage(stamped(stamp))
    for stamp in (10, 30, 40):
        right.signalMessage(stamped(stamp))
    assert pairs == [(30, 30)]


def test_near_stamps_are_brought_together_nearest_first():
    left, right = message_filters.SimpleFilter(), message_filters.SimpleFilter()
    synchronizer = message_filters.ApproximateTimeSynchronizer([left, right], queue_size=10, slop=0.05)
    pairs = []
    synchronizer.registerCallback(lambda a, b: pairs.append((milliseconds_of(a), milliseconds_of(b))))
    for stamp in (1000, 1030, 1200):
        left.signalMessage(stamped(stamp))
    right.signalMessage(stamped(1040))
    assert pairs == [(1030, 1040)]
    right.signalMessage(stamped(1100))
    assert pairs == [(1030, 1040)]
    right.signalMessage(stamped(990))
    assert pairs == [(1030, 1040), (1000, 990)]

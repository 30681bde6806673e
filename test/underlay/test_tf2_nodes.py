"""Listener and broadcasters over real topics, and the fresh start after a jump back in time."""

from __future__ import annotations

import time

import pytest
import rclpy
import tf2_ros
from geometry_msgs.msg import TransformStamped
from rclpy.clock import ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time
from rosgraph_msgs.msg import Clock


def pose(parent, child, second, x=0.0):
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp.sec = second
    message.transform.translation.x = x
    message.transform.rotation.w = 1.0
    return message


@pytest.fixture
def context():
    made = rclpy.Context()
    rclpy.init(context=made, domain_id=143)
    yield made
    rclpy.try_shutdown(context=made)


def spin_until(executor, condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'nothing arrived'
        executor.spin_once(timeout_sec=0.05)


def test_what_broadcasters_send_fills_a_late_listener(context):
    sender, receiver = Node('sender', context=context), Node('receiver', context=context)
    static = tf2_ros.StaticTransformBroadcaster(sender)
    static.sendTransform([pose('base', 'lidar', 0, x=1.0), pose('base', 'camera', 0, x=2.0)])
    static.sendTransform(pose('map', 'odom', 0, x=3.0))
    moving = tf2_ros.TransformBroadcaster(sender)
    buffer = tf2_ros.Buffer(node=receiver)
    listener = tf2_ros.TransformListener(buffer, receiver)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(sender)
    executor.add_node(receiver)
    stamps = iter(range(1, 1000))

    def arrived():
        moving.sendTransform(pose('odom', 'base', next(stamps), x=10.0))
        return buffer.can_transform('map', 'camera', Time()) and buffer.can_transform('map', 'lidar', Time())

    spin_until(executor, arrived)
    assert buffer.lookup_transform('map', 'camera', Time()).transform.translation.x == 15.0
    listener.unregister()
    executor.shutdown()
    sender.destroy_node()
    receiver.destroy_node()


def test_buffer_is_cleared_when_simulated_time_jumps_back(context):
    node = Node('receiver', context=context, parameter_overrides=[Parameter('use_sim_time', value=True)])
    buffer = tf2_ros.Buffer(node=node)
    clock = node.create_publisher(Clock, '/clock', 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def set_time(second):
        def reached():
            clock.publish(Clock(clock=Time(seconds=second, clock_type=ClockType.ROS_TIME).to_msg()))
            return node.get_clock().now().nanoseconds == second * 10**9
        spin_until(executor, reached)

    set_time(100)
    buffer.set_transform_static(pose('map', 'odom', 0), 'test')
    buffer.set_transform(pose('odom', 'base', 100), 'test')
    set_time(101)
    assert buffer.can_transform('map', 'base', Time(seconds=100))
    set_time(10)
    assert not buffer.can_transform('map', 'base', Time(seconds=100))
    assert buffer.can_transform('map', 'odom', Time(seconds=10))
    executor.shutdown()
    node.destroy_node()

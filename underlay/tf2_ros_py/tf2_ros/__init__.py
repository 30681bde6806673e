"""Transforms over ROS topics: a buffer that is filled by a listener, and broadcasters."""

from tf2_py import (
    BufferCore,
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TimeoutException,
    TransformException,
)

from tf2_ros.buffer import Buffer
from tf2_ros.static_transform_broadcaster import StaticTransformBroadcaster
from tf2_ros.transform_broadcaster import TransformBroadcaster
from tf2_ros.transform_listener import TransformListener

__all__ = ['Buffer', 'BufferCore', 'ConnectivityException', 'ExtrapolationException', 'InvalidArgumentException', 'LookupException',
           'StaticTransformBroadcaster', 'TimeoutException', 'TransformBroadcaster', 'TransformException', 'TransformListener']

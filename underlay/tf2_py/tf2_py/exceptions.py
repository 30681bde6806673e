"""What a lookup can raise."""

from __future__ import annotations


class TransformException(Exception):
    """Base of all errors of the transform library."""


class ConnectivityException(TransformException):
    """The two frames are in trees that are not connected."""


class LookupException(TransformException):
    """A frame does not exist, or the tree is broken."""


class ExtrapolationException(TransformException):
    """The time asked for is outside what the buffer holds."""


class InvalidArgumentException(TransformException):
    """An argument is not acceptable, such as an empty frame id."""


class TimeoutException(TransformException):
    """The transform did not become available in time."""

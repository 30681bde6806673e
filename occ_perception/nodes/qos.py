"""Quality of service: the one place where it is chosen."""

from __future__ import annotations

from copy import copy

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


def own(profile: QoSProfile) -> QoSProfile:
    """A copy of a profile, for topics whose QoS parameters may override: rclpy writes what they say into the profile itself."""
    return copy(profile)


SENSOR = _profile(10, reliable=False)
"""Sensor streams, in and between the nodes: a lost one is not sent again; the depth bridges half a second without the CPU."""
CALIBRATION = _profile(10, reliable=False)
"""CameraInfo beside the images."""
OUTPUT = _profile(5, reliable=True)
"""Grids, instances, timings, what planners and people look at; the depth lets a reader fall behind for a moment."""
LATCHED = _profile(1, reliable=True, latched=True)
"""Label info and the 2D grid: whoever joins later gets the last one (Nav2's StaticLayer asks for it)."""
DIAGNOSTICS = _profile(10, reliable=True)
"""/diagnostics as everybody has it."""
REPLAY = _profile(20, reliable=True)
"""What the player publishes: serves reliable and best-effort subscribers alike."""
REPLAY_LATCHED = _profile(100, reliable=True, latched=True)
"""/tf_static and other latched topics from a bag."""
CLOCK = _profile(10, reliable=True)
"""/clock from the player; subscribers take it as best effort."""

"""These tests need ROS packages: those of the underlay or, where a distribution is sourced, its own."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec('rclpy') else ['test_*.py']

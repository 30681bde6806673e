"""Helpers for the messages of sensor_msgs."""

"""Live occupancy with PanoOcc: ros2 launch occ_perception panoocc.launch.py (--show-args: all arguments)."""

from occ_perception.nodes.launch_description import describe


def generate_launch_description():
    """Called by `ros2 launch`."""
    return describe('panoocc')

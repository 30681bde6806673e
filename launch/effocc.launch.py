"""Live occupancy with EFFOcc: ros2 launch occ_perception effocc.launch.py (--show-args: all arguments)."""

from occ_perception.nodes.launch_description import describe


def generate_launch_description():
    """Called by `ros2 launch`."""
    return describe('effocc')

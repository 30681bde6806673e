"""Live occupancy with FlashOcc: ros2 launch occ_perception flashocc.launch.py [bag:=...] [rviz:=true]; --show-args lists all."""

from occ_perception.nodes.launch_description import describe


def generate_launch_description():
    """Called by `ros2 launch`."""
    return describe('flashocc-r50-M0')

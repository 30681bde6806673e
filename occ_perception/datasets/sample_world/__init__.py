"""The sample world: generated drives through streets with exact truth."""

from occ_perception.datasets.sample_world.frame import WorldFrame, render_frame, sensor_frame, training_frames
from occ_perception.datasets.sample_world.layout import make_street
from occ_perception.datasets.sample_world.street import Street

__all__ = ['Street', 'WorldFrame', 'make_street', 'render_frame', 'sensor_frame', 'training_frames']

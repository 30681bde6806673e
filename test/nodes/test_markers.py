"""What RViz draws of the objects."""

from __future__ import annotations

import numpy as np
import pytest
from visualization_msgs.msg import Marker

from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.nodes.conversions import instance_array_message
from occ_perception.nodes.markers import deletions, instance_markers
from occ_perception.runtime.frames import Instance, OccupancyPrediction

STAMP = 1_600_000_000_123_456_789


def message_of(*instances: Instance):
    nothing = np.zeros(OCC3D_GRID.shape, np.uint8)
    prediction = OccupancyPrediction(STAMP, 'test', OCC3D_GRID, nothing, nothing.astype(np.uint16), instances, {})
    return instance_array_message(prediction, 'base_link')


def thing(number: int, label: int, velocity: tuple[float, float, float]) -> Instance:
    return Instance(number, label, 0.8, (5.0, -2.0, 1.0), (4.0, 2.0, 1.5), 0.3, 60, velocity)


def test_moving_objects_get_box_name_and_arrow():
    message = message_of(thing(12, 5, (3.0, -4.0, 0.1)))
    box, name, arrow = instance_markers(message, {5: 'construction_vehicle'}, {5: (0, 255, 255)}, 0.6)
    assert [(one.ns, one.id, one.type) for one in (box, name, arrow)] == [
        ('instances', 12, Marker.CUBE), ('names', 12, Marker.TEXT_VIEW_FACING), ('velocities', 12, Marker.ARROW)]
    assert (box.scale.x, box.scale.y, box.scale.z, box.color.a) == pytest.approx((4.0, 2.0, 1.5, 0.6))
    assert name.text == 'construction vehicle 12'
    assert name.pose.position.z > 1.75
    start, end = arrow.points
    assert (end.x - start.x, end.y - start.y, end.z - start.z) == pytest.approx((3.0, -4.0, 0.1))
    assert (start.x, start.y) == (5.0, -2.0)
    assert (arrow.color.r, arrow.color.g, arrow.color.b) == (0, 1, 1)
    for one in (box, name, arrow):
        assert (one.header, one.action, one.lifetime.sec) == (message.header, Marker.ADD, 1)


def test_slow_objects_get_no_arrow():
    markers = instance_markers(message_of(thing(1, 4, (0.3, -0.3, 0.0)), thing(2, 4, (0.4, -0.4, 0.0))), {4: 'car'}, {}, 1.0)
    assert [one.id for one in markers if one.ns == 'velocities'] == [2]
    assert [one.text for one in markers if one.ns == 'names'] == ['car 1', 'car 2']


def test_what_is_gone_is_taken_back():
    message = message_of()
    gone = deletions(message, {('names', 3), ('instances', 3)})
    assert [(one.ns, one.id, one.action) for one in gone] == [('instances', 3, Marker.DELETE), ('names', 3, Marker.DELETE)]
    assert gone[0].header == message.header

"""Objects as RViz draws them: a box, above it class and id, and an arrow that is as long as the object goes in a second."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker

from occ_msgs.msg import Instance, InstanceArray

BOXES, NAMES, VELOCITIES, FLOW = 'instances', 'names', 'velocities', 'flow'
"""Marker namespaces, which RViz shows and hides one by one."""
ARROW_SPEED_M_S = 0.5
"""Slower objects get no arrow."""
LIFETIME_S = 1.0
_TEXT_M = 0.7
_GAP_M = 0.5


def instance_markers(message: InstanceArray, names: Mapping[int, str], colors: Mapping[int, tuple[int, int, int]],
                     alpha: float) -> list[Marker]:
    """Markers of the objects, in the message's frame. names, colors (0..255): by class id; alpha: opacity of the boxes."""
    markers = []
    for one in message.instances:
        red, green, blue = (value / 255 for value in colors.get(one.class_id, (255, 255, 255)))
        markers += [_box(one, ColorRGBA(r=red, g=green, b=blue, a=alpha)), _name(one, names.get(one.class_id, 'object'))]
        if np.hypot(one.velocity.x, one.velocity.y) > ARROW_SPEED_M_S:
            markers.append(_arrow(one, ColorRGBA(r=red, g=green, b=blue, a=1.0)))
    for marker in markers:
        marker.header, marker.lifetime, marker.action = message.header, Duration(sec=int(LIFETIME_S)), Marker.ADD
    return markers


def flow_markers(head: Header, starts: np.ndarray, velocities: np.ndarray) -> list[Marker]:
    """Arrows as long as things go in a second, in place of all before: from starts (K, 3) along velocities (K, 2), coloured by
    heading."""
    markers = [Marker(header=head, ns=FLOW, action=Marker.DELETEALL)]
    for number, ((x, y, z), (along_x, along_y)) in enumerate(zip(starts.tolist(), velocities.tolist(), strict=True)):
        hue = math.atan2(along_y, along_x) / (2 * math.pi) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, 1.0, 1.0)
        markers.append(Marker(header=head, ns=FLOW, id=number, type=Marker.ARROW, action=Marker.ADD, pose=Pose(),
                              points=[Point(x=x, y=y, z=z), Point(x=x + along_x, y=y + along_y, z=z)],
                              scale=Vector3(x=0.15, y=0.4), color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
                              lifetime=Duration(sec=int(LIFETIME_S))))
    return markers


def deletions(message: InstanceArray, gone: set[tuple[str, int]]) -> list[Marker]:
    """Markers that take back those drawn earlier, named by (namespace, id)."""
    return [Marker(header=message.header, ns=ns, id=number, action=Marker.DELETE) for ns, number in sorted(gone)]


def _box(one: Instance, color: ColorRGBA) -> Marker:
    size = Vector3(x=max(one.size.x, 0.05), y=max(one.size.y, 0.05), z=max(one.size.z, 0.05))
    return Marker(ns=BOXES, id=one.id, type=Marker.CUBE, pose=one.pose, scale=size, color=color)


def _name(one: Instance, name: str) -> Marker:
    above = Point(x=one.pose.position.x, y=one.pose.position.y, z=_top(one) + _GAP_M)
    return Marker(ns=NAMES, id=one.id, type=Marker.TEXT_VIEW_FACING, pose=Pose(position=above), scale=Vector3(z=_TEXT_M),
                  color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0), text=f'{name.replace("_", " ")} {one.id}')


def _arrow(one: Instance, color: ColorRGBA) -> Marker:
    start = Point(x=one.pose.position.x, y=one.pose.position.y, z=_top(one))
    end = Point(x=start.x + one.velocity.x, y=start.y + one.velocity.y, z=start.z + one.velocity.z)
    return Marker(ns=VELOCITIES, id=one.id, type=Marker.ARROW, points=[start, end], scale=Vector3(x=0.15, y=0.4), color=color,
                  pose=Pose())


def _top(one: Instance) -> float:
    return one.pose.position.z + one.size.z / 2

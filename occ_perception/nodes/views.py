"""The `views` node: what people and planners look at, made from occ/voxels and only while somebody subscribes.

occ/points (PointCloud2 for RViz's Boxes style: rgb, label), occ/markers (instances: boxes, names with ids, velocities),
occ/flow_arrows (MarkerArray of what moves, of networks that tell velocities), occ/grid
(nav_msgs/OccupancyGrid with unknown space), occ/obstacles and occ/clear (PointCloud2 for Nav2's marking and clearing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose
from nav_msgs.msg import MapMetaData, OccupancyGrid
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from occ_msgs.msg import InstanceArray, LabelInfo, VoxelFlow, VoxelGrid
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import OCC3D
from occ_perception.nodes import qos
from occ_perception.nodes.conversions import cloud_message, fill, flow_of, grid_spec_of, grid_turn_of, labels_of, records_message
from occ_perception.nodes.health import OK, STEADY, Health
from occ_perception.nodes.markers import deletions, flow_markers, instance_markers
from occ_perception.nodes.parameters import Parameter, declare
from occ_perception.nodes.running import run_node
from occ_perception.runtime.flow_arrows import flow_arrows
from occ_perception.runtime.planner_views import clearing_points, obstacle_points, occupancy_grid, occupied_points

LOOK_PERIOD_S = 0.25

PARAMETERS = (
    Parameter('obstacle_min_height', 0.2, 'lower end of the height band of obstacles, above the grid frame [m]', low=-10.0,
              high=10.0, changeable=True),
    Parameter('obstacle_max_height', 2.2, 'upper end of the height band of obstacles [m]', low=-10.0, high=20.0, changeable=True),
    Parameter('alpha', 0.6, 'opacity of instance boxes', low=0.0, high=1.0, changeable=True),
)


TurnedGrid = tuple[VoxelGrid, np.ndarray, VoxelGridSpec, np.ndarray]
"""Message, labels, voxels along the grid's own axes, (3, 3) turn of these axes."""


@dataclass(frozen=True)
class _View:
    publisher: Publisher
    make: Callable[[Any], Any]


class ViewsNode(Node):
    """See the module's description."""

    def __init__(self, clock: Clock | None = None, **node_options: Any) -> None:
        super().__init__('views', **node_options)
        self._values = declare(self, PARAMETERS, self._changed)
        self._changed(self._values)
        self._colors = {c.id: c.color for c in OCC3D}
        self._names = {c.id: c.name for c in OCC3D}
        self._health = Health(self, lambda: (OK, 'made: ' + (', '.join(self._wanted()) or 'nothing, nobody subscribes'), {}), clock)
        self._grid_views = {
            'occ/points': _View(self.create_publisher(PointCloud2, 'occ/points', qos.OUTPUT), self._points),
            'occ/grid': _View(self.create_publisher(OccupancyGrid, 'occ/grid', qos.LATCHED), self._grid),
            'occ/obstacles': _View(self.create_publisher(PointCloud2, 'occ/obstacles', qos.OUTPUT), self._obstacles),
            'occ/clear': _View(self.create_publisher(PointCloud2, 'occ/clear', qos.OUTPUT), self._clear)}
        self._markers = self.create_publisher(MarkerArray, 'occ/markers', qos.OUTPUT)
        self._arrows = self.create_publisher(MarkerArray, 'occ/flow_arrows', qos.OUTPUT)
        self._drawn: set[tuple[str, int]] = set()
        self._inputs: dict[str, Subscription] = {}
        self.create_subscription(LabelInfo, 'occ/label_info', self._on_label_info, qos.LATCHED)
        self._look = self.create_timer(LOOK_PERIOD_S, self._follow_demand, clock=STEADY)
        self.get_logger().info('views are made while somebody subscribes to them')

    def _changed(self, values: dict[str, Any]) -> str:
        if values['obstacle_max_height'] <= values['obstacle_min_height']:
            return (f'obstacle_max_height is {values["obstacle_max_height"]:g}, must be above '
                    f'obstacle_min_height = {values["obstacle_min_height"]:g}')
        return ''

    def _wanted(self) -> list[str]:
        publishers = {**{name: view.publisher for name, view in self._grid_views.items()}, 'occ/markers': self._markers,
                      'occ/flow_arrows': self._arrows}
        return [name for name, publisher in publishers.items() if publisher.get_subscription_count()]

    def _follow_demand(self) -> None:
        """Subscribe to inputs while somebody wants what is made of them."""
        wanted = self._wanted()
        needs = {'occ/voxels': (VoxelGrid, self._on_voxels, any(name in wanted for name in self._grid_views)),
                 'occ/instances': (InstanceArray, self._on_instances, 'occ/markers' in wanted),
                 'occ/flow': (VoxelFlow, self._on_flow, 'occ/flow_arrows' in wanted)}
        for topic, (kind, callback, needed) in needs.items():
            if needed and topic not in self._inputs:
                self._inputs[topic] = self.create_subscription(kind, topic, callback, qos.OUTPUT)
            elif not needed and topic in self._inputs:
                self.destroy_subscription(self._inputs.pop(topic))

    def _on_label_info(self, info: LabelInfo) -> None:
        self._colors = {c.id: tuple(round(255 * v) for v in (c.color.r, c.color.g, c.color.b)) for c in info.classes}
        self._names = {c.id: c.name for c in info.classes}

    def _on_voxels(self, message: VoxelGrid) -> None:
        try:
            labels, _ = labels_of(message)
            spec, turn = grid_spec_of(message), grid_turn_of(message)
        except ValueError as error:
            self._health.problem('voxels', 'bad_grid', f'occ/voxels: {error}')
            return
        for view in self._grid_views.values():
            if view.publisher.get_subscription_count():
                view.publisher.publish(view.make((message, labels, spec, turn)))

    def _band(self) -> tuple[float, float]:
        return self._values['obstacle_min_height'], self._values['obstacle_max_height']

    def _points(self, grid: TurnedGrid) -> PointCloud2:
        message, labels, spec, turn = grid
        centers, classes = occupied_points(labels, spec)
        packed = np.zeros(256, np.uint32)
        for label, (red, green, blue) in self._colors.items():
            packed[label] = red << 16 | green << 8 | blue
        records = np.zeros(len(centers), np.dtype([('xyz', '<f4', 3), ('rgb', '<u4'), ('label', '<u4')]))
        records['xyz'], records['rgb'], records['label'] = centers @ turn.T, packed[classes], classes
        fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate('xyz')]
        fields += [PointField(name='rgb', offset=12, datatype=PointField.FLOAT32, count=1),
                   PointField(name='label', offset=16, datatype=PointField.UINT32, count=1)]
        return records_message(records, fields, message.header)

    def _grid(self, grid: TurnedGrid) -> OccupancyGrid:
        message, labels, spec, turn = grid
        cells = occupancy_grid(labels, spec, *self._band())
        x, y, _ = turn @ spec.origin_m
        orientation = message.origin.orientation
        info = MapMetaData(map_load_time=message.header.stamp, resolution=float(spec.resolution_m), width=cells.shape[1],
                           height=cells.shape[0], origin=Pose(position=Point(x=float(x), y=float(y)), orientation=orientation))
        out = OccupancyGrid(header=message.header, info=info)
        fill(out.data, cells)
        return out

    def _obstacles(self, grid: TurnedGrid) -> PointCloud2:
        return cloud_message(obstacle_points(grid[1], grid[2], *self._band()) @ grid[3].T, 'xyz', grid[0].header)

    def _clear(self, grid: TurnedGrid) -> PointCloud2:
        return cloud_message(clearing_points(grid[1], grid[2], *self._band()) @ grid[3].T, 'xyz', grid[0].header)

    def _on_flow(self, message: VoxelFlow) -> None:
        try:
            flow, spec = flow_of(message), grid_spec_of(message)
            if not np.allclose(grid_turn_of(message), np.eye(3), atol=1e-6):
                raise ValueError('its axes are turned; only flow along the axes of its frame is drawn')
        except ValueError as error:
            self._health.problem('flow', 'bad_flow', f'occ/flow: {error}')
            return
        self._arrows.publish(MarkerArray(markers=flow_markers(message.header, *flow_arrows(flow, spec))))

    def _on_instances(self, message: InstanceArray) -> None:
        markers = instance_markers(message, self._names, self._colors, self._values['alpha'])
        present = {(marker.ns, marker.id) for marker in markers}
        markers += deletions(message, self._drawn - present)
        self._drawn = present
        self._markers.publish(MarkerArray(markers=markers))


def main(args: list[str] | None = None) -> int:
    """Console script `views`."""
    return run_node(ViewsNode, args)

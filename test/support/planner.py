"""A planner as another engineer would write it: plain rclpy and occ_msgs, nothing of occ_perception. Prints what it got as JSON."""

import json
import sys
import time

import numpy as np
import rclpy
import zstandard
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from occ_msgs.msg import LabelInfo, VoxelGrid


class Planner(Node):
    def __init__(self):
        super().__init__('planner')
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(VoxelGrid, 'occ/voxels', self.on_voxels, 1)
        self.create_subscription(LabelInfo, 'occ/label_info', self.on_labels, latched)
        self.create_subscription(OccupancyGrid, 'occ/grid', self.on_grid, latched)
        self.out = {}

    def on_voxels(self, message):
        data = bytes(message.labels)
        if message.encoding == VoxelGrid.ENCODING_ZSTD:
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=message.size_x * message.size_y * message.size_z)
        labels = np.frombuffer(data, np.uint8).reshape(message.size_x, message.size_y, message.size_z)
        self.out['voxels'] = {'shape': labels.shape, 'frame': message.header.frame_id, 'resolution': round(message.resolution, 3),
                              'bytes': len(message.labels), 'unknown': int((labels == 255).sum()),
                              'road': int((labels == 11).sum()), 'valid': [s.name for s in message.sensors if s.valid],
                              'network': message.network, 'corner': [message.origin.position.x, message.origin.position.z]}

    def on_labels(self, message):
        self.out['labels'] = {'set': message.label_set, 'names': {c.id: c.name for c in message.classes}, 'free': message.free_id,
                              'unknown': message.unknown_id, 'drivable': [c.name for c in message.classes if c.drivable]}

    def on_grid(self, message):
        cells = np.array(message.data)
        self.out['grid'] = {'size': [message.info.width, message.info.height], 'resolution': round(message.info.resolution, 3),
                            'frame': message.header.frame_id, 'values': sorted(set(cells.tolist()))}


def main():
    rclpy.init()
    node = Planner()
    print('ready', flush=True)
    end = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end and len(node.out) < 3:
        rclpy.spin_once(node, timeout_sec=0.1)
    print(json.dumps(node.out), flush=True)
    node.destroy_node()
    rclpy.shutdown()


main()

"""The bag of a nuScenes tree through the nodes: every sweep comes back as the tree stores it, every key frame gets its set."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from fake_predictor import FakePredictor
from live import Ear, ros, running, until
from sensor_msgs.msg import PointCloud2

pytest.importorskip('embreex', reason='the sample world needs embreex')

from occ_msgs.msg import InstanceArray, VoxelGrid
from occ_perception.datasets.nuscenes import LIDAR, NuScenes
from occ_perception.datasets.nuscenes_bag import BagContent, write_scene_bag
from occ_perception.datasets.occ3d import read_truth
from occ_perception.datasets.sample_world.scene_writer import SceneOptions, scene_name
from occ_perception.datasets.sample_world.world_writer import write_world
from occ_perception.geometry.transforms import apply
from occ_perception.nodes import qos, system
from occ_perception.nodes.conversions import labels_of, stamp_ns, sweep_points

SEED = 11
NAME = scene_name(SEED)


def test_nodes_get_back_what_the_tree_holds(tmp_path: Path) -> None:
    write_world(tmp_path, [SEED], SceneOptions(keyframes=2, image_size=(160, 90), sweeps=True), jobs=1, progress=False)
    data = NuScenes(tmp_path)
    scene = data.scene(NAME)
    bag = write_scene_bag(data, scene, tmp_path / 'bags', BagContent(truth=True)).path
    made = FakePredictor()
    specs = system.nodes('scocc_sample', system.sources_of(str(bag)), replay=system.Replay(str(bag), lockstep=True, rate=0.5))
    specs = tuple(spec if spec.name not in ('occupancy', 'player') else type(spec)(spec.name, {**spec.parameters, 'max_rate': 0.0})
                  for spec in specs)
    with ros() as context, running(specs, context, lambda *_: made) as system_, contextlib.closing(
            Ear(context, sweeps=(PointCloud2, 'occ/sweeps', qos.SENSOR), truth=(VoxelGrid, 'truth/voxels', 10),
                objects=(InstanceArray, 'truth/instances', 10))) as ear:
        assert system_.start()
        assert system_.finished.wait(60)
        assert until(lambda: system_.tally().published == 11, 10), system_.tally()
        assert ear.wait(lambda heard: len(heard['truth']) == len(heard['objects']) == 2)
    readings = {reading.stamp_ns: reading for reading in data.stream(scene, LIDAR)}
    assert [frame.stamp_ns for frame in made.frames] == list(readings)
    for frame in made.frames:
        np.testing.assert_allclose(frame.fixed_from_ego, readings[frame.stamp_ns].fixed_from_ego, atol=1e-6)
    sweeps = {stamp_ns(cloud.header.stamp): sweep_points(cloud) for cloud in ear.heard['sweeps'] if cloud.width}
    assert min(readings) in sweeps and len(sweeps) >= 9
    for stamp, points in sweeps.items():
        reading = readings[stamp]
        stored = np.fromfile(reading.path, np.float32).reshape(-1, 5)
        np.testing.assert_allclose(points[:, :3], apply(reading.ego_from_sensor, stored[:, :3].astype(float)), atol=0.005)
        assert points[:, 5].max() > 0.049
    for message, sample in zip(ear.heard['truth'], data.samples(scene), strict=True):
        truth = read_truth(tmp_path / 'gts' / NAME / sample.token / 'labels.npz')
        np.testing.assert_array_equal(labels_of(message)[0], truth.labels)
    assert len(ear.heard['objects'][0].instances) == len(data.boxes(data.samples(scene)[0]))

"""PanoOcc made small, in place of two networks of the catalogue, so that tests of the whole take seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import key_tables
import numpy as np
import pytest
import reference_inputs
import torch

from occ_perception import catalogue
from occ_perception.checkpoints import save_weights
from occ_perception.engines.comparison import torch_outputs
from occ_perception.engines.panoocc_graphs import PanoOccGraph, default_view_caps, example_feeds
from occ_perception.labels import THINGS
from occ_perception.networks.build import build_network
from occ_perception.networks.flashocc.config import BackboneConfig
from occ_perception.networks.panoocc import config
from occ_perception.runtime.frames import CameraImage, LidarSweep, SensorFrame
from occ_perception.runtime.voxel_places import lidar_mount

STACKED, RECURRENT = 'panoocc-small', 'panoocc-panoptic-small-4f'
MOUNT = lidar_mount(0.9, 0.1, 1.8, -90.0)
SECOND = 1_000_000_000
_BACKBONE = BackboneConfig('bottleneck', 16, (8, 16, 16, 32), (1, 1, 1, 1), (2, 3))


@pytest.fixture(scope='module')
def tiny_panoocc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Makes STACKED (Occ3D form, ages 1, 2, 3 s) and RECURRENT (panoptic form) small; name -> file of weights under which what is
    seen decides what is said."""
    with pytest.MonkeyPatch.context() as patch:
        for name, queries, history in ((STACKED, (25, 25, 16), catalogue.HistorySpec((1.0, 2.0, 3.0))),
                                       (RECURRENT, (16, 16, 8), catalogue.key_frames(1))):
            row = catalogue.entry(name)
            pictures = replace(row.preprocessing, input_height=128, input_width=320)
            patch.setitem(catalogue.NETWORKS, name, replace(row, preprocessing=pictures, history=history))
            patch.setitem(config.CONFIGS, name, replace(
                config.CONFIGS[name], backbone=_BACKBONE, levels=2, queries=queries, channels=16, heads=2, feed_forward=32,
                encoder_layers=1, self_points=2, image_points=2, box_layers=2, boxes=40, voxel_channels=8, mlp_channels=16))
        folder = tmp_path_factory.mktemp('panoocc')
        yield {name: _weights(name, folder / f'{name}.safetensors') for name in (STACKED, RECURRENT)}


def _weights(name: str, path: Path) -> Path:
    """Random ones; the classes' biases are such that each class is as likely as another on the example pictures."""
    network = build_network(name)
    table = key_tables.module_table(network)
    state = reference_inputs.weights({key: (tuple(shape), dtype) for key, (shape, dtype) in table.items()}, 'flashocc')
    network.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in state.items()})
    decoder = network.eval().pts_bbox_head.transformer.seg_decoder

    def centre(_module: torch.nn.Module, _inputs: tuple, out: torch.Tensor) -> None:
        decoder.classifier.bias.sub_(out.flatten(1).mean(1))

    hook = decoder.register_forward_hook(centre)
    torch_outputs(PanoOccGraph(network), example_feeds(network, catalogue.entry(name), default_view_caps(network)))
    hook.remove()
    if name == STACKED:  # thousands of components of things would have to be followed
        with torch.no_grad():
            decoder.classifier.bias[list(THINGS)] -= 1e3
    save_weights(network.state_dict(), path, half=False)
    return path


def frame(age: int, sweep: bool = True) -> SensorFrame:
    """Of the reference drive, so many key frames back."""
    ego_from_camera, fixed_from_ego = reference_inputs.poses(age)
    names = list(reference_inputs.CAMERAS)
    cameras = {}
    stamp = 100 * SECOND - age * SECOND // 2
    for name in catalogue.PANOOCC_CAMERAS:
        camera = names.index(name)
        focal, cx, cy = reference_inputs.CAMERAS[name][:3]
        k = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
        picture = reference_inputs.image(90, 160, camera, age).repeat(10, 0).repeat(10, 1)
        cameras[name] = CameraImage(name, stamp, picture, k, ego_from_camera[camera], fixed_from_ego[camera])
    points = np.random.default_rng(age).uniform((-60, -60, -4, 0, 0, 0), (60, 60, 5, 1, 30, 0), (500, 6)).astype(np.float32)
    sweeps = (LidarSweep(stamp, points, MOUNT),) if sweep else ()
    return SensorFrame(stamp, fixed_from_ego[1], cameras, sweeps)

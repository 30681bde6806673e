"""What a network is fed in training and scoring: batches of pictures, geometry and LiDAR voxels, some of them masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.protocol import LidarInput
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.geometry.neighbour_tables import SparseSpec
from occ_perception.networks.build import build_network
from occ_perception.networks.configs import config_of
from occ_perception.networks.effocc.config import EffOccConfig
from occ_perception.networks.effocc.network import EffOcc
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.sparse_encoder import SparseTensors
from occ_perception.runtime.frames import LidarSweep
from occ_perception.runtime.lidar_input import lidar_input
from occ_perception.runtime.memory import CameraSet
from occ_perception.training.samples import TrainingSample

Trainable: TypeAlias = FlashOcc | EffOcc
"""What can be trained here."""
NOTHING, CAMERAS, LIDAR = '', 'cameras', 'lidar'
"""What of a sample's input is masked."""


@dataclass(frozen=True)
class LidarTensors:
    """hints (B, N, H, W) float32. voxels (V, C): of all samples, one after another; neighbours: of all, the cells of every sample
    one after another."""

    hints: Tensor
    voxels: Tensor
    neighbours: SparseTensors


@dataclass(frozen=True)
class NetworkInputs:
    """images (B, F, N, H, W, 3) uint8, the present frame first; tables of B * F frames, those of a sample together. lidar: None for
    networks without."""

    images: Tensor
    tables: LiftTensors
    lidar: LidarTensors | None = None


def build_trainable(name: str) -> Trainable:
    """A network of the catalogue that can be trained. Raises ValueError for another."""
    network = build_network(name)
    if not isinstance(network, Trainable):
        raise ValueError(f'{name} cannot be trained here: choose a network of the families flashocc, scocc and effocc')
    return network


def network_inputs(row: NetworkEntry, samples: Sequence[TrainingSample], masked: Sequence[str] = ()) -> NetworkInputs:
    """Samples as a network of the row takes them. masked: of each sample NOTHING, CAMERAS or LIDAR; nothing where it is empty.

    Masked cameras lift nothing; their pictures stay, so that what they tell about depth can still be learnt.
    """
    masked = masked or [NOTHING] * len(samples)
    lift = row.frustum
    caps = lift.default_caps(len(row.cameras))
    images = np.stack([frames_of(row, sample) for sample in samples])
    tables = [build_lift_tables(lift, sample.intrinsics, poses, caps, np.full(len(row.cameras), mask != CAMERAS))
              for sample, mask in zip(samples, masked, strict=True) for poses in poses_of(row, sample)]
    lidar = None if row.lidar is None else _lidar_tensors(row, samples, masked)
    return NetworkInputs(torch.from_numpy(images), LiftTensors.stack(tables), lidar)


def encode(network: Trainable, inputs: NetworkInputs) -> tuple[Tensor, Tensor, Tensor]:
    """(encoded map, depth logits, image features) of a batch."""
    if isinstance(network, FlashOcc):
        return network.encoded_sequence(inputs.images, inputs.tables)
    lidar = inputs.lidar
    assert lidar is not None
    features = network.frame_features(inputs.images[:, 0])
    seen, depth_logits = network.frame_map(features.prepared, inputs.tables, None, network.hint_features(lidar.hints))
    return network.encode([seen], network.lidar_map(lidar.voxels, lidar.neighbours)), depth_logits, features.image


def frames_of(row: NetworkEntry, sample: TrainingSample) -> np.ndarray:
    """Images (F, N, H, W, 3) of as many frames as the network looks at. Raises ValueError when the sample has fewer."""
    past = row.frames - 1
    if len(sample.past_images) < past:
        raise ValueError(f'a sample has {len(sample.past_images)} past frames, {row.name} takes {past}: render samples for it in a '
                         '--data folder of their own')
    return np.concatenate([sample.images[None], sample.past_images[:past]])


def poses_of(row: NetworkEntry, sample: TrainingSample) -> np.ndarray:
    """reference_from_camera (F, N, 4, 4) of the same frames, all into the present ego frame."""
    return np.concatenate([sample.reference_ego_from_camera[None], sample.past_reference_ego_from_camera[:row.frames - 1]])


def sweeps_of(row: NetworkEntry, sample: TrainingSample) -> tuple[LidarSweep, ...]:
    """The sweeps of a sample. Raises ValueError when it has fewer than the network looks at."""
    assert row.lidar is not None
    ages_s = (0.0, *row.lidar.ages_s)
    if len(sample.points) == 0 or sample.sweep.max() + 1 < len(ages_s):
        raise ValueError(f'a sample has fewer LiDAR sweeps than {row.name} takes: render samples for it in a --data folder of '
                         'their own')
    return tuple(LidarSweep(-round(1e9 * age_s), sample.points[sample.sweep == number], np.eye(4))
                 for number, age_s in enumerate(ages_s))


def _lidar_tensors(row: NetworkEntry, samples: Sequence[TrainingSample], masked: Sequence[str]) -> LidarTensors:
    config = config_of(row.name)
    assert isinstance(config, EffOccConfig)
    inputs = []
    for sample, mask in zip(samples, masked, strict=True):
        poses = sample.reference_ego_from_camera
        cameras = CameraSet(sample.intrinsics, poses, poses, np.ones(len(poses), bool))
        given, _ = lidar_input(row, config.lidar, () if mask == LIDAR else sweeps_of(row, sample), cameras, np.eye(4))
        inputs.append(given)
    return LidarTensors(torch.from_numpy(np.stack([given.hints for given in inputs if given.hints is not None])),
                        torch.from_numpy(np.concatenate([given.voxels for given in inputs])),
                        SparseTensors.from_arrays(joined(inputs, config.lidar.sparse), config.lidar.sparse))


def joined(clouds: Sequence[LidarInput], spec: SparseSpec) -> Mapping[str, np.ndarray]:
    """Tables of several clouds as those of one whose rows are theirs, one cloud after another."""
    levels = len(spec.steps) + 1
    rows = np.array([[len(cloud.voxels), *(len(cloud.tables[f'step_{level}']) for level in range(levels - 1))] for cloud in clouds])
    first, total = np.cumsum(rows, axis=0) - rows, rows.sum(axis=0)
    seen_at = {name: levels - 1 if name == 'cells' else int(name.rpartition('_')[2]) for name in spec.names}
    return {name: np.concatenate([
        _moved(cloud.tables[name], rows[number, level], first[number, level], total[level])
        for number, cloud in enumerate(clouds)]) for name, level in seen_at.items()}


def _moved(table: np.ndarray, missing: int, first: int, now_missing: int) -> np.ndarray:
    return np.where(table == missing, now_missing, table + first).astype(np.int32)

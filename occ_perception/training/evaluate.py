"""Scores a network on prepared samples: Occ3D mIoU and geometric IoU under the camera mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from occ_perception.catalogue import NetworkEntry
from occ_perception.labels import THINGS
from occ_perception.metrics.miou import ConfusionMatrix
from occ_perception.networks.effocc.flow_head import FlowOccupancyHead2d
from occ_perception.networks.effocc.network import EffOcc
from occ_perception.training.inputs import NOTHING, Trainable, encode, network_inputs
from occ_perception.training.samples import load_sample


@torch.inference_mode()
def evaluate(network: Trainable, row: NetworkEntry, files: Sequence[Path], bf16: bool,
             masked: str = NOTHING) -> ConfusionMatrix:
    """Confusion over the samples' visible voxels; the network is put into eval mode and left there. masked: of every sample."""
    network.eval()
    confusion = ConfusionMatrix()
    for path in files:
        sample = load_sample(path)
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            encoded = encode(network, network_inputs(row, [sample], [masked]))[0]
            labels = network.occ_head.labels(encoded)[0]
        confusion.add(labels.byte().numpy(), sample.labels, sample.visible)
    return confusion


@dataclass(frozen=True)
class FlowError:
    """Mean length of velocity errors, m/s, over voxels of moving and of standing things. told_nothing: mean speed of the moving."""

    moving: float
    standing: float
    told_nothing: float


@torch.inference_mode()
def evaluate_flow(network: EffOcc, row: NetworkEntry, files: Sequence[Path], bf16: bool) -> FlowError:
    """Velocity errors over the samples' visible voxels of things that the network finds to be things."""
    network.eval()
    errors: dict[bool, list[np.ndarray]] = {True: [], False: []}
    speeds = []
    for path in files:
        sample = load_sample(path)
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            inputs = network_inputs(row, [sample])
            assert isinstance(network.occ_head, FlowOccupancyHead2d)
            labels, flow = (each[0].float().numpy() for each in network.occ_head.labels_and_flow(encode(network, inputs)[0]))
        truth = np.zeros((sample.labels.size, 2), np.float32)
        truth[sample.moving] = sample.flow
        truth = truth.reshape(*sample.labels.shape, 2)
        chosen = sample.visible & np.isin(sample.labels, THINGS) & np.isin(labels, THINGS)
        speed = np.linalg.norm(truth[chosen], axis=-1)
        error = np.linalg.norm(flow[chosen] - truth[chosen], axis=-1)
        for moves, kept in errors.items():
            kept.append(error[(speed > 0) == moves])
        speeds.append(speed[speed > 0])
    moving, standing, told_nothing = (float(np.concatenate(parts).mean()) for parts in (errors[True], errors[False], speeds))
    return FlowError(moving, standing, told_nothing)

"""Scores a network on prepared samples: Occ3D mIoU and geometric IoU under the camera mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from occ_perception.catalogue import NetworkEntry
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.metrics.miou import ConfusionMatrix
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.training.loop import frames_of, poses_of
from occ_perception.training.samples import load_sample


@torch.inference_mode()
def evaluate(network: FlashOcc, row: NetworkEntry, files: Sequence[Path], bf16: bool) -> ConfusionMatrix:
    """Confusion over the samples' visible voxels; the network is put into eval mode and left there."""
    network.eval()
    confusion = ConfusionMatrix()
    for path in files:
        sample = load_sample(path)
        tables = [build_lift_tables(network.lift, sample.intrinsics, poses, row.frustum.default_caps(len(row.cameras)))
                  for poses in poses_of(row, sample)]
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            encoded = network.encoded_sequence(torch.from_numpy(frames_of(row, sample))[None], LiftTensors.stack(tables))[0]
            labels = network.occ_head.labels(encoded)[0]
        confusion.add(labels.byte().numpy(), sample.labels, sample.visible)
    return confusion

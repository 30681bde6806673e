"""Weights for scocc_sample_2f under which noise pictures give all classes, many objects, and grids that hang on the past frame."""

from __future__ import annotations

from pathlib import Path

import torch

from occ_perception.checkpoints import save_weights
from occ_perception.checkpoints.weights import read_state
from occ_perception.engines.select import shipped_file
from occ_perception.networks.build import build_network
from occ_perception.training.start import start_from

_GAIN = 3.0
"""So much stronger than the present map, the past one scatters the labels over the classes."""


def write_two_frame_weights(path: Path) -> Path:
    """Those of the shipped scocc_sample, with seeded random kernels for the past frame's map."""
    network = build_network('scocc_sample_2f')
    start_from(network, read_state(shipped_file('scocc_sample.safetensors')))
    state = network.state_dict()
    random = torch.Generator().manual_seed(0)
    for name in ('conv1', 'downsample'):
        kernel = state[f'img_bev_encoder_backbone.layers.0.0.{name}.weight']
        past = kernel.abs().sum((0, 2, 3)) == 0
        kernel[:, past] = _GAIN * kernel[:, ~past].std() * torch.randn(kernel[:, past].shape, generator=random)
    save_weights(state, path)
    return path

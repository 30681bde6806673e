"""Beginning a training run from the weights of a network with fewer frames, or without LiDAR."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from occ_perception.checkpoints import describe_differences
from occ_perception.networks.effocc.network import EffOcc
from occ_perception.networks.flashocc.network import FlashOcc

PICTURES = 'img_backbone', 'img_neck'
"""What makes image features of pictures."""


def start_pictures_from(network: EffOcc, state: Mapping[str, Tensor]) -> None:
    """Fill backbone and neck of the pictures with those of a camera network. Raises ValueError when they differ."""
    for name in PICTURES:
        part = getattr(network, name)
        given = {key.removeprefix(f'{name}.'): value for key, value in state.items() if key.startswith(f'{name}.')}
        differences = describe_differences(given, part.state_dict())
        if differences:
            raise ValueError(f'these weights are no start for the pictures of this network, {name}:\n{differences}')
        part.load_state_dict(given)


def start_from(network: FlashOcc, state: Mapping[str, Tensor]) -> None:
    """Fill a network with weights of the same one, or of its form with fewer frames.

    Kernels that read the stacked maps of all frames take the given channels where the present frame's map stands and zeros for
    the further ones: at its start the network computes what the given weights did. Raises ValueError when anything else differs.
    """
    wanted = network.state_dict()
    filled = dict(state)
    for key, value in state.items():
        if key in wanted and key.startswith('img_bev_encoder_backbone.layers.0.0.') and value.dim() == wanted[key].dim():
            missing = wanted[key].shape[1] - value.shape[1] if value.dim() > 1 else 0
            if missing > 0:
                zeros = torch.zeros(value.shape[0], missing, *value.shape[2:])
                parts = [zeros, value] if network.config.oldest_first else [value, zeros]
                filled[key] = torch.cat([part.float() for part in parts], 1)
    differences = describe_differences(filled, wanted)
    if differences:
        raise ValueError(f'these weights are no start for this network:\n{differences}')
    network.load_state_dict(filled)

"""Reading and writing weights: safetensors of our own, PyTorch checkpoints of the published systems."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from occ_perception.checkpoints.differences import describe_differences
from occ_perception.checkpoints.layouts import Stored, is_turned, read_weights, respelled, turned

CONSTANTS = ('num_batches_tracked', 'relative_position_index')
"""Last parts of keys that carry no learnt values; checkpoints may lack them."""


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state_dict in a .safetensors file or a PyTorch checkpoint, see layouts.read_weights. No code in it is run.

    Raises FileNotFoundError, or ValueError when the file is damaged, is no checkpoint, or would have to be executed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'weights file {path} does not exist')
    if path.suffix == '.safetensors':
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f'{path} is no whole safetensors file ({error}): copy it again') from error
    return {key: load_stored(path, key, stored) for key, stored in read_weights(path).state.items()}


def load_stored(path: Path, key: str, stored: Stored) -> Tensor:
    """Read one tensor of a checkpoint. Raises ValueError, with its key, when it is not whole."""
    try:
        return stored.load()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f'{path}: {key} cannot be read ({error}): copy it again') from error


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Fill a network from a file; every key and shape must match.

    Half-precision tensors are widened to the network's dtype. Raises ValueError with the differences otherwise.
    """
    state = read_state(path)
    wanted = network.state_dict()
    if not wanted.keys() <= state.keys():
        state = respelled(state)
    for key, value in wanted.items():
        if key.endswith(CONSTANTS) and key not in state:
            state[key] = value
    for key, value in wanted.items():
        if key in state and is_turned(state[key].shape, value.shape):
            state[key] = turned(state[key])
    differences = describe_differences(state, wanted)
    if differences:
        raise ValueError(f'{path} does not fit this network:\n{differences}\nIf it is a checkpoint of a published system, '
                         f'`occ import {path}` finds out of which, in which form')
    network.load_state_dict(state)


def save_weights(state: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None,
                 half: bool = True) -> None:
    """Write a state_dict as safetensors, whole or not at all.

    half: kernels and matrices are rounded to float16 (half the size; what is exported from them has the same values);
    vectors (norms, biases) stay float32. Raises ValueError for values that are not finite or too large for float16.
    """
    path = Path(path)
    kept: dict[str, Tensor] = {}
    known: set[int] = set()
    for key, value in state.items():
        value = value.detach().cpu().contiguous()
        if value.data_ptr() in known:  # one tensor under several keys: the format holds each once
            value = value.clone()
        known.add(value.data_ptr())
        if half and value.dtype == torch.float32 and value.dim() > 1:
            value = value.half()
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f'{key} has values that are not finite' + (' in float16' if value.dtype == torch.float16 else ''))
        kept[key] = value
    unfinished = path.with_suffix('.part')
    save_file(kept, unfinished, dict(metadata or {}))
    unfinished.chmod(0o666 & ~_umask())  # safetensors lets nobody else read
    unfinished.replace(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Reading and writing weights: safetensors of our own, PyTorch checkpoints of the published systems; never arbitrary pickles."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_SHOWN = 8


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state_dict in a .safetensors file or a PyTorch checkpoint.

    Of a checkpoint, `state_dict_ema`, `state_dict` or `model` inside it is taken where there is one, and a `module.` prefix
    left by distributed training is dropped. Raises FileNotFoundError, or ValueError when the file is damaged, is no
    checkpoint, or would run code when loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'weights file {path} does not exist')
    if path.suffix == '.safetensors':
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f'{path} is no whole safetensors file ({error}): copy it again') from error
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f'{path} holds more than tensors and plain values, which loading could execute. If you trust its source, '
                         f'keep only its state_dict: torch.save(torch.load(path, weights_only=False)["state_dict"], new_path). '
                         f'Details: {str(error).splitlines()[0]}') from error
    except (RuntimeError, EOFError) as error:
        raise ValueError(f'{path} is no whole PyTorch checkpoint ({error}): copy it again') from error
    for name in ('state_dict_ema', 'state_dict', 'model'):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f'{path} holds no state_dict: expected a mapping from names to tensors, or one under "state_dict"')
    return {key.removeprefix('module.'): value for key, value in content.items()}


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Fill a network from a file; every key and shape must match.

    Half-precision tensors are widened to the network's dtype. Raises ValueError with the differences otherwise.
    """
    state = read_state(path)
    wanted = network.state_dict()
    # what a checkpoint carries beside the network: counters that older PyTorch versions did not write
    for key, value in wanted.items():
        if key.endswith('num_batches_tracked') and key not in state:
            state[key] = value
    differences = describe_differences(state, wanted)
    if differences:
        raise ValueError(f'{path} does not fit this network:\n{differences}')
    network.load_state_dict(state)


def describe_differences(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Readable list of missing keys, unknown keys and other shapes; '' when there are none."""
    groups = {
        'missing from the file': [f'{key} {tuple(wanted[key].shape)}' for key in wanted if key not in found],
        'unknown to the network': [f'{key} {tuple(found[key].shape)}' for key in found if key not in wanted],
        'of another shape': [f'{key}: {tuple(found[key].shape)} in the file, {tuple(wanted[key].shape)} in the network'
                             for key in wanted if key in found and found[key].shape != wanted[key].shape],
    }
    lines = []
    for title, items in groups.items():
        if items:
            more = [f'... and {len(items) - _SHOWN} more'] if len(items) > _SHOWN else []
            lines += [f'  {len(items)} {title}:'] + [f'    {item}' for item in items[:_SHOWN] + more]
    return '\n'.join(lines)


def save_weights(state: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None,
                 half: bool = True) -> None:
    """Write a state_dict as safetensors, whole or not at all.

    half: kernels and matrices are rounded to float16 (half the size; what is exported from them has the same values);
    vectors (norms, biases) stay float32. Raises ValueError for values that are not finite or too large for float16.
    """
    path = Path(path)
    kept = {}
    for key, value in state.items():
        value = value.detach().cpu().contiguous()
        if half and value.dtype == torch.float32 and value.dim() > 1:
            value = value.half()
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f'{key} has values that are not finite' + (' in float16' if value.dtype == torch.float16 else ''))
        kept[key] = value
    unfinished = path.with_suffix('.part')
    save_file(kept, unfinished, dict(metadata or {}))
    unfinished.replace(path)

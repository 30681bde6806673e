"""Finds the weights among all that a training program puts into a checkpoint, and gives their keys the published spelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from occ_perception.checkpoints.torch_file import read_torch_file
from occ_perception.checkpoints.unpickling import NumpyArray, Placeholder, StoredTensor

PARTS = ('auto', 'main', 'ema')
"""Which of two sets of weights to read, where a checkpoint has the trained ones and their moving average (EMA)."""
_MAIN = ('state_dict', 'model', 'network', 'net')
_EMA = ('ema_state_dict', 'state_dict_ema', 'model_ema', 'ema')
_WRAPPERS = ('module.', 'model.', 'ema_model.')
_BUFFER = 'ema_'
_TEACHER = 'teacher_model.'
_RESPELLED = {
    'final_conv.': 'occ_head.final_conv.',
    'predicter.': 'occ_head.predicter.',
    'img_view_transformer.depthnet.': 'img_view_transformer.depth_net.',
}
"""Spellings of BEVDet's own branches (the head on the detector itself; the depth layer of its first versions)."""

_OLD_OFFSET, _OFFSET = '.conv2_offset.', '.conv2.conv_offset.'
"""The layer beside a deformable convolution, as the first versions of mmdetection spelled it, and as it is spelled now."""

Stored = StoredTensor | NumpyArray
Value = TypeVar('Value')


class Weights(NamedTuple):
    """The weights of a checkpoint, not read yet.

    part: what of the checkpoint they are, in words. notes: what else there is, one sentence each. trained_as: file name of the
    training configuration, '' where it is not told. epoch: after which they were written, None where it is not told.
    """

    state: dict[str, Stored]
    part: str
    notes: tuple[str, ...] = ()
    trained_as: str = ''
    epoch: int | None = None


def read_weights(path: Path, part: str = 'auto') -> Weights:
    """The weights in a file of torch.save.

    part: 'main' or 'ema' where there are both; 'auto' is the moving average, wherever the program that wrote the file keeps it.
    A prefix left by distributed training is dropped. Raises ValueError when there are no weights, or when something that
    would have to be executed stands in their place.
    """
    file = read_torch_file(path)
    content = file.content
    if not isinstance(content, Mapping):
        what = repr(content) if isinstance(content, Placeholder) else f'a {type(content).__name__}'
        raise ValueError(f'{path} holds {what}, not a state_dict. A whole pickled network would have to be executed: ask its '
                         'author for torch.save(network.state_dict()) or for safetensors')
    named = {name: content[name] for name in (*_MAIN, *_EMA) if isinstance(content.get(name), Mapping) and content[name]}
    main_name = next((name for name in _MAIN if name in named), '')
    ema_name = next((name for name in _EMA if name in named), '')
    main = _unwrapped(named[main_name] if main_name else {} if ema_name else content, path)
    buffers = {key: main.pop(key) for key in list(main) if key.startswith(_BUFFER) and '.' not in key}
    ema = _unwrapped(named[ema_name], path) if ema_name else _from_buffers(buffers, main)
    # these programs exchange the two before they write: what carries the plain names is the average
    exchanged = (ema_name == 'ema_state_dict' and 'steps' in ema) or bool(buffers)
    for counter in ('steps', 'n_averaged'):
        ema.pop(counter, None)
    main_title = f'"{main_name}"' if main_name else 'the whole file'
    ema_title = f'"{ema_name}"' if ema_name else f'the buffers "{_BUFFER}..."'
    if part == 'ema' and not ema:
        raise ValueError(f'{path} holds no moving average (none of {", ".join(_EMA)}, no buffers {_BUFFER}...): leave --part out')
    from_ema = bool(ema) and (part == 'ema' or (part == 'auto' and not exchanged))
    state, title = ({**main, **ema}, ema_title) if from_ema else (main, main_title)
    notes = []
    if ema:
        other, name = (main_title, 'main') if from_ema else (ema_title, 'ema')
        notes.append(f'Read: {title}' + (', the moving average' if from_ema != exchanged else ', not the moving average')
                     + f'. There is also {other}: --part {name}')
    state, teacher = _without_teacher(state)
    if teacher:
        notes.append(f'Left out: the network that it was distilled from ({_TEACHER}*, {teacher} tensors)')
    if file.skipped:
        shown = ', '.join(file.skipped[:5]) + (f' and {len(file.skipped) - 5} more' if len(file.skipped) > 5 else '')
        notes.append(f'Left out of its metadata, since only running code could load it: {shown}')
    meta = content.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    trained_as, epoch = meta.get('exp_name'), meta.get('epoch', content.get('epoch'))
    return Weights(state, title, tuple(notes), trained_as if isinstance(trained_as, str) else '',
                   epoch if isinstance(epoch, int) else None)


def _unwrapped(state: Mapping[Any, Any], path: Path) -> dict[str, Stored]:
    """The mapping without the prefixes of wrappers. Raises ValueError for what is no tensor, and when there is none at all."""
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, StoredTensor | NumpyArray):
            kind = repr(value) if isinstance(value, Placeholder) else f'a {type(value).__name__}'
            raise ValueError(f'{path} has {kind} under {key!r} where a tensor should be. What would have to be executed to be '
                             'loaded is not read: ask its author for a file that holds the state_dict alone')
    if not state:
        raise ValueError(f'{path} holds no state_dict: expected a mapping from names to tensors, or one under "state_dict"')
    found = dict(state)
    shorter = True
    while shorter:
        shorter = False
        for prefix in _WRAPPERS:
            inside = [key for key in found if key.startswith(prefix)]
            if inside and (prefix == 'module.' or len(inside) == len(found)):
                found = {key.removeprefix(prefix): value for key, value in found.items()}
                shorter = True
    return found


def _without_teacher(state: dict[str, Stored]) -> tuple[dict[str, Stored], int]:
    """Weights without those of a teacher beside them (EFFOcc's distillation), and how many tensors that had."""
    own = {key: value for key, value in state.items() if not key.startswith(_TEACHER)}
    return (own, len(state) - len(own)) if own else (state, 0)


def _from_buffers(buffers: Mapping[str, Stored], main: Mapping[str, Stored]) -> dict[str, Stored]:
    """Weights that mmcv's hook keeps as buffers beside the others, under names in which '_' stands for '.'."""
    plain = {_BUFFER + key.replace('.', '_'): key for key in main}
    return {plain[name]: value for name, value in buffers.items() if name in plain}


def respelled(state: Mapping[str, Value]) -> dict[str, Value]:
    """Keys as the published configurations of today spell them."""
    result = {key.replace(_OLD_OFFSET, _OFFSET): value for key, value in state.items()}
    if any(key.startswith('lidar_encoder.') for key in state):
        return result  # FusionOcc's head is on the detector itself still
    for key in state:
        for old, new in _RESPELLED.items():
            if key.startswith(old) and new + key.removeprefix(old) not in state:
                result[new + key.removeprefix(old)] = result.pop(key)
    return result


def is_turned(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a sparse convolution's kernel is laid out as in spconv 1.x and mmcv, (K0, K1, K2, in, out), where the network has
    (out, K0, K1, K2, in), as spconv 2.x: their axes K run along the same axes of the voxels' coordinates."""
    return len(shape) == 5 and tuple(shape) != tuple(wanted) and (shape[4], *shape[:4]) == tuple(wanted)


def turned(kernel: Tensor) -> Tensor:
    """Such a kernel in the network's layout."""
    return kernel.permute(4, 0, 1, 2, 3).contiguous()

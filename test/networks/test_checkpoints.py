"""Weights files: what is read, what is refused and how it is said."""

from __future__ import annotations

import os
import pickle
import re
import sys
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from occ_perception.checkpoints import describe_differences, load_weights, read_state, save_weights, unpickling
from occ_perception.checkpoints.layouts import read_weights
from occ_perception.checkpoints.torch_file import read_torch_file


def save(content: Any, path: Path, legacy: bool = False) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the pickle in a checkpoint; its archive comes out compressed."""
    if not zipfile.is_zipfile(path):
        path.write_bytes(change(path.read_bytes()))
        return
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, change(content) if name.endswith('data.pkl') else content)


def wrong(state: dict[str, torch.Tensor], prefix: str = '') -> dict[str, torch.Tensor]:
    return {prefix + key: value + 1 for key, value in state.items()}


def small_network(channels: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, channels, 3, bias=False), nn.BatchNorm2d(channels), nn.Conv2d(channels, 2, 1))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize('wrap', [
    lambda state: state,
    lambda state: {'state_dict': state, 'meta': {'epoch': 24}},
    lambda state: {'state_dict': {f'module.{key}': value for key, value in state.items()}},
    lambda state: {'model': {f'model.module.{key}': value for key, value in state.items()}},
    lambda state: {'epoch': 23, 'state_dict': OrderedDict(state), 'updates': np.int64(99)},
    lambda state: {'state_dict': {'0.weight': torch.zeros(1)}, 'state_dict_ema': state},
    lambda state: {'state_dict': state, 'ema_state_dict': {'steps': torch.tensor(7), **wrong(state, 'module.')}},
    lambda state: {'state_dict': wrong(state), 'ema_state_dict': state},
    lambda state: {'state_dict': {**state, **{f'ema_{key.replace(".", "_")}': value for key, value in wrong(state).items()}}}])
@pytest.mark.parametrize('legacy', [False, True])
def test_pytorch_checkpoints_of_every_wrapping_load(tmp_path, wrap, legacy):
    source, target = small_network(), small_network()
    save(wrap(source.state_dict()), tmp_path / 'epoch_24_ema.pth', legacy)
    assert not same(source, target)
    load_weights(target, tmp_path / 'epoch_24_ema.pth')
    assert same(source, target)


@pytest.mark.parametrize(('part', 'expected'), [('auto', 1.0), ('main', 0.0), ('ema', 1.0)])
def test_either_set_of_weights_can_be_had(tmp_path, part, expected):
    save({'state_dict': {'a': torch.zeros(1), 'count': torch.ones(1)}, 'ema_state_dict': {'a': torch.ones(1)}}, tmp_path / 'w.pth')
    weights = read_weights(tmp_path / 'w.pth', part)
    assert {key: float(value.load()) for key, value in weights.state.items()} == {'a': expected, 'count': 1.0}
    assert any(f'--part {"ema" if part == "main" else "main"}' in note for note in weights.notes)


def test_weights_that_a_hook_exchanged_are_named_so(tmp_path):
    save({'state_dict': {'a.b': torch.ones(1), 'ema_a_b': torch.zeros(1)}}, tmp_path / 'w.pth')
    automatic, other = (read_weights(tmp_path / 'w.pth', part) for part in ('auto', 'ema'))
    assert float(automatic.state['a.b'].load()) == 1 and float(other.state['a.b'].load()) == 0
    assert automatic.notes[0].startswith('Read: "state_dict", the moving average.')
    assert 'not the moving average' in other.notes[0]
    save({'state_dict': {'a': torch.ones(1)}}, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='holds no moving average'):
        read_weights(tmp_path / 'w.pth', 'ema')


TENSORS = {
    'dense': torch.arange(24.).reshape(2, 3, 4), 'view': torch.arange(24.).reshape(2, 3, 4)[:, 1:2].transpose(0, 2),
    'half': torch.arange(5).half(), 'bfloat16': torch.ones(2, dtype=torch.bfloat16), 'double': torch.ones(1, dtype=torch.float64),
    'number': torch.tensor(3), 'bool': torch.tensor([True, False]), 'empty': torch.zeros(0, 3),
    'parameter': nn.Parameter(torch.ones(2))}


@pytest.mark.parametrize('legacy', [False, True])
def test_tensors_come_back_to_the_bit(tmp_path, legacy):
    shared = torch.arange(10.)
    tensors = {**TENSORS, 'part 1': shared[2:5], 'part 2': shared[4:]}
    save({'state_dict': tensors}, tmp_path / 'w.pth', legacy)
    found = read_state(tmp_path / 'w.pth')
    assert found.keys() == tensors.keys()
    for key, value in tensors.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value), key


class Framework(dict):
    """Stands for classes of programs that are not installed, such as mmcv's Config and HistoryBuffer."""


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('numpy_module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_metadata_of_other_programs_is_no_hindrance(tmp_path, legacy, numpy_module):
    metadata = {
        'epoch': np.int64(24), 'loss': np.float32(0.5), 'table': np.arange(6.).reshape(2, 3), 'kind': np.dtype('>f4'),
        'names': np.array(['a', 'b']), 'config': Framework(model=1), 'when': datetime(2024, 1, 2), 'classes': {'car'},
        'recent': deque([1.0]), 'device': torch.device('cpu'), 'size': torch.Size([1]), 'raw': b'\xff', 'exp_name': 'scocc-r50.py'}
    path = tmp_path / 'w.pth'
    optimizer = {'state': {0: {'exp_avg': torch.ones(3)}}}
    save({'meta': metadata, 'state_dict': {'a': torch.ones(1)}, 'optimizer': optimizer}, path, legacy)
    rewrite(path, lambda pickled: re.sub(rb'numpy\._?core\.multiarray', numpy_module.encode(), pickled))
    weights = read_weights(path)
    assert torch.equal(weights.state['a'].load(), torch.ones(1))
    assert (weights.epoch, weights.trained_as) == (24, 'scocc-r50.py')
    assert len(weights.notes) == 1 and 'only running code could load it' in weights.notes[0]
    meta = read_torch_file(path).content['meta']
    assert meta['loss'] == 0.5 and meta['raw'] == b'\xff'
    assert torch.equal(meta['table'].load(), torch.arange(6.).reshape(2, 3).double())
    with pytest.raises(ValueError, match='something else than numbers'):
        meta['names'].load()


def test_numpy_arrays_are_weights_too(tmp_path):
    save({'state_dict': {'a': np.arange(6, dtype='>i8').reshape(2, 3), 'b': np.asfortranarray(np.arange(6.).reshape(2, 3))}},
         tmp_path / 'w.pth')
    state = read_state(tmp_path / 'w.pth')
    assert torch.equal(state['a'], torch.arange(6).reshape(2, 3))
    assert torch.equal(state['b'], torch.arange(6.).reshape(2, 3).double())


def test_safetensors_round_trip_in_full_precision(tmp_path):
    source, target = small_network(), small_network()
    save_weights(source.state_dict(), tmp_path / 'w.safetensors', half=False)
    load_weights(target, tmp_path / 'w.safetensors')
    assert same(source, target)


def test_half_precision_rounds_kernels_and_keeps_vectors(tmp_path):
    source, target = small_network(), small_network()
    source[1].running_var.fill_(1e-9)
    save_weights(source.state_dict(), tmp_path / 'w.safetensors', {'network': 'x'})
    load_weights(target, tmp_path / 'w.safetensors')
    assert target[0].weight.dtype == torch.float32
    assert torch.equal(target[0].weight, source[0].weight.half().float())
    assert torch.equal(target[1].running_var, source[1].running_var)
    assert [p.name for p in tmp_path.iterdir()] == ['w.safetensors']


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    source = small_network()
    source[0].weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r'0\.weight has values that are not finite in float16'):
        save_weights(source.state_dict(), tmp_path / 'w.safetensors')


def test_other_keys_and_shapes_are_listed(tmp_path):
    state = small_network(5).state_dict()
    state['occ_head.extra'] = torch.zeros(3)
    del state['2.bias']
    torch.save(state, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='does not fit this network') as caught:
        load_weights(small_network(), tmp_path / 'w.pth')
    message = str(caught.value)
    assert f'`occ import {tmp_path}/w.pth` finds out' in message
    assert '1 missing from the file:\n    2.bias (2,)' in message
    assert '1 unknown to the network:\n    occ_head.extra (3,)' in message
    assert '0.weight: (5, 3, 3, 3) in the file, (4, 3, 3, 3) in the network' in message


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path, call=os.system) -> None:
        self.call, self.argument = call, f'touch {marker}' if call is os.system else f'open({str(marker)!r}, "w")'

    def __reduce__(self):
        return self.call, (self.argument,)


CALLS = [os.system, eval, exec]


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('call', CALLS)
def test_code_in_place_of_weights_is_refused(tmp_path, call, legacy):
    marker, path = tmp_path / 'ran', tmp_path / 'w.pth'
    for content in ({'state_dict': {'a': torch.ones(1), 'b': Payload(marker, call)}}, {'state_dict': Payload(marker, call)},
                    Payload(marker, call), [Payload(marker, call)], {Payload(marker, call): torch.ones(1)}):
        save(content, path, legacy)
        with pytest.raises(ValueError, match=r'w\.pth .*(not a state_dict|where a tensor should be)'):
            read_state(path)
        assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker, call)))
    assert marker.exists(), 'the payload is harmless: this test shows nothing'


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('call', CALLS)
def test_code_in_metadata_is_left_out(tmp_path, call, legacy):
    marker = tmp_path / 'ran'
    save({'meta': {'a': Payload(marker, call)}, 'state_dict': {'a': torch.ones(1)}, 'optimizer': [Payload(marker, call)]},
         tmp_path / 'w.pth', legacy)
    weights = read_weights(tmp_path / 'w.pth')
    assert float(weights.state['a'].load()) == 1
    assert call.__name__ in weights.notes[0]
    assert not marker.exists()


def test_pickles_can_neither_import_nor_change_the_reader(tmp_path):
    """Opcodes by hand: a module that does not exist, and attributes set on whatever can be named."""
    before = {key: dict(vars(value)) for key, value in vars(unpickling).items() if isinstance(value, type)}
    for target in (b'ccollections\nOrderedDict\n', b'ctorch._utils\n_rebuild_tensor_v2\n', b'cno.such.module\nThing\n',
                   b'cnumpy\ndtype\n', b'ctorch\nFloatStorage\n', b'ccollections\nOrderedDict\n)R', b'cno.such.module\nThing\n)R'):
        for state in (b'}X\x08\x00\x00\x00__call__cno\nthing\ns', b'}}X\x08\x00\x00\x00__call__cno\nthing\ns\x86'):
            with suppress(Exception):
                unpickling.SafeUnpickler(BytesIO(target + state + b'b.')).load()
    assert before == {key: dict(vars(value)) for key, value in vars(unpickling).items() if isinstance(value, type)}
    assert 'no.such.module' not in sys.modules


def test_tensors_that_reach_beyond_the_file_are_refused(tmp_path):
    path = tmp_path / 'w.pth'
    save({'state_dict': {'a': torch.ones(4)}}, path)
    rewrite(path, lambda pickled: pickled.replace(b'K\x04\x85', b'K\x05\x85'))  # its shape: (4,) -> (5,)
    with pytest.raises(ValueError, match=r'w\.pth .*reaches beyond its numbers'):
        read_state(path)
    save({'state_dict': {'a': torch.ones(4)}}, path, legacy=True)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r'w\.pth .*its end is missing'):
        read_state(path)


def test_programs_are_no_weights(tmp_path):
    save({'state_dict': {'a': torch.ones(1)}}, tmp_path / 'w.pth')
    with zipfile.ZipFile(tmp_path / 'w.pth', 'a') as archive:
        archive.writestr(archive.namelist()[0].split('/')[0] + '/constants.pkl', b'')
    with pytest.raises(ValueError, match=r'w\.pth .*TorchScript'):
        read_state(tmp_path / 'w.pth')


def test_large_differences_are_told_by_module(tmp_path):
    wanted = {f'img_backbone.layer1.{index}.weight': torch.zeros(2, 3) for index in range(40)}
    message = describe_differences({'neck.conv.weight': torch.zeros(1)}, wanted)
    assert message.splitlines() == [
        '  40 missing from the file:', '    img_backbone.layer1.* (40), such as img_backbone.layer1.0.weight (2, 3)',
        '  1 unknown to the network:', '    neck.conv.weight (1,)']
    many = describe_differences({f'module{index}.a': torch.zeros(1) for index in range(30)}, {})
    assert many.splitlines()[-1] == '    ... and 22 lines more'


@pytest.mark.parametrize(('name', 'content'), [
    ('w.safetensors', b'\x08\x00'), ('w.pth', b'PK\x03\x04cut short'), ('w.pth', b''), ('w.pth', pickle.dumps([1, 2])),
    ('w.pth', b'no checkpoint at all')])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read_state(tmp_path / name)


def test_absent_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone\.pth'):
        read_state(tmp_path / 'gone.pth')

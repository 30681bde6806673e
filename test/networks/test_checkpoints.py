"""Weights files: what is read, what is refused and how it is said."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from occ_perception.checkpoints import load_weights, read_state, save_weights


def small_network(channels: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, channels, 3, bias=False), nn.BatchNorm2d(channels), nn.Conv2d(channels, 2, 1))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize('wrap', [
    lambda state: state,
    lambda state: {'state_dict': state, 'meta': {'epoch': 24}},
    lambda state: {'state_dict': {f'module.{key}': value for key, value in state.items()}},
    lambda state: {'state_dict': {'0.weight': torch.zeros(1)}, 'state_dict_ema': state}])
def test_pytorch_checkpoints_of_every_wrapping_load(tmp_path, wrap):
    source, target = small_network(), small_network()
    torch.save(wrap(source.state_dict()), tmp_path / 'epoch_24_ema.pth')
    assert not same(source, target)
    load_weights(target, tmp_path / 'epoch_24_ema.pth')
    assert same(source, target)


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
    assert '1 missing from the file:\n    2.bias (2,)' in message
    assert '1 unknown to the network:\n    occ_head.extra (3,)' in message
    assert '0.weight: (5, 3, 3, 3) in the file, (4, 3, 3, 3) in the network' in message


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    marker = tmp_path / 'ran'

    class Payload:
        def __reduce__(self):
            return open, (str(marker), 'w')

    torch.save({'state_dict': {'a': Payload()}}, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='could execute'):
        read_state(tmp_path / 'w.pth')
    assert not marker.exists()


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

"""Voxel encoder, neck and head: keys of the checkpoints, and their definition tap by tap."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from key_tables import digest, golden_digest, module_table, published_tables
from onnx_outputs import onnx_outputs
from torch import Tensor, nn

from occ_perception.networks.parts.occupancy_head_3d import OccupancyHead3d
from occ_perception.networks.parts.volume_encoder import CustomResNet3d, LssFpn3d

BEVDET = ('flashocc/bevdet-occ-r50-4d-stereo', 'flashocc/bevdet-occ-r50', 'flashocc/bevdet-occ-stbase-4d-stereo-512x1408')
FUSION = 'fusionocc/fusion_occ'
PARTS = {
    'img_bev_encoder_backbone': {
        BEVDET[0]: lambda: CustomResNet3d(64, (32, 64, 128), (1, 2, 4), (1, 2, 2)),
        BEVDET[1]: lambda: CustomResNet3d(32, (32, 64, 128), (1, 2, 4), (1, 2, 2)),
        BEVDET[2]: lambda: CustomResNet3d(64, (32, 64, 128), (1, 2, 4), (1, 2, 2)),
        FUSION: lambda: CustomResNet3d(96, (64, 128, 256), (1, 2, 3), (1, 2, 2))},
    'img_bev_encoder_neck': {
        **dict.fromkeys(BEVDET, lambda: LssFpn3d((32, 64, 128), 32)), FUSION: lambda: LssFpn3d((64, 128, 256), 64)},
    'pre_process_net': dict.fromkeys((BEVDET[0], BEVDET[2], FUSION), lambda: CustomResNet3d(32, (32,), (1,), (1,))),
    'occ_head': dict.fromkeys(BEVDET, lambda: OccupancyHead3d(32, 32, 18))}
TELLING = {'img_bev_encoder_backbone': 'layers.0.0.conv1.conv.weight', 'img_bev_encoder_neck': 'conv.conv.weight',
           'pre_process_net': 'layers.0.0.conv1.conv.weight', 'occ_head': 'final_conv.conv.weight'}


class Volumes(nn.Module):
    """The parts in a row, on a volume of 4 x 8 x 12 cells."""

    @torch.no_grad()
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = CustomResNet3d(4, (4, 6, 8), (1, 2, 2), (1, 2, 2))
        self.neck = LssFpn3d((4, 6, 8), 5)
        self.head = OccupancyHead3d(5, 6, 7)
        self.eval()
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                for value in (module.weight.data, module.bias.data, module.running_mean):
                    value.normal_()
                module.running_var.uniform_(0.5, 2)
        for layer in (self.head.predicter[0], self.head.predicter[2]):
            nn.init.normal_(layer.weight).sub_(layer.weight.mean(1, keepdim=True))  # else the softplus favours one class

    def forward(self, x: Tensor) -> Tensor:
        return self.head.labels(self.neck(self.encoder(x)))


@pytest.mark.parametrize(('prefix', 'config'), [(prefix, config) for prefix, configs in PARTS.items() for config in configs])
def test_keys_shapes_and_dtypes_are_the_checkpoints(prefix, config):
    assert digest(module_table(PARTS[prefix][config]())) == golden_digest(config, prefix)


@pytest.mark.parametrize('prefix', PARTS)
def test_digests_are_those_of_every_published_table(shared, prefix):
    tables = published_tables(shared, prefix, TELLING[prefix], 5)
    assert tables.keys() == PARTS[prefix].keys()
    assert all(digest(table) == golden_digest(config, prefix) for config, table in tables.items())


def test_parts_are_their_definition_tap_by_tap():
    parts = Volumes().double()
    state = {key: value.numpy() for key, value in parts.state_dict().items()}
    x = torch.randn(2, 4, 4, 8, 12, dtype=torch.float64)
    with torch.inference_mode():
        volumes = parts.encoder(x)
        neck = parts.neck(volumes)
        logits = parts.head(neck)

    def module(x: np.ndarray, key: str, stride: int = 1) -> np.ndarray:
        x = convolution(x, state[f'{key}.conv.weight'], stride)
        mean, variance, weight, bias = (state[f'{key}.bn.{name}'].reshape(-1, 1, 1, 1)
                                        for name in ('running_mean', 'running_var', 'weight', 'bias'))
        return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias

    y, expected = x.numpy(), []
    for stage, (count, stride) in enumerate(((1, 1), (2, 2), (2, 2))):
        for i in range(count):
            block = f'encoder.layers.{stage}.{i}'
            inner = np.maximum(module(y, f'{block}.conv1', 1 if i else stride), 0)
            y = np.maximum(module(inner, f'{block}.conv2') + (y if i else module(y, f'{block}.downsample', stride)), 0)
        expected.append(y)
    for found, volume in zip(volumes, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), volume, rtol=1e-9, atol=1e-9)

    joined = np.concatenate([enlarged(volume, (4, 8, 12)) for volume in expected], 1)
    y = np.maximum(module(joined, 'neck.conv'), 0)
    np.testing.assert_allclose(neck.numpy(), y, rtol=1e-9, atol=1e-9)

    final = convolution(y, state['head.final_conv.conv.weight'], 1) + state['head.final_conv.conv.bias'].reshape(-1, 1, 1, 1)
    hidden = np.maximum(final, 0).transpose(0, 4, 3, 2, 1) @ state['head.predicter.0.weight'].T + state['head.predicter.0.bias']
    y = np.log1p(np.exp(hidden)) @ state['head.predicter.2.weight'].T + state['head.predicter.2.bias']
    assert logits.shape == (2, 12, 8, 4, 7)
    np.testing.assert_allclose(logits.numpy(), y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('cells', [8, 3])
def test_labels_and_columns_are_those_of_the_logits(cells):
    head, x = Volumes().head, torch.randn(2, 5, 4, cells, 12)
    with torch.inference_mode():
        logits, labels = head(x), head.labels(x)
        columns = torch.tensor([0, 5, 12 * cells + 1])
        chosen = head.column_logits(x, columns)
    assert labels.dtype == torch.int64 and len(labels.unique()) > 2
    assert torch.equal(labels, logits.argmax(-1))
    torch.testing.assert_close(chosen, logits.flatten(0, 2)[columns])


def test_exported_parts_label_as_torch_does(tmp_path):
    parts, x = Volumes(), torch.randn(1, 4, 4, 8, 12)
    with torch.inference_mode():
        expected = parts(x).numpy()
    assert len(np.unique(expected)) > 2
    for runtime, (labels,) in onnx_outputs(parts, (x,), tmp_path).items():
        assert (labels == expected).mean() > 0.99, runtime


def convolution(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Sum over the taps of a cubic kernel centred on every stride-th cell, zeros outside."""
    reach = kernel.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (0, 0), *[(reach, reach)] * 3))
    total = 0
    for tap in product(range(kernel.shape[-1]), repeat=3):
        cells = tuple(slice(t, t + size, stride) for t, size in zip(tap, x.shape[2:], strict=True))
        total = total + np.einsum('oc,nczyx->nozyx', kernel[(..., *tap)], padded[(slice(None), slice(None), *cells)])
    return total


def enlarged(volume: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Linear along z, y and x, corner cells on corner cells."""
    for axis, cells in enumerate(size, 2):
        place = np.linspace(0, volume.shape[axis] - 1, cells)
        low = np.minimum(place.astype(int), max(volume.shape[axis] - 2, 0))
        high = np.minimum(low + 1, volume.shape[axis] - 1)
        part = (place - low).reshape(-1, *[1] * (volume.ndim - 1 - axis))
        volume = volume.take(low, axis) * (1 - part) + volume.take(high, axis) * part
    return volume

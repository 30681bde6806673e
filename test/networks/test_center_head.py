"""Instance-centre head: keys of the checkpoints, and its definition convolution by convolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from key_tables import digest, golden_digest, module_table, published_tables
from onnx_outputs import onnx_outputs

from occ_perception.networks.parts.center_head import BoxMaps, CenterHead, CenterMaps

PREFIX = 'aux_centerness_head'
CONFIGS = {'flashocc/panoptic-flashocc-r50-depth-pano.VARIANT-numC64': 256, 'flashocc/panoptic-flashocc-r50-depth-pano': 256,
           'flashocc/panoptic-flashocc-r50-depth-tiny-pano': 128, 'flashocc/panoptic-flashocc-r50-depth': 256,
           'flashocc/panoptic-flashocc-r50-depth4d-longterm16f-pano': 256,
           'flashocc/panoptic-flashocc-r50-depth4d-longterm8f-pano': 256, 'flashocc/panoptic-flashocc-r50-depth4d-pano': 256}
CHANNELS = {'reg': 2, 'height': 1, 'dim': 3, 'rot': 2, 'vel': 2, 'heatmap': 10}


def lively_head() -> CenterHead:
    torch.manual_seed(0)
    head = CenterHead(12, channels=8).eval()
    for module in head.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.weight.data, module.bias.data, module.running_mean):
                value.normal_()
            module.running_var.uniform_(0.5, 2)
    return head


@pytest.mark.parametrize('config', CONFIGS)
def test_keys_shapes_and_dtypes_are_the_checkpoints(config):
    assert digest(module_table(CenterHead(CONFIGS[config]))) == golden_digest(config, PREFIX)


def test_digests_are_those_of_every_published_table(shared):
    tables = published_tables(shared, PREFIX, 'shared_conv.conv.weight', 4)
    assert tables.keys() == CONFIGS.keys()
    assert all(digest(table) == golden_digest(config, PREFIX) for config, table in tables.items())


def test_every_map_is_three_convolutions_of_the_bev_map():
    head = lively_head()
    state = head.state_dict()
    bev = torch.randn(2, 12, 11, 13)

    def module(x: torch.Tensor, key: str) -> torch.Tensor:
        x = F.conv2d(x, state[f'{key}.conv.weight'], padding=1)
        mean, variance, weight, bias = (state[f'{key}.bn.{name}'][:, None, None]
                                        for name in ('running_mean', 'running_var', 'weight', 'bias'))
        return ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).clamp(min=0)

    with torch.inference_mode():
        boxes, centers = head(bev), head.predict(bev)
    assert BoxMaps._fields == tuple(CHANNELS)
    shared_map = module(bev, 'shared_conv')
    for name, channels in CHANNELS.items():
        key = f'task_heads.0.{name}'
        expected = F.conv2d(module(shared_map, f'{key}.0'), state[f'{key}.1.weight'], state[f'{key}.1.bias'], padding=1)
        assert expected.shape == (2, channels, 11, 13)
        torch.testing.assert_close(getattr(boxes, name), expected)
    assert CenterMaps._fields == ('reg', 'height', 'heatmap')
    for name, value in centers._asdict().items():
        torch.testing.assert_close(value, getattr(boxes, name), rtol=0, atol=0)


def test_heatmap_starts_with_a_score_of_a_tenth():
    heatmap = CenterHead(4, classes=3, channels=8).task_heads[0]['heatmap'][1]
    assert torch.equal(heatmap.bias, torch.full((3,), -2.19))


def test_exported_prediction_is_the_same(tmp_path):
    class Prediction(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = lively_head()

        def forward(self, bev: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.head.predict(bev))

    module, bev = Prediction().eval(), torch.randn(1, 12, 11, 13)
    with torch.inference_mode():
        expected = module(bev)
    for outputs in onnx_outputs(module, (bev,), tmp_path).values():
        for output, value in zip(outputs, expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(output), value, rtol=1e-4, atol=1e-4)

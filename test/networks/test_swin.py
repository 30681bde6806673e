"""Swin: keys of the checkpoints, outputs of the published code, and of a plain reading of it window by window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import reference_inputs
import torch
from key_tables import digest, golden_digest, module_table, published_tables
from onnx_outputs import onnx_outputs
from scipy.special import erf, softmax

from occ_perception.networks.parts.swin import SwinTransformer

GOLDEN = Path(__file__).resolve().parents[1] / 'golden' / 'swin_base.npz'
CONFIGS = ('effocc/flashocc_fusion_swinb_base_100pct_seq', 'flashocc/bevdet-occ-stbase-4d-stereo-512x1408',
           'flashocc/flashocc-stbase-4d-stereo-512x1408_4x4_1e-2', 'flashocc/flashocc-stbase-4d-stereo-512x1408_4x4_2e-4',
           'fusionocc/fusion_occ', 'scocc/scocc-stbase-4d-stereo-512x1408_4x4_2e-4', 'scocc/scocc-stbase-4f')
WINDOW = 4


def small_swin() -> SwinTransformer:
    """Three stages, whose maps of a 48 x 80 image are 3 x 5 windows, 2 x 3 with padding, and a single padded row."""
    torch.manual_seed(0)
    model = SwinTransformer(16, (2, 4, 2), (2, 4, 4), WINDOW, (0, 1, 2)).eval()
    for key, value in model.state_dict().items():
        if value.dtype == torch.float32:
            spread = torch.randn_like(value) * (0.5 if value.ndim == 1 else value[0].numel() ** -0.5)
            value.copy_(spread + (1 if value.ndim == 1 and key.endswith('weight') else 0))
        if key.endswith('bias_table'):
            value.normal_()
    return model


@pytest.mark.parametrize('outputs', [(2, 3), (0, 2, 3)])
@pytest.mark.parametrize('config', CONFIGS)
def test_keys_shapes_and_dtypes_are_the_checkpoints(config, outputs):
    with torch.device('meta'):
        model = SwinTransformer(outputs=outputs)
    assert digest(module_table(model)) == golden_digest(config, 'img_backbone')
    assert model.out_channels == [128 << stage for stage in outputs]


def test_digests_are_those_of_every_published_table(shared):
    tables = published_tables(shared, 'img_backbone', 'patch_embed.projection.weight', 4)
    tables = {config: table for config, table in tables.items() if 'stages.0.blocks.0.norm1.weight' in table}
    assert tuple(tables) == CONFIGS
    assert all(digest(table) == golden_digest(config, 'img_backbone') for config, table in tables.items())


def test_relative_positions_are_numbered_as_in_the_checkpoints():
    index = SwinTransformer(8, (1,), (1,), 12, ()).stages[0].blocks[0].attn.w_msa.relative_position_index
    step = (23 * torch.arange(12)[:, None] + torch.arange(12)).reshape(1, -1)
    assert torch.equal(index, (step + step.T).flip(1))


def test_full_size_stages_equal_the_published_code():
    """One camera of 512 x 1408 through Swin-B."""
    model = SwinTransformer(outputs=(0, 2, 3)).eval()
    table = {f'img_backbone.{key}': value for key, value in module_table(model).items() if value[1] == 'float32'}
    state = reference_inputs.weights(table, 'scocc')
    state = {key.removeprefix('img_backbone.'): torch.from_numpy(value) for key, value in state.items()}
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    pixels = reference_inputs.image(512, 1408, 0)[..., ::-1].astype(np.float64)
    image = ((pixels - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375)).transpose(2, 0, 1).astype(np.float32)
    with torch.inference_mode():
        maps = model(torch.from_numpy(image)[None])
    golden = np.load(GOLDEN)
    for stage, found in zip((0, 2, 3), maps, strict=True):
        expected = golden[f'{stage}/value'].astype(np.float64)
        difference = found.reshape(-1).numpy()[golden[f'{stage}/index']] - expected
        assert np.sqrt((difference ** 2).mean() / (expected ** 2).mean()) < 5e-6, stage


def test_a_small_network_is_its_definition_window_by_window():
    model = small_swin().double()
    images = torch.randn(2, 3, 48, 80, dtype=torch.float64)
    with torch.inference_mode():
        found = model(images)
    for i, image in enumerate(images):
        for output, expected in zip(found, plain_swin(model, image.numpy()), strict=True):
            np.testing.assert_allclose(output[i].numpy(), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_exported_network_runs_all_images_in_one_graph_with_the_same_result(tmp_path):
    model, images = small_swin(), torch.randn(2, 3, 48, 80)
    with torch.inference_mode():
        expected = model(images)
    for runtime, outputs in onnx_outputs(model, (images,), tmp_path).items():
        for output, value in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(output, value.numpy(), rtol=0, atol=1e-4, err_msg=runtime)


@pytest.mark.parametrize('size', [(48, 72), (40, 80)])
def test_sizes_that_cannot_be_merged_are_refused(size):
    with pytest.raises(ValueError, match=f'{size[0]} x {size[1]}.*16 divides'):
        small_swin()(torch.zeros(1, 3, *size))


def plain_swin(model: SwinTransformer, image: np.ndarray) -> list[np.ndarray]:
    """The network written down directly: loops over windows, original coordinates instead of masks of a shifted canvas."""
    state = {key: value.numpy() for key, value in model.state_dict().items()}

    def linear(x: np.ndarray, key: str) -> np.ndarray:
        return x @ state[f'{key}.weight'].T + state.get(f'{key}.bias', 0)

    def norm(x: np.ndarray, key: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * state[f'{key}.weight'] + state[f'{key}.bias']

    def attend(x: np.ndarray, key: str, heads: int, shift: int) -> np.ndarray:
        height, width, channels = x.shape
        rows, columns = (-(-size // WINDOW) * WINDOW for size in (height, width))
        canvas, out = np.zeros((rows, columns, channels)), np.zeros((rows, columns, channels))
        canvas[:height, :width] = x
        table = state[f'{key}.relative_position_bias_table']
        inside = np.stack(np.meshgrid(*[np.arange(WINDOW)] * 2, indexing='ij'), -1).reshape(-1, 2)
        steps = inside[:, None] - inside
        position = (steps[..., 0] + WINDOW - 1) * (2 * WINDOW - 1) + steps[..., 1] + WINDOW - 1
        for top in range(shift, rows + shift, WINDOW):
            for left in range(shift, columns + shift, WINDOW):
                r, c = (inside[:, 0] + top) % rows, (inside[:, 1] + left) % columns
                torn = (r[:, None] - r != steps[..., 0]) | (c[:, None] - c != steps[..., 1])
                tokens = linear(canvas[r, c], f'{key}.qkv').reshape(len(inside), 3, heads, -1)
                for head in range(heads):
                    query, keys, values = tokens[:, :, head].transpose(1, 0, 2)
                    scores = query @ keys.T / np.sqrt(query.shape[1]) + table[position, head]
                    part = slice(head * channels // heads, (head + 1) * channels // heads)
                    out[r, c, part] = softmax(scores - 100 * torn, 1) @ values
        return linear(out, f'{key}.proj')[:height, :width]

    patches = np.stack([image[:, r:r + 4, c:c + 4].ravel() for r in range(0, 48, 4) for c in range(0, 80, 4)])
    kernel = state['patch_embed.projection.weight']
    x = norm((patches @ kernel.reshape(len(kernel), -1).T + state['patch_embed.projection.bias']).reshape(12, 20, -1),
             'patch_embed.norm')
    outputs = []
    for stage, (count, heads) in enumerate(((2, 2), (4, 4), (2, 4))):
        for i in range(count):
            block = f'stages.{stage}.blocks.{i}'
            x = x + attend(norm(x, f'{block}.norm1'), f'{block}.attn.w_msa', heads, WINDOW // 2 * (i % 2))
            hidden = linear(norm(x, f'{block}.norm2'), f'{block}.ffn.layers.0.0')
            x = x + linear(hidden * (1 + erf(hidden / np.sqrt(2))) / 2, f'{block}.ffn.layers.1')
        outputs.append((norm(x, f'norm{stage}') if stage else x).transpose(2, 0, 1))
        if stage < 2:
            merged = np.stack([x[row::2, column::2] for row in (0, 1) for column in (0, 1)], -1)
            key = f'stages.{stage}.downsample'
            x = linear(norm(merged.reshape(*merged.shape[:2], -1), f'{key}.norm'), f'{key}.reduction')
    return outputs

"""The networks give what the published code gives, stage by stage, and carry its checkpoints' keys."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import reference_inputs
import torch

from occ_perception.catalogue import NETWORKS, ImagePreprocessing, entry
from occ_perception.geometry.column_lift import OUTSIDE, build_lift_tables
from occ_perception.networks.build import build_network
from occ_perception.networks.parts.coordinate_attention import CoordinateAttention
from occ_perception.networks.parts.lift_splat import LiftTensors
from occ_perception.networks.parts.mscf import Mscf
from occ_perception.runtime.intake.image import fit

GOLDEN = Path(__file__).resolve().parents[1] / 'golden'
NAMES = ('flashocc-r50-M0', 'scocc-r50')
TOLERANCE = 3e-5
"""Relative rms error. Equivalent float32 implementations differ by 1e-7 to 1e-5 (most behind SCOcc's cubic blocks); one frustum
point of 150,000 in another cell already gives about 5e-4."""


def table(network: torch.nn.Module) -> dict[str, list]:
    return {key: [list(value.shape), str(value.dtype).removeprefix('torch.')] for key, value in network.state_dict().items()}


def relative_error(values: torch.Tensor, golden: np.lib.npyio.NpzFile, stage: str) -> float:
    expected = golden[f'{stage}/value'].astype(np.float64)
    found = values.numpy().reshape(-1)[golden[f'{stage}/index']]
    return float(np.sqrt(((found - expected) ** 2).mean() / (expected ** 2).mean()))


def filled(network: torch.nn.Module, state: dict[str, np.ndarray]) -> torch.nn.Module:
    network.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in state.items()})
    return network.eval()


@pytest.mark.parametrize('name', NAMES)
def test_keys_shapes_and_dtypes_are_the_checkpoints(name):
    assert table(build_network(name)) == json.loads((GOLDEN / f'{name}.keys.json').read_text())


@pytest.mark.parametrize('name', NETWORKS)
def test_catalogue_counts_parameters(name):
    assert sum(p.numel() for p in build_network(name).parameters()) == entry(name).parameters


@pytest.mark.parametrize('name', NAMES)
def test_every_stage_equals_the_published_code(name):
    row = entry(name)
    golden = np.load(GOLDEN / f'{name}.npz')
    state = reference_inputs.weights(json.loads((GOLDEN / f'{name}.keys.json').read_text()), row.family)
    if 'norms' in golden.files:
        state = reference_inputs.calibrated(state, golden['norms'], golden['scales'])
    network = filled(build_network(name), state)
    height, width = row.preprocessing.input_height, row.preprocessing.input_width
    intrinsics, poses, transforms = reference_inputs.rig(height, width)
    tables = LiftTensors.stack([build_lift_tables(row.lift, intrinsics, poses, network_from_source=transforms)])
    images = torch.from_numpy(np.stack([reference_inputs.image(height, width, camera) for camera in range(6)]))[None]

    stages = {'img_neck': network.img_neck, 'depth_net': network.img_view_transformer.depth_net,
              'bev_encoded': network.img_bev_encoder_neck, 'final_conv': network.occ_head.final_conv}
    if network.config.mscf:
        encoder = network.img_bev_encoder_backbone
        stages |= {'stage.0': encoder.layers[0], 'merge.0': encoder.mscf_layers[0].merge, 'coord_att': network.occ_head.coord_att}
    seen = {}
    for stage, module in stages.items():
        module.register_forward_hook(lambda _m, _i, out, stage=stage: seen.__setitem__(stage, out))
    network.img_backbone.register_forward_hook(
        lambda _m, _i, out: seen.update({f'img_backbone.{i}': x for i, x in enumerate(out)}))
    network.img_bev_encoder_backbone.register_forward_hook(
        lambda _m, _i, out: seen.update({f'bev_encoder.{i}': x for i, x in enumerate(out)}))
    network.img_view_transformer.register_forward_hook(
        lambda _m, _i, out: seen.update({'bev_pooled': out[0], 'depth_prob': out[1].softmax(2)[0]}))
    with torch.inference_mode():
        output = network(images, tables)
        bev = seen['bev_encoded']
        labels = network.occ_head.labels(bev)
    seen['logits'] = output.logits
    assert output.depth_logits.shape == (1, 6, row.lift.bins, row.lift.feature_height, row.lift.feature_width)

    recorded = {key.split('/')[0] for key in golden.files if key.endswith('/value')} - {'labels'}
    assert recorded == set(seen)
    for stage in recorded:
        assert list(seen[stage].shape) == golden[f'{stage}/shape'].tolist(), stage
    errors = {stage: relative_error(seen[stage], golden, stage) for stage in sorted(recorded)}
    assert max(errors.values()) < TOLERANCE, errors
    agreement = (labels.byte().numpy().reshape(-1)[golden['labels/index']] == golden['labels/value']).mean()
    assert agreement > 0.9999
    assert torch.equal(labels, output.logits.argmax(-1))


def test_lift_keeps_the_published_points():
    row, golden = entry('flashocc-r50-M0'), np.load(GOLDEN / 'flashocc-r50-M0.npz')
    intrinsics, poses, transforms = reference_inputs.rig(256, 704)
    tables = build_lift_tables(row.lift, intrinsics, poses, network_from_source=transforms)
    points, cells = golden['pool_counts'][:2]
    assert (tables.slot != OUTSIDE).sum() == points
    assert (tables.cell != tables.sum_1.shape[1] - 1).sum() == cells


def test_images_are_fitted_to_the_bit():
    golden = np.load(GOLDEN / 'preprocess_256x704.npz')
    source = reference_inputs.image(900, 1600, 1)
    image, intrinsics = fit(source, reference_inputs.rig(256, 704)[0][1], ImagePreprocessing())
    assert zlib.crc32(image.tobytes()) == golden['crc32']
    np.testing.assert_allclose(intrinsics, [[557.216, 0, 359.172], [0, 557.216, 76.26], [0, 0, 1]], rtol=1e-6)


def test_normalisation_reverses_the_channels():
    golden = np.load(GOLDEN / 'preprocess_256x704.npz')
    image, _ = fit(reference_inputs.image(900, 1600, 1), np.eye(3), ImagePreprocessing())
    with torch.device('meta'):
        network = build_network('flashocc-r50-M0')
    found = network.normalise(torch.from_numpy(image.copy())).numpy().reshape(-1)[golden['index']]
    np.testing.assert_allclose(found, golden['value'], atol=1e-6)


@pytest.mark.parametrize(('block', 'prefix', 'stage', 'source'), [
    (lambda: Mscf(16), 'mscf', 'mscf_out', ('scocc/unit/mscf_in', (2, 16, 30, 26))),
    (lambda: CoordinateAttention(256), 'coord_att', 'coord_att_out', ('scocc/unit/ca_in', (2, 256, 12, 10)))])
def test_scocc_blocks_equal_the_published_ones(block, prefix, stage, source):
    module = block()
    named = {f'{prefix}.{key}': value for key, value in table(module).items()}
    state = reference_inputs.weights(named, 'scocc')
    filled(module, {key.removeprefix(f'{prefix}.'): value for key, value in state.items()})
    name, shape = source
    with torch.inference_mode():
        output = module(torch.from_numpy(reference_inputs.generator(name).standard_normal(shape).astype(np.float32)))
    assert relative_error(output, np.load(GOLDEN / 'scocc_blocks.npz'), stage) < TOLERANCE


@pytest.mark.parametrize('name', NAMES)
def test_stored_samples_are_the_published_figures(name, shared):
    family = entry(name).family
    assert json.loads((GOLDEN / f'{name}.keys.json').read_text()) == json.loads(
        (shared / 'conformance' / 'keys' / family / f'{name}.json').read_text())
    official = np.load(shared / 'conformance' / 'golden' / family / f'{name}.npz')
    stored = np.load(GOLDEN / f'{name}.npz')
    key = 'depth_net' if family == 'flashocc' else 'img_view_transformer.depth_net'
    figures = dict(zip(official[f'{key}@0/idx'].tolist(), official[f'{key}@0/val'].tolist(), strict=True))
    assert [figures[index] for index in stored['depth_net/index'].tolist()] == stored['depth_net/value'].tolist()

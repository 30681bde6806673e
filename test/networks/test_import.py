"""`occ import`: networks and their forms told from shapes, what is written, and that the engine runs it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open

from occ_perception import __version__
from occ_perception.catalogue import NETWORKS, entry
from occ_perception.checkpoints import load_weights, read_state
from occ_perception.checkpoints.importing import README_PARAMETERS, import_checkpoint
from occ_perception.checkpoints.variants import closest, variant_of
from occ_perception.cli.main import main
from occ_perception.engines.torch_engine import open_torch
from occ_perception.geometry.transforms import matrix
from occ_perception.manifest import entry_of_weights, read_manifest
from occ_perception.networks.build import build_network
from occ_perception.networks.scocc.config import CONFIGS
from occ_perception.runtime.frames import CameraImage, SensorFrame
from occ_perception.runtime.predictor import Predictor

SAMPLE = 'scocc_sample'
PUBLISHED_DEPTH = {'lift_channels': 64, 'bev_widths': (128, 256, 512), 'centers': False}
HEADED = {'centers': True, 'head_channels': 40}


@pytest.fixture(scope='module')
def sample() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return build_network(SAMPLE).state_dict()


@pytest.fixture(scope='module')
def headed() -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    return build_network(SAMPLE, HEADED).state_dict()


def shapes(name: str, changes: dict[str, Any] | None = None) -> dict[str, tuple[int, ...]]:
    with torch.device('meta'):
        return {key: tuple(value.shape) for key, value in build_network(name, changes).state_dict().items()}


def same_values(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize('name', NETWORKS)
def test_every_network_is_told_from_its_shapes(name):
    found = closest(shapes(name))
    assert all(variant.distance == (0, 0) and not variant.changes for variant in found)
    twins = [{'panoptic-flashocc-r50-depth', 'panoptic-flashocc-r50-depth-pano'},  # one network under two names
             {'fusionocc-swinb-512x1408', 'fusionocc-swinb-512x1408-mask'}, {'panoocc-base', 'panoocc-base-pretrain'}]
    assert {variant.name for variant in found} == next((pair for pair in twins if name in pair), {name})


@pytest.mark.parametrize(('table', 'name', 'words'), [
    ('panoptic-flashocc-r50-depth.VARIANT-numC64-nohead', 'panoptic-flashocc-r50-depth',
     ('C = 64 instead of 80', 'no instance-centre head')),
    ('panoptic-flashocc-r50-depth.VARIANT-numC80-nohead', 'panoptic-flashocc-r50-depth', ('no instance-centre head',)),
    ('panoptic-flashocc-r50-depth-pano.VARIANT-numC64', 'panoptic-flashocc-r50-depth-pano', ('C = 64 instead of 80',)),
    ('flashocc-stbase-4d-stereo-512x1408_4x4_2e-4', 'flashocc-stbase-4d-stereo-512x1408', ())])
def test_published_forms_are_told_from_their_keys(shared, table, name, words):
    stored = json.loads((shared / 'conformance' / 'keys' / 'flashocc' / f'{table}.json').read_text())
    found = {key: tuple(shape) for key, (shape, _) in stored.items()}
    variant = variant_of(found, name)
    assert variant.words == words and not variant.obstacles
    assert name in {other.name for other in closest(found)}
    assert shapes(name, dict(variant.changes)) == found


@pytest.mark.parametrize(('name', 'changes', 'words'), [
    ('panoptic-flashocc-r50-depth', PUBLISHED_DEPTH, ('C = 64 instead of 80', 'no instance-centre head')),
    ('bevdet-occ-r50', {'lift_channels': 24}, ('C = 24 instead of 32',)),
    ('flashocc-r50-M0', {'lift_channels': 48, 'neck_channels': 512},
     ('image feature channels 512 instead of 256', 'C = 48 instead of 64')),
    ('flashocc-stbase-4d-stereo-512x1408', {'neck_channels': 256, 'past_frames': 2},
     ('image feature channels 256 instead of 512', 'past frames 2 instead of 1')),
    (SAMPLE, {'bev_widths': (48, 96, 160), 'bev_blocks': (2, 1, 2)},
     ('map encoder widths 48-96-160 instead of 48-96-192', 'map encoder blocks 2-1-2 instead of 2-2-2')),
    (SAMPLE, {'bev_channels': 40, **HEADED},
     ('map channels 40 instead of 32', 'head channels 40 instead of 48', 'an instance-centre head')),
    ('scocc_sample_2f', {'past_frames': 3}, ('past frames 3 instead of 1',))])
def test_forms_are_told_in_fields_and_in_words(name, changes, words):
    found = shapes(name, changes)
    variant = variant_of(found, name)
    assert set(variant.words) == set(words)
    assert shapes(name, dict(variant.changes)) == found


def test_published_depth_weights_are_recognised_by_their_count():
    with torch.device('meta'):
        network = build_network('panoptic-flashocc-r50-depth', PUBLISHED_DEPTH)
    assert ('panoptic-flashocc-r50-depth', sum(value.numel() for value in network.parameters())) in README_PARAMETERS


def test_another_network_is_refused_with_what_it_is(tmp_path, sample):
    torch.save(sample, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=r'no flashocc-r50\. .*the multi-scale fusion of SCOcc.* those of scocc_sample'):
        import_checkpoint(tmp_path / 'w.pth', 'flashocc-r50')
    other = {key: value for key, value in sample.items() if not key.startswith('img_backbone.')}
    torch.save(other, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=r'fits no network of the catalogue\. Compared with scocc_sample, it has an unknown image'):
        import_checkpoint(tmp_path / 'w.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['w.pth']


def test_equally_close_networks_are_listed(tmp_path, monkeypatch, sample):
    torch.save({'state_dict': sample, 'meta': {'exp_name': 'twin.py'}}, tmp_path / 'w.pth')
    monkeypatch.setitem(NETWORKS, 'twin', replace(entry(SAMPLE), name='twin', center_threshold=0.2))
    monkeypatch.setitem(CONFIGS, 'twin', CONFIGS[SAMPLE])
    assert import_checkpoint(tmp_path / 'w.pth').manifest.network == 'twin', 'the metadata says which'
    torch.save(sample, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='fits scocc_sample and twin equally well: say which with --network'):
        import_checkpoint(tmp_path / 'w.pth')


LAYOUTS = {
    'mmcv': lambda state: {
        'meta': {'epoch': np.int64(24), 'mmcv_version': '1.6.0'}, 'optimizer': {'state': {0: {'step': torch.ones(1)}}},
        'state_dict': {f'module.{key}': value for key, value in state.items()}},
    'average': lambda state: {'epoch': np.int64(24), 'updates': 5, 'state_dict': state},
    'head on the detector': lambda state: {'epoch': 24, 'state_dict': {
        re.sub(r'^occ_head\.(final_conv|predicter)', r'\1', key): value for key, value in state.items()}},
    'before PyTorch 0.4.1': lambda state: {'epoch': 24, 'state_dict': {
        key: value for key, value in state.items() if not key.endswith('num_batches_tracked')}},
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_layouts_and_old_spellings_are_imported(tmp_path, sample, layout):
    path = tmp_path / 'epoch_24.pth'
    torch.save(LAYOUTS[layout](sample), path, _use_new_zipfile_serialization=False)
    imported = import_checkpoint(path)
    assert imported.weights == tmp_path / 'epoch_24.safetensors'
    assert imported.manifest.source.epoch == 24
    network = build_network(SAMPLE)
    load_weights(network, imported.weights)
    assert same_values(network.state_dict(), sample)


def test_manifest_says_what_the_weights_are(tmp_path, headed):
    path = tmp_path / 'w.pth'
    torch.save({'state_dict': headed}, path)
    imported = import_checkpoint(path, SAMPLE)
    manifest = read_manifest(imported.weights)
    assert manifest == imported.manifest
    assert dict(manifest.changes) == HEADED and not manifest.lift
    assert manifest.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.tool == f'occ_perception {__version__}'
    assert manifest.parameters == sum(value.numel() for key, value in build_network(SAMPLE, HEADED).named_parameters())
    told = json.loads((tmp_path / 'w.json').read_text())
    assert told['cameras'] == list(entry(SAMPLE).cameras) and told['preprocessing']['input_width'] == 352
    assert told['classes'][4] == 'car' and told['lift']['bins'] == 44
    with safe_open(imported.weights, 'numpy') as file:
        assert json.loads(file.metadata()['manifest']) == told
    assert imported.notes == ('Its form differs from the configuration scocc_sample: head channels 40 instead of 48, '
                              'an instance-centre head',)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(imported.weights.stat().st_mode) == 0o666 & ~mask


def test_the_engine_takes_the_form_from_the_manifest(tmp_path, headed):
    torch.save(headed, tmp_path / 'w.pth')
    imported = import_checkpoint(tmp_path / 'w.pth')
    row = entry_of_weights(entry(SAMPLE), imported.weights)
    assert row.instances and row.frustum == entry(SAMPLE).frustum
    engine = open_torch(row, imported.weights)
    assert same_values(engine._network.state_dict(), headed)
    with pytest.raises(ValueError, match='holds weights of scocc_sample, not of scocc-r50'):
        entry_of_weights(entry('scocc-r50'), imported.weights)


def test_rows_without_a_manifest_stay_as_they_are(tmp_path):
    row = entry(SAMPLE)
    shipped = Path(str(tmp_path / 'w.pth'))
    assert entry_of_weights(row, None) is row and entry_of_weights(row, 'random') is row
    torch.save({}, shipped)
    assert entry_of_weights(row, shipped) is row


def test_further_past_frames_become_history(tmp_path):
    state = build_network('scocc_sample_2f', {'past_frames': 2}).state_dict()
    torch.save(state, tmp_path / 'w.pth')
    imported = import_checkpoint(tmp_path / 'w.pth', 'scocc_sample_2f')
    assert imported.manifest.row().history.offsets_s == (0.5, 1.0)
    assert imported.manifest.row().frames == 3


def test_other_depth_bins_move_the_frustum(tmp_path):
    row = entry(SAMPLE)
    finer = replace(row, lift=replace(row.frustum, depth_step=0.5))
    torch.save(build_network(finer).state_dict(), tmp_path / 'w.pth')
    imported = import_checkpoint(tmp_path / 'w.pth', SAMPLE)
    assert dict(imported.manifest.lift) == {'depth_step': 0.5}
    assert any('88 depth bins are taken to lie from 1 to 45 m, 0.5 m apart' in note for note in imported.notes)
    row = entry_of_weights(row, imported.weights)
    assert row.frustum.bins == 88
    load_weights(build_network(row), imported.weights)
    imported = import_checkpoint(tmp_path / 'w.pth', SAMPLE, depth=(1.0, 89.0, 1.0), spacing='sid')
    assert dict(imported.manifest.lift) == {'depth_stop': 89.0, 'spacing': 'sid'}
    assert not any('depth bins are taken' in note for note in imported.notes)
    with pytest.raises(ValueError, match='in steps of 1 m are 44 bins, the weights have 88'):
        import_checkpoint(tmp_path / 'w.pth', SAMPLE, depth=(1.0, 45.0, 1.0))


def test_predictor_runs_another_form(tmp_path):
    row = entry(SAMPLE)
    finer = replace(row, lift=replace(row.frustum, depth_step=0.5), changes={'lift_channels': 24, 'centers': True})
    network = build_network(finer)
    torch.save(network.state_dict(), tmp_path / 'w.pth')
    predictor = Predictor(SAMPLE, weights=import_checkpoint(tmp_path / 'w.pth', SAMPLE).weights, threads=1)
    seen = []
    predictor.engine._network.img_view_transformer.register_forward_hook(
        lambda _module, _inputs, outputs: seen.append(tuple(tuple(value.shape) for value in outputs)))
    image = np.full((128, 352, 3), 100, np.uint8)
    pose = matrix(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), (1.0, 0, 1.5))
    camera = CameraImage('CAM_FRONT', 0, image, np.array([[278.0, 0, 176], [0, 278, 40], [0, 0, 1]]), pose, np.eye(4))
    prediction = predictor.predict(SensorFrame(0, np.eye(4), {'CAM_FRONT': camera}))
    assert prediction.labels.shape == (200, 200, 16)
    assert seen == [((1, 24, 200, 200), (1, 6, 88, 16, 44))]
    with pytest.raises(ValueError, match='holds weights of scocc_sample, not of scocc_sample_2f'):
        Predictor('scocc_sample_2f', weights=tmp_path / 'w.safetensors')


def test_unknown_depth_bins_are_asked_for(tmp_path):
    row = entry(SAMPLE)
    odd = replace(row, lift=replace(row.frustum, depth_step=0.8))
    torch.save(build_network(odd).state_dict(), tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=r'has 44: say where they lie, as in --depth 1 45 0\.8'):
        import_checkpoint(tmp_path / 'w.pth', SAMPLE)


def test_missing_and_further_keys_are_listed_by_module(tmp_path, sample):
    state = {key: value for key, value in sample.items() if not key.startswith('img_backbone.layer3.1.')}
    torch.save({**state, 'pts_bbox_head.shared.weight': torch.ones(2, 3)}, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=r'fits no network .* 2-2-1-2 blocks instead of .* 2-2-2-2 blocks') as caught:
        import_checkpoint(tmp_path / 'w.pth', SAMPLE)
    message = str(caught.value)
    assert re.search(r'\d+ missing from the file:\n    img_backbone\.layer3\.\* \(\d+\), such as', message)
    assert '1 unknown to the network:\n    pts_bbox_head.shared.weight (2, 3)' in message


def test_parts_for_other_tasks_can_be_left_out(tmp_path, sample):
    torch.save({**sample, 'pts_bbox_head.shared.weight': torch.ones(2, 3)}, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=r'(?s)does not fit scocc_sample:\n.*1 unknown to the network.*--without pts_bbox_head$'):
        import_checkpoint(tmp_path / 'w.pth')
    imported = import_checkpoint(tmp_path / 'w.pth', without=['pts_bbox_head'])
    assert same_values(read_state(imported.weights), sample)


@pytest.mark.parametrize(('half', 'stored', 'expected'), [
    (False, torch.float32, torch.float32), (True, torch.float32, torch.float16), (False, torch.float16, torch.float16),
    (False, torch.float64, torch.float32)])
def test_precision_is_kept_or_halved(tmp_path, sample, half, stored, expected):
    state = {key: value.to(stored) if value.is_floating_point() else value for key, value in sample.items()}
    torch.save(state, tmp_path / 'w.pth')
    found = read_state(import_checkpoint(tmp_path / 'w.pth', half=half).weights)
    assert found['occ_head.predicter.0.weight'].dtype == expected
    if half:
        assert found['occ_head.predicter.0.bias'].dtype == torch.float32
    network = build_network(SAMPLE)
    load_weights(network, tmp_path / 'w.safetensors')
    assert all(value.dtype == torch.float32 for value in network.parameters())


def test_manifests_of_other_versions_are_refused(tmp_path, sample):
    torch.save(sample, tmp_path / 'w.pth')
    path = import_checkpoint(tmp_path / 'w.pth').weights
    content = path.read_bytes()
    path.write_bytes(content.replace(b'input_width\\\\\\": 352', b'input_width\\\\\\": 353').replace(
        b'input_width\\": 352', b'input_width\\": 353'))
    assert path.read_bytes() != content
    with pytest.raises(ValueError, match=r'whose scocc_sample has other preprocessing: import its checkpoint w\.pth again'):
        read_manifest(path)


def test_manifests_are_found_in_onnx_files(tmp_path, headed):
    torch.save(headed, tmp_path / 'w.pth')
    manifest = import_checkpoint(tmp_path / 'w.pth').manifest
    weight = onnx.numpy_helper.from_array(np.zeros((300, 300), np.float32), 'a')
    model = onnx.helper.make_model(onnx.helper.make_graph([], 'graph', [], [], [weight]), producer_name='x' * 200)
    onnx.helper.set_model_props(model, {'network': SAMPLE, 'manifest': manifest.to_json()})
    onnx.save(model, tmp_path / 'w.onnx')
    assert read_manifest(tmp_path / 'w.onnx') == manifest
    assert entry_of_weights(entry(SAMPLE), tmp_path / 'w.onnx').instances
    (tmp_path / 'w.onnx').write_bytes((tmp_path / 'w.onnx').read_bytes()[:-5])
    with pytest.raises(ValueError, match=r'w\.onnx is no whole onnx file'):
        read_manifest(tmp_path / 'w.onnx')


def test_command_tells_how_to_go_on(tmp_path, capsys, sample):
    torch.save(sample, tmp_path / 'my weights.pth')
    assert main(['import', str(tmp_path / 'my weights.pth'), '--out', str(tmp_path / 'w.safetensors'), '--half']) == 0
    out = capsys.readouterr().out
    assert 'scocc_sample, 6.58 M parameters' in out
    assert f'occ up scocc_sample --weights {tmp_path}/w.safetensors' in out


@pytest.mark.parametrize(('words', 'message'), [
    (['gone.pth'], 'gone.pth does not exist'), (['w.pth', '--out', 'w.pth'], 'end its name in .safetensors'),
    (['w.safetensors'], 'give it as --weights'), (['w.pth', '--network', 'flashocc'], 'no network is called')])
def test_wrong_use_is_said_in_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    torch.save({'a': torch.ones(1)}, 'w.pth')
    Path('w.safetensors').touch()
    assert main(['import', *words]) == 2
    assert message in capsys.readouterr().err


def test_version_is_the_packages():
    root = Path(__file__).resolve().parents[2]
    assert f'<version>{__version__}</version>' in (root / 'package.xml').read_text()
    assert f"version='{__version__}'" in (root / 'setup.py').read_text()

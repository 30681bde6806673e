"""`occ parity`: equal engines pass, a damaged one is refused with the layer that was damaged, absent ones are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('embreex', reason='the sample world needs embreex')

import onnx
from onnx import numpy_helper

from occ_perception import catalogue
from occ_perception.cli.main import main
from occ_perception.cli.parity import THRESHOLD as TOLD_THRESHOLD
from occ_perception.cli.parity import chosen
from occ_perception.engines.select import shipped_file
from occ_perception.engines.tapped import TappedTorch, argmax_inputs, ordered_logits
from occ_perception.evaluation.parity import (
    CHOICES,
    THRESHOLD,
    Choice,
    EngineRefused,
    compare_engines,
    refuse_below,
)
from occ_perception.evaluation.parity_files import network_files
from occ_perception.evaluation.parity_frames import ParityFrame, generated_frames, share_out
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.pictures.parity_page import ADDED, LOST, OTHER, SAME, difference_colors

pytestmark = pytest.mark.skipif(not shipped_file('scocc_sample.onnx').is_file(), reason='no shipped weights')
DAMAGED = 'network.img_bev_encoder_backbone.layers.1.0.conv1.weight'


def damage(source: Path, target: Path) -> Path:
    """A copy of an exported network with one kernel doubled."""
    model = onnx.load(source)
    constant = next(each for each in model.graph.initializer if each.name.startswith(DAMAGED))
    values = numpy_helper.to_array(constant)
    constant.CopyFrom(numpy_helper.from_array((2 * values).astype(values.dtype), constant.name))
    onnx.save(model, target)
    return target


@pytest.fixture(scope='module')
def frames() -> list[ParityFrame]:
    return generated_frames(catalogue.entry('scocc_sample'), 2)


@pytest.fixture(scope='module')
def sick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped network and an "int8" file of it that is damaged."""
    folder = tmp_path_factory.mktemp('sick')
    for suffix in ('.onnx', '.safetensors'):
        shutil.copy(shipped_file(f'scocc_sample{suffix}'), folder / f'scocc_sample{suffix}')
    damage(folder / 'scocc_sample.onnx', folder / 'scocc_sample.int8.onnx')
    return folder


@pytest.fixture(scope='module')
def command(sick: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str, str]:
    """Exit status, JSON object, standard error and page of one run of the command with a good and a damaged engine."""
    import contextlib
    import io

    out, err, page = io.StringIO(), io.StringIO(), tmp_path_factory.mktemp('page') / 'new' / 'report.html'
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(['parity', 'scocc_sample', '--weights', str(sick / 'scocc_sample.onnx'), '--frames', '2', '--json',
                       '--against', 'onnxruntime', 'tensorrt:f16', '--out', str(page)])
    return status, json.loads(out.getvalue()), err.getvalue(), page.read_text()


def test_equal_graphs_pass(command: tuple[int, dict[str, Any], str, str]) -> None:
    engine = command[1]['engines']['onnxruntime f32']
    assert engine['agreement'] == 1 and engine['occupied_agreement'] == 1 and engine['refused'] is None
    assert set(engine['classes'].values()) == {1.0} and engine['frames'] == [1.0, 1.0]
    assert engine['logits']['rms'] < 1e-5 and engine['logits']['max'] < 1e-3
    assert engine['miou_difference'] == 0 and 10 < engine['miou'] < 60
    assert engine['first_jump'] is None and engine['layers'] > 200


def test_damaged_engine_is_refused_and_its_layer_named(command: tuple[int, dict[str, Any], str, str]) -> None:
    status, told, err, _ = command
    engine = told['engines']['onnxruntime int8']
    assert status == 1 and told['refused'] == ['onnxruntime int8']
    assert engine['agreement'] < THRESHOLD
    sentence = f'onnxruntime int8 is refused: {100 * engine["agreement"]:.2f} % of its labels are those of the reference, 99.50 %'
    assert sentence in err and 'calibrate it' in err
    jump = engine['first_jump']
    assert (jump['operator'], jump['module']) == ('Conv', DAMAGED.removeprefix('network.').removesuffix('.weight'))
    assert jump['rms'] == pytest.approx(1, rel=1e-3) and jump['inputs_rms'] < 1e-5
    assert len(engine['worst_layers']) == 10 and engine['logits']['rms'] > 0.01


def test_json_holds_the_figures(command: tuple[int, dict[str, Any], str, str]) -> None:
    told = command[1]
    assert (told['network'], told['frames'], told['sequences'], told['threshold']) == ('scocc_sample', 2, 1, THRESHOLD)
    assert told['reference'].startswith('torch')
    for engine in told['engines'].values():
        worst = engine['worst_frame']
        assert worst['agreement'] == min(engine['frames']) == engine['frames'][worst['index']]
        assert engine['agreement'] == pytest.approx(np.mean(engine['frames']), abs=1e-3)
        assert engine['voxels'] > 400_000 and engine['memory'] == {}
        assert engine['miou_difference'] == pytest.approx(engine['miou'] - engine['reference_miou'])


def test_what_cannot_run_is_named(command: tuple[int, dict[str, Any], str, str]) -> None:
    from occ_perception.engines.tensorrt_engine import missing_for_tensorrt

    missing = missing_for_tensorrt()
    if missing is None:
        pytest.skip('TensorRT runs here')
    assert command[1]['not_run'] == {'tensorrt f16': missing}
    assert f'tensorrt f16 was asked for and cannot run here: {missing}' in command[2]


def test_page_tells_all(command: tuple[int, dict[str, Any], str, str]) -> None:
    page = command[3]
    assert page.count('data:image/jpeg;base64') == 2 and 'http' not in page.replace('http-equiv', '')
    jump = command[1]['engines']['onnxruntime int8']['first_jump']
    assert f'The error begins at Conv {jump["tensor"]} {jump["module"]}' in page and 'onnxruntime int8 is refused' in page
    # a kernel twice too large is the first row that is marked; of the hundreds behind it at most a few enlarge the error again
    marked = page.split('<tr class=jump>')[1:]
    assert marked[0].startswith(f'<th>{jump["tensor"]}</th>') and len(marked) < 5 and 'tensorrt f16: ' in page


def test_damaged_float32_export_is_held_against_a_new_one(sick: Path, tmp_path: Path, frames: list[ParityFrame]) -> None:
    shutil.copy(sick / 'scocc_sample.int8.onnx', tmp_path / 'scocc_sample.onnx')
    shutil.copy(sick / 'scocc_sample.safetensors', tmp_path)
    files = network_files('scocc_sample', str(tmp_path / 'scocc_sample.onnx'), tmp_path)
    done = compare_engines(files, frames[:1], [Choice('onnxruntime', 'f32'), Choice('openvino', 'int8')])
    (engine,) = done.engines
    assert engine.agreement < THRESHOLD and files.suspect
    jumps = [error.layer.module for error in engine.layers if error.jump]
    assert jumps[0] == DAMAGED.removeprefix('network.').removesuffix('.weight')
    assert 'scocc_sample.int8.onnx' in done.missing[Choice('openvino', 'int8')]


def test_memory_is_compared(tmp_path: Path, frames: list[ParityFrame]) -> None:
    files = network_files('scocc_sample_2f', None, tmp_path)
    told: dict[str, float] = {}

    def on_progress(what: str, share: float) -> None:
        told[what] = told.get(what, 0.0) + share

    done = compare_engines(files, frames, [Choice('openvino', 'f32')], layers=False, on_progress=on_progress)
    (engine,) = done.engines
    assert engine.agreement > 0.9999 and not engine.layers
    assert list(engine.memory) == ['prepared'] and 0 < engine.memory['prepared'][0] < 1e-4
    assert told == {'reference, torch': pytest.approx(1), 'openvino f32': pytest.approx(1)}


def test_onnx_runtime_stands_in_for_a_missing_checkpoint(tmp_path: Path, frames: list[ParityFrame]) -> None:
    shutil.copy(shipped_file('scocc_sample.onnx'), tmp_path)
    files = network_files('scocc_sample', str(tmp_path / 'scocc_sample.onnx'), tmp_path)
    assert files.checkpoint is None and files.note == 'no checkpoint stands beside scocc_sample.onnx'
    done = compare_engines(files, frames[:1], [Choice('onnxruntime', 'f32'), Choice('openvino', 'f32')], layers=False)
    assert done.reference.startswith('onnxruntime') and 'it is the reference itself' in done.missing[Choice('onnxruntime', 'f32')]
    assert done.engines[0].agreement > 0.9999 and done.engines[0].logits is not None and done.engines[0].logits[0] < 1e-4


def test_checkpoint_of_another_network_is_no_reference(tmp_path: Path) -> None:
    shutil.copy(shipped_file('scocc_sample.onnx'), tmp_path)
    shutil.copy(shipped_file('scocc_sample_2f.safetensors'), tmp_path / 'scocc_sample.safetensors')
    files = network_files('scocc_sample', str(tmp_path / 'scocc_sample.onnx'), tmp_path)
    assert files.checkpoint is None and 'was not made from scocc_sample.safetensors' in files.note


@pytest.mark.parametrize(('agreement', 'threshold', 'precision', 'mend'), [
    (0.99, 0.995, 'int8', 'calibrate it'), (0.9949, 0.995, 'bf16', 'precision f32'), (float('nan'), 0.5, 'f16', 'keep the layers')])
def test_refusal_tells_engine_figure_threshold_and_mend(agreement: float, threshold: float, precision: str, mend: str) -> None:
    with pytest.raises(EngineRefused, match='my engine is refused') as caught:
        refuse_below(agreement, threshold, 'my engine', precision)
    assert f'{100 * agreement:.2f} %' in str(caught.value) and f'{100 * threshold:.2f} %' in str(caught.value)
    assert mend in str(caught.value) and '--threshold' in str(caught.value)


def test_enough_is_not_refused() -> None:
    refuse_below(0.995, 0.995, 'my engine')
    with pytest.raises(ValueError, match=r'threshold 99\.5'):
        refuse_below(1.0, 99.5, 'my engine')


@pytest.mark.parametrize(('words', 'wanted'), [
    ([], CHOICES), (['openvino:bf16'], (Choice('openvino', 'bf16'),)),
    (['tensorrt', 'tensorrt:f16'], tuple(Choice('tensorrt', each) for each in ('f32', 'f16', 'int8')))])
def test_engines_are_chosen_by_words(words: list[str], wanted: tuple[Choice, ...]) -> None:
    assert chosen(words) == wanted


@pytest.mark.parametrize(('words', 'complaint'), [
    (['--against', 'openvino:f16'], '--against openvino:f16: choose among'), (['--threshold', '99'], '--threshold 99'),
    (['--frames', '0'], '--frames 0'), (['--data', 'a', '--bag', 'b'], '--data and --bag: give one'),
    (['--bag', 'nowhere.mcap'], 'nowhere.mcap'), (['--weights', 'nowhere.onnx'], 'nowhere.onnx does not exist')])
def test_wrong_input_is_named(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['parity', 'scocc_sample', *words]) == 2
    assert complaint in capsys.readouterr().err


def test_frames_are_shared_out_among_sequences() -> None:
    assert share_out([40, 40, 3], 16) == [8, 8, 0]
    assert share_out([40, 5], 16) == [11, 5]
    assert share_out([4, 3], 100) == [4, 3]
    assert share_out([], 5) == []


def test_generated_frames_have_network_size_and_truth(frames: list[ParityFrame]) -> None:
    row = catalogue.entry('scocc_sample')
    first, second = frames
    assert first.sequence == second.sequence and second.sensors.stamp_ns - first.sensors.stamp_ns == 500_000_000
    assert all(camera.image.shape == (128, 352, 3) for camera in first.sensors.cameras.values())
    assert set(first.sensors.cameras) == set(row.cameras)
    assert first.truth is not None and first.truth.mask_camera.dtype == bool and first.truth.mask_camera.any()


def test_logits_of_torch_decide_its_labels(frames: list[ParityFrame]) -> None:
    from occ_perception.runtime.predictor import Predictor

    checkpoint = shipped_file('scocc_sample.safetensors')
    predictor = Predictor('scocc_sample', 'torch', checkpoint, everywhere=True)
    predictor.engine = tapped = TappedTorch(predictor.entry, checkpoint)
    labels = predictor.predict(frames[0].sensors).labels
    assert tapped.logits is not None and (tapped.logits.argmax(3) == labels).mean() > 0.9999


@pytest.mark.parametrize('cut', [None, 0])
def test_logits_are_put_in_the_order_of_the_grid(cut: int | None) -> None:
    random = np.random.default_rng(0)
    grid = random.normal(0, 1, (6, 4, 2, 5)).astype(np.float32)  # x, y, z, class
    labels = grid.argmax(3)
    flat = grid.transpose(1, 0, 3, 2)  # as the heads of maps have it: y, x, class, z
    parts = [(flat[None], 3)] if cut is None else [(part[None], 3) for part in np.split(flat, 2, 0)]
    found = ordered_logits(parts, labels, (6, 4, 2))
    assert found is not None
    np.testing.assert_array_equal(found, grid)
    volume = grid.transpose(3, 2, 1, 0)  # as those of volumes: class, z, y, x
    found = ordered_logits([(part[None], 1) for part in np.split(volume, 2, 3)], labels, (6, 4, 2))
    assert found is not None
    np.testing.assert_array_equal(found, grid)
    assert ordered_logits(parts, (labels + 1) % 5, (6, 4, 2)) is None and ordered_logits([], labels, (6, 4, 2)) is None


def test_shipped_graphs_decide_by_argmax() -> None:
    for name in ('scocc_sample', 'scocc_sample_2f'):
        assert argmax_inputs(onnx.load(shipped_file(f'{name}.onnx')))


def test_colours_tell_how_grids_differ() -> None:
    reference = np.array([[[FREE, 4, 4, 4, UNKNOWN]]], np.uint8)
    candidate = np.array([[[4, FREE, 7, 4, UNKNOWN]]], np.uint8)
    colors, shown = difference_colors(reference, candidate)
    assert [tuple(color) for color in colors[0, 0, :4]] == [ADDED, LOST, OTHER, SAME]
    assert shown[0, 0].tolist() == [True, True, True, True, False]


def test_threshold_is_one() -> None:
    assert TOLD_THRESHOLD == THRESHOLD

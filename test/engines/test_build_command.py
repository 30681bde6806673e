"""`occ build` makes what is missing, says what it made and what it lacks."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from occ_perception.catalogue import entry
from occ_perception.cli.main import main
from occ_perception.engines.example_inputs import example_images, example_rig
from occ_perception.engines.select import open_engine, shipped_file
from occ_perception.engines.tensorrt_engine import missing_for_tensorrt
from occ_perception.evaluation import parity_frames
from occ_perception.evaluation.parity_frames import ParityFrame
from occ_perception.runtime.frames import CameraImage, SensorFrame

ROW = entry('scocc_sample')


@pytest.fixture
def network(tmp_path, monkeypatch) -> Path:
    if not shipped_file('scocc_sample.onnx').is_file():
        pytest.skip('the shipped network is not in this checkout')
    monkeypatch.setenv('OCC_CACHE', str(tmp_path / 'cache'))
    shutil.copy(shipped_file('scocc_sample.onnx'), tmp_path / 'net.onnx')
    return tmp_path / 'net.onnx'


def build(*words: object) -> int:
    return main(['build', 'scocc_sample', *map(str, words)])


def test_float16_is_made_once_and_taken_by_tensorrt_rtx(network, capsys):
    pytest.importorskip('tensorrt_rtx_bindings', reason='TensorRT-RTX is not installed', exc_type=ImportError)
    assert build('--weights', network, '--precision', 'f16', '--rtx-check') == 0
    said = capsys.readouterr().out
    assert 'net.f16.onnx: 13.2 MB' in said
    assert 'net.f16.onnx: TensorRT-RTX 1.' in said and 'takes it' in said
    made = network.with_name('net.f16.onnx').stat()
    assert build('--weights', network, '--precision', 'f16', '--files-only') == 0
    assert network.with_name('net.f16.onnx').stat().st_mtime_ns == made.st_mtime_ns
    assert build('--weights', network, '--precision', 'f16', '--keep-f32', '*occ_head*', '--files-only') == 0
    assert network.with_name('net.f16.onnx').stat().st_size > made.st_size


@pytest.mark.skipif(missing_for_tensorrt() is None, reason='TensorRT can run here')
def test_without_a_gpu_the_files_are_made_and_what_is_missing_is_said(network, capsys):
    assert build('--weights', network) == 2
    said = capsys.readouterr().err
    assert 'no engine was built, net.f16.onnx is ready for a machine with TensorRT' in said
    assert '--rtx-check' in said
    assert network.with_name('net.f16.onnx').is_file()


def test_int8_is_calibrated_with_frames_and_runs_on_a_cpu(network, capsys, monkeypatch):
    asked = []

    def frames(row, count, on_frame, first_street):
        asked.append((count, first_street))
        intrinsics, poses = example_rig(row)
        cameras = {name: CameraImage(name, 0, image, intrinsics[0], pose, np.eye(4))
                   for name, image, pose in zip(row.cameras, example_images(row), poses, strict=True)}
        return [ParityFrame('one', SensorFrame(1, np.eye(4), cameras), None)]
    monkeypatch.setattr(parity_frames, 'generated_frames', frames)
    assert build('--weights', network, '--precision', 'int8', '--frames', 3, '--files-only') == 0
    assert asked == [(3, parity_frames.CALIBRATION_FROM)]
    assert 'layers in int8' in capsys.readouterr().out
    assert 'int8' in open_engine(ROW, 'onnxruntime', network, precision='int8').description
    assert build('--weights', network, '--precision', 'int8', '--frames', 3, '--files-only') == 0
    assert len(asked) == 1


@pytest.mark.parametrize(('words', 'says'), [
    (['--frames', 0], 'give a number above 0'), (['--workspace', 0], 'give a number above 0'),
    (['--weights', 'nowhere.onnx'], 'nowhere.onnx does not exist')])
def test_wrong_input_is_named(words, says, capsys):
    assert build(*words) == 2
    assert says in capsys.readouterr().err


def test_help_shows_commands(capsys):
    with pytest.raises(SystemExit):
        build('--help')
    said = capsys.readouterr().out
    assert 'occ build scocc_sample --precision int8 --rtx-check' in said
    assert '--keep-f32' in said


def test_an_export_beside_a_checkpoint_counts_only_if_it_was_made_from_it(network, tmp_path, capsys, monkeypatch):
    pytest.importorskip('torch')
    from occ_perception.engines import export

    made = []
    monkeypatch.setattr(export, 'export_onnx', lambda name, weights, path, memory: made.append((name, weights, path, memory)))
    checkpoint = tmp_path / 'net.safetensors'
    shutil.copy(shipped_file('scocc_sample.safetensors'), checkpoint)  # newer than the export, and the one it was made from
    assert build('--weights', checkpoint, '--precision', 'f16', '--files-only') == 0 and not made
    checkpoint.write_bytes(checkpoint.read_bytes() + b' ')
    os.utime(checkpoint, (0, 0))  # older, and another one
    assert build('--weights', checkpoint, '--precision', 'f16', '--files-only') == 0
    assert made == [('scocc_sample', checkpoint, network, 'exact')]
    assert f'exporting {checkpoint}' in capsys.readouterr().err

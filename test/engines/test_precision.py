"""Which precision is taken, where its files stand, and what is said when one is not to be had."""

import os
from pathlib import Path

import pytest

from occ_perception.catalogue import entry
from occ_perception.engines import precision
from occ_perception.engines.precision import chosen_precision, existing_files, precision_file
from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.engines.select import open_engine, shipped_file
from occ_perception.machine import usable_cores


@pytest.mark.parametrize(('native', 'chosen'), [(True, 'bf16'), (False, 'f32')])
def test_auto_is_bf16_only_where_the_processor_has_it(monkeypatch, native, chosen):
    monkeypatch.setattr(precision, 'multiplies_bf16', lambda: native)
    assert chosen_precision('openvino', 'auto') == chosen
    assert chosen_precision('onnxruntime', 'auto') == chosen_precision('torch', 'auto') == 'f32'


def test_a_precision_that_no_backend_has_is_refused():
    with pytest.raises(ValueError, match=r"precision 'fp16' is unknown: choose one of auto, f32, bf16, f16, int8"):
        open_engine(entry('scocc_sample'), 'openvino', precision='fp16')


@pytest.mark.parametrize(('backend', 'wanted', 'says'), [
    ('openvino', 'f16', r'auto, f32, bf16, int8, or a backend that has it \(tensorrt\)'),
    ('onnxruntime', 'bf16', r'auto, f32, int8, or a backend that has it \(openvino\)'),
    ('torch', 'int8', r'auto, f32, or a backend that has it \(openvino, onnxruntime, tensorrt\)')])
def test_a_precision_of_another_backend_is_refused_with_both_mends(backend, wanted, says):
    with pytest.raises(ValueError, match=rf"{backend}' has no precision '{wanted}': choose one of {says}"):
        open_engine(entry('scocc_sample'), backend, precision=wanted)


def test_narrow_files_stand_beside_the_float32_one():
    file = Path('/w/net-512x1408.onnx')
    assert precision_file(file, 'int8') == Path('/w/net-512x1408.int8.onnx')
    assert precision_file(file, 'bf16') == precision_file(file, 'f32') == file


def test_a_missing_narrow_file_is_named_with_the_command_that_makes_it(tmp_path):
    file = tmp_path / 'net.onnx'
    file.touch()
    with pytest.raises(EngineUnavailable, match=rf'needs net\.int8\.onnx beside it: `occ build scocc_sample --precision int8 '
                                                rf'--weights {file}`'):
        open_engine(entry('scocc_sample'), 'openvino', file, precision='int8')


def test_the_three_files_of_a_stereo_network_are_asked_for(tmp_path):
    row, file = entry('scocc-r50-4d-stereo'), tmp_path / 'net.onnx'
    with pytest.raises(EngineUnavailable, match=r'needs net\.int8\.encode\.onnx and net\.int8\.match\.onnx and net\.int8\.onnx'):
        existing_files(file, row, 'int8')
    names = 'net.encode.onnx', 'net.match.onnx', 'net.onnx'
    for name in names:
        (tmp_path / name).touch()
    assert existing_files(file, row, 'bf16') == tuple(tmp_path / name for name in names)


def test_a_narrow_file_in_place_of_the_float32_one_is_refused(tmp_path):
    file = tmp_path / 'net.int8.onnx'
    file.touch()
    with pytest.raises(ValueError, match=r"is made from net\.onnx: give .*/net\.onnx and the precision 'int8'"):
        open_engine(entry('scocc_sample'), 'openvino', file)


@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_the_description_says_precision_and_threads(backend):
    pytest.importorskip(backend)
    if not shipped_file('scocc_sample.onnx').is_file():
        pytest.skip('the shipped network is not in this checkout')
    said = open_engine(entry('scocc_sample'), backend, precision='f32').description
    assert said.endswith(f', f32, {usable_cores()} threads')
    assert open_engine(entry('scocc_sample'), backend, threads=1).description.endswith('1 threads')


def test_hyper_threads_and_forbidden_processors_are_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 4, 5, 7})
    for number, siblings in {0: '0,4', 1: '1,5', 4: '0,4', 5: '1,5'}.items():
        folder = tmp_path / f'cpu{number}' / 'topology'
        folder.mkdir(parents=True)
        (folder / 'thread_siblings_list').write_text(siblings + '\n')
    assert usable_cores(tmp_path) == 3

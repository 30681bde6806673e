"""Backends say what they lack, and weights that do not fit are named."""

import ctypes

import pytest

from occ_perception.catalogue import entry
from occ_perception.engines.protocol import EngineUnavailable, PlacedFrame
from occ_perception.engines.select import open_engine
from occ_perception.engines.tensorrt_engine import missing_for_tensorrt


def test_unknown_backend_lists_the_known():
    with pytest.raises(ValueError, match='openvino, onnxruntime, tensorrt, torch'):
        open_engine(entry('scocc_sample'), 'caffe')


def test_network_without_weights_says_how_to_go_on():
    with pytest.raises(ValueError, match='ships no weights'):
        open_engine(entry('flashocc-r50-M0'), 'openvino')


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'nowhere\.onnx does not exist'):
        open_engine(entry('scocc_sample'), 'openvino', tmp_path / 'nowhere.onnx')


def test_tensorrt_without_driver_names_driver_and_alternative(monkeypatch):
    def no_library(name):
        raise OSError(name)
    monkeypatch.setattr(ctypes, 'CDLL', no_library)
    assert 'no NVIDIA driver' in missing_for_tensorrt()
    (file := entry('scocc_sample'))
    with pytest.raises((EngineUnavailable, ValueError), match=r'NVIDIA|missing'):
        open_engine(file, 'tensorrt')


@pytest.mark.gpu
@pytest.mark.skipif(missing_for_tensorrt() is not None, reason=str(missing_for_tensorrt()))
def test_tensorrt_labels_equal_openvino():
    from occ_perception.catalogue import entry
    from occ_perception.engines.example_inputs import example_inputs

    row = entry('scocc_sample')
    images, lift_tables = example_inputs(row, row.frustum.default_caps(6))
    frames = [PlacedFrame(None, lift_tables.arrays())]
    expected = open_engine(row, 'openvino').infer(images, frames).labels
    assert (open_engine(row, 'tensorrt').infer(images, frames).labels == expected).mean() > 0.995


def test_torch_takes_all_threads_again_after_an_engine_that_took_one():
    torch = pytest.importorskip('torch')
    from occ_perception.engines.torch_engine import ALL_THREADS

    try:
        assert 'CPU, 1 threads' in open_engine(entry('scocc_sample'), 'torch', threads=1).description
        assert torch.get_num_threads() == 1
        assert f'CPU, {ALL_THREADS} threads' in open_engine(entry('scocc_sample'), 'torch').description
    finally:
        torch.set_num_threads(ALL_THREADS)

"""What the GPU suite runs is what engines run, and its floor counts what PyTorch's own counter counts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.full_history import full_memory
from benchmarks.gpu.frame_step import FrameStep, frame_tensors
from benchmarks.gpu.tensorrt_columns import FRAMES, two_under_way
from benchmarks.gpu.timing import interleaved_ms, summary
from benchmarks.gpu.work_done import WorkDone, floor_ms, flop_rate, measured_peaks
from occ_perception.catalogue import ImagePreprocessing, NetworkEntry, entry
from occ_perception.engines.example_inputs import example_inputs
from occ_perception.engines.protocol import Inference, Pending
from occ_perception.engines.torch_engine import TorchEngine
from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.networks.configs import config_of
from occ_perception.networks.flashocc.config import BackboneConfig
from occ_perception.networks.flashocc.network import FlashOcc

CPU = torch.device('cpu')


def small(name: str) -> tuple[NetworkEntry, FlashOcc]:
    """A network of the catalogue made small, with labels that depend on what is seen."""
    row = replace(entry(name), lift=LiftSpec(64, 176, depth_step=4.0),
                  preprocessing=ImagePreprocessing(input_height=64, input_width=176))
    config = config_of(name)
    config = replace(config, backbone=BackboneConfig('basic', 8, (8, 16, 24, 32), (1, 1, 1, 1),
                                                     (0, 2, 3) if config.depth == 'stereo' else (2, 3)),
                     neck_channels=16, lift_channels=8, bev_widths=(16, 16, 16), bev_channels=16, head_channels=16)
    torch.manual_seed(0)
    network = FlashOcc(config, row.preprocessing, row.frustum).eval()
    with torch.no_grad():
        network.occ_head.predicter[0].weight.normal_(std=3)
    return row, network


@pytest.mark.parametrize('name', [
    'scocc-r50', 'panoptic-flashocc-r50-depth4d-longterm8f-pano', 'scocc-r50-4d-stereo', 'scocc-r50-6f'])
def test_a_frame_on_the_device_has_the_engines_labels(name):
    row, network = small(name)
    caps = row.frustum.default_caps(6)
    images, _ = example_inputs(row, caps)
    engine = TorchEngine(network, channels_last=False)
    places = full_memory(engine, row, images)
    step = FrameStep(network, caps.slots)
    tensors = frame_tensors(step, row, images, places, CPU)
    with torch.inference_mode():
        found = step(*tensors)
    expected = engine.infer(images, places)
    assert len(np.unique(expected.labels)) > 2
    assert (found[0].numpy() == expected.labels).mean() > 0.9999
    if expected.centers is not None:
        np.testing.assert_allclose(found[3].numpy(), expected.centers.heatmap, atol=1e-4)


def test_the_next_frame_is_submitted_before_the_one_before_is_waited_for():
    order: list[str] = []

    def begun(*_) -> Pending:
        number = sum(call.startswith('submit') for call in order)
        order.append(f'submit {number}')

        def result() -> Inference:
            order.append(f'result {number}')
            return Inference(np.full((1, 1, 1), number, np.uint8), None, None)
        return Pending(None, result)

    labels = two_under_way(SimpleNamespace(submit=begun), np.zeros(1), [])
    assert [int(one[0, 0, 0]) for one in labels] == list(range(FRAMES))
    assert order[:4] == ['submit 0', 'submit 1', 'result 0', 'submit 2'] and order[-2:] == ['result 6', 'result 7']


def test_a_past_that_is_not_known_is_refused():
    row, network = small('scocc-r50-4d-stereo')
    images, _ = example_inputs(row, row.frustum.default_caps(6))
    engine = TorchEngine(network)
    first = full_memory(engine, replace(row, history=replace(row.history, offsets_s=(9.0,))), images)
    with pytest.raises(ValueError, match='1 past frames, 0 are remembered'):
        frame_tensors(FrameStep(network, 4), row, images, first, CPU)


def test_work_is_counted_as_pytorch_counts_it():
    row, network = small('scocc-r50-4d-stereo')
    images, _ = example_inputs(row, row.frustum.default_caps(6))
    engine = TorchEngine(network)
    places = full_memory(engine, row, images)
    with FlopCounterMode(display=False) as counter:
        engine.infer(images, places)
    with WorkDone() as work:
        engine.infer(images, places)
    assert work.flops == counter.get_total_flops() > 0


def test_the_floor_is_the_longer_of_arithmetic_and_bytes():
    a, b = torch.rand(64, 32), torch.rand(32, 16)
    with WorkDone() as work:
        c = a @ b
    numbers = a.numel() + b.numel() + c.numel()
    assert work.layers == [(2 * 64 * 32 * 16, numbers)]
    slow_arithmetic = floor_ms(work, (a, b, c), 1e6, 1e15, 'f32')
    assert slow_arithmetic == {'whole': 65.536, 'layers': 65.536}
    slow_memory = floor_ms(work, (a, b, c), 1e15, 1e6, 'f16')
    assert slow_memory['whole'] == slow_memory['layers'] == round(numbers * 2 / 1e3, 3)


def test_peaks_are_of_the_precision_or_the_next_wider():
    assert flop_rate({'f32': 60, 'tf32': 400, 'f16': 800, 'int8': 1500}, 'f32') == 400e12
    assert flop_rate({'f32': 60, 'tf32': 400, 'f16': 800}, 'int8') == 800e12
    peaks = measured_peaks(CPU, lambda call: (call(), 1.0)[1])
    assert peaks == {'f32': round(2e-9 * 1024 ** 3, 3), 'copy': round(2e-6 * 2 ** 26, 1)}


def test_calls_take_turns_after_a_warm_up():
    order: list[str] = []
    times = interleaved_ms({'a': lambda: order.append('a'), 'b': lambda: order.append('b')}, CPU, 3)
    assert order == ['a', 'b'] * 4
    assert {name: len(values) for name, values in times.items()} == {'a': 3, 'b': 3}
    assert summary([1.0, 2.0, 4.0]) == {'median_ms': 2.0, 'p95_ms': 3.8, 'runs': 3, 'fps': 500.0}


def test_the_suite_needs_few_packages():
    """A machine with a GPU needs neither ROS nor other runtimes for it."""
    code = ('import sys\n'
            'for name in ("scipy", "openvino", "onnxruntime", "simplejpeg", "zstandard", "PIL", "embreex", "rosbags", "rclpy"):\n'
            '    sys.modules[name] = None\n'
            'import benchmarks.gpu.__main__, benchmarks.gpu.columns, benchmarks.gpu.tensorrt_columns')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr

"""TensorRT's columns of the GPU benchmark: exports the network, has the engine built, and runs it as a Predictor would."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.full_history import full_memory
from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.example_inputs import ExampleDrive
from occ_perception.engines.export import export_network
from occ_perception.engines.graphs import graphs_of
from occ_perception.engines.narrow_files import stale_files, write_float16, write_int8
from occ_perception.engines.protocol import Engine, PlacedFrame, submit
from occ_perception.engines.select import open_engine
from occ_perception.networks.flashocc.network import FlashOcc

FRAMES = 8
"""Of a call with two frames under way; the first has nothing to overlap with."""


def two_under_way(engine: Engine, images: np.ndarray, places: Sequence[PlacedFrame]) -> list[np.ndarray]:
    """Labels of FRAMES frames, each of which is submitted before the one before it is waited for."""
    pending = deque([submit(engine, images, places)])
    labels = []
    for _ in range(FRAMES - 1):
        pending.append(submit(engine, images, places))
        labels.append(pending.popleft().result().labels)
    return [*labels, pending.popleft().result().labels]


def tensorrt_calls(row: NetworkEntry, network: FlashOcc, onnx_file: Path, precision: str,
                   images: np.ndarray) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]:
    """Calls that run a frame with full history in TensorRT: inputs and labels on the device; from host memory to labels there; the
    same with FRAMES frames, two under way.

    network: on the CPU. onnx_file: where its export is, or is put now, and its narrow files. int8 is calibrated with the example
    inputs: good for speed, not for labels. Building an engine takes minutes; engines stay in the cache of engines/cache.py.
    """
    if not onnx_file.is_file():
        export_network(copy.deepcopy(network), row, onnx_file)
    if precision != 'f32' and stale_files(onnx_file, row, precision, 'benchmark'):
        if precision == 'f16':
            write_float16(onnx_file, row, 'benchmark')
        else:
            write_int8(onnx_file, row, 'benchmark', _example_feeds(row, network, onnx_file))
    engine = open_engine(row, 'tensorrt', onnx_file, precision=precision)
    places = full_memory(engine, row, images)
    resident = engine.resident(images, places)  # type: ignore[attr-defined]
    return resident, lambda: engine.infer(images, places).labels, lambda: two_under_way(engine, images, places)


def _example_feeds(row: NetworkEntry, network: FlashOcc, onnx_file: Path) -> Iterator[list[tuple[Path, dict[str, np.ndarray]]]]:
    caps = row.frustum.default_caps(len(row.cameras))
    drive = ExampleDrive(network, row, caps)
    yield [(path, drive.feeds(graph)) for path, graph in graphs_of(network, onnx_file, caps.slots).items()]

"""TensorRT's columns of the GPU benchmark: exports the network, has the engine built, and runs it as a Predictor would."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.full_history import full_memory
from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.export import export_network
from occ_perception.engines.select import open_engine
from occ_perception.networks.flashocc.network import FlashOcc


def tensorrt_call(row: NetworkEntry, network: FlashOcc, onnx_file: Path, precision: str,
                  images: np.ndarray) -> Callable[[], Any]:
    """A call that takes a frame with full history from host memory to labels there, in TensorRT.

    network: on the CPU. onnx_file: where its export is, or is put now. Building an engine takes minutes; engines stay in the
    cache of engines/cache.py.
    """
    if not onnx_file.is_file():
        export_network(copy.deepcopy(network), row, onnx_file)
    engine = open_engine(row, 'tensorrt', onnx_file, precision=precision)
    places = full_memory(engine, row, images)
    return lambda: engine.infer(images, places).labels

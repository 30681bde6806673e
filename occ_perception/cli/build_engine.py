"""The last step of `occ build`: TensorRT engines, with progress, and their answers beside those of the float32 file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.engines.tensorrt_build import BuildProgress
from occ_perception.engines.tensorrt_engine import missing_for_tensorrt, obtain_plan

if TYPE_CHECKING:
    from occ_perception.cli.build import Frames

COMPARED_FRAMES = 8


def build_engines(args: argparse.Namespace, row: NetworkEntry, onnx_file: Path, files: tuple[Path, ...], source: Frames) -> int:
    """Build an engine of each file; then compare, unless it is left out. Raises EngineUnavailable where TensorRT cannot run."""
    missing = missing_for_tensorrt()
    if missing:
        raise EngineUnavailable(f'no engine was built, {", ".join(file.name for file in files)} '
                                f'{"is" if len(files) == 1 else "are"} ready for a machine with TensorRT: {missing}. '
                                '--rtx-check asks TensorRT-RTX, which needs no GPU; --files-only ends without an engine')
    for file in files:
        plan = _build(args, file)
        print(f'{file.name}: engine of {len(plan) / 1e6:.1f} MB in the cache')
    if not args.build_only:
        _compare(args, row, onnx_file, source)
    return 0


def _build(args: argparse.Namespace, file: Path) -> bytes:
    from tqdm import tqdm

    with tqdm(total=1.0, desc=file.name, bar_format='{desc} {percentage:3.0f}%|{bar}| {elapsed} {postfix}') as bar:
        def report(progress: BuildProgress) -> None:
            bar.set_postfix_str(progress.phase[:50], refresh=False)
            bar.update(max(progress.fraction - bar.n, 0.0))
        plan = obtain_plan(file, args.precision, report, round(args.workspace * 2 ** 30), args.again)
        bar.update(1.0 - bar.n)
    return plan


def _compare(args: argparse.Namespace, row: NetworkEntry, onnx_file: Path, source: Frames) -> None:
    """Labels of the engine beside those of the float32 file, and the time of a frame."""
    from occ_perception.cli.build import memory_form
    from occ_perception.runtime.predictor import Predictor

    form = memory_form(onnx_file)
    engine = Predictor(row.name, 'tensorrt', onnx_file, memory=form, precision=args.precision)
    reference = Predictor(row.name, 'openvino', onnx_file, memory=form, precision='f32')
    alike, times = [], []
    for frame in source.get()[:COMPARED_FRAMES]:
        found, expected = engine.predict(frame.sensors), reference.predict(frame.sensors)
        alike.append(float((found.labels == expected.labels).mean()))
        times.append(found.timings_ms['network'])
    print(f'{engine.engine.description}: {np.mean(alike):.3%} of the labels as float32 in OpenVINO (worst frame {min(alike):.3%}), '
          f'{np.median(times):.2f} ms a frame with copies, {len(alike)} frames')

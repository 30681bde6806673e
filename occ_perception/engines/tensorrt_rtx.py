"""Whether TensorRT takes an exported file, asked of TensorRT-RTX: its parser and builder come from PyPI and need no GPU.

It plans for a GPU generation that is named, here or anywhere. What its parser refuses (an operator, bytes inside the graph, a
shape) TensorRT's refuses too, with few exceptions; how fast a plan is says nothing about TensorRT proper.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from occ_perception.engines.protocol import EngineUnavailable

PACKAGES = 'tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings'


@dataclass(frozen=True)
class RtxPlan:
    """What was built. version: of TensorRT-RTX. layers: of the parsed network. plan_mb: size of the plan [MB]. seconds: all."""

    version: str
    layers: int
    plan_mb: float
    seconds: float


def missing_for_tensorrt_rtx() -> str | None:
    """What keeps TensorRT-RTX from being imported here, as a sentence with its mend; None when nothing does."""
    try:
        import tensorrt_rtx_bindings  # noqa: F401
    except (ImportError, OSError) as error:
        return f'TensorRT-RTX does not import ({error}): pip install {PACKAGES} (Linux on x86-64)'
    return None


def build_with_tensorrt_rtx(onnx_file: Path, limit_s: float = 1200.0) -> RtxPlan:
    """Parse an ONNX file and build a plan of it for Ampere GPUs (8.0), in a process of its own: a crash there stays there.

    Raises EngineUnavailable where TensorRT-RTX does not import, ValueError with its words where it refuses the file.
    """
    missing = missing_for_tensorrt_rtx()
    if missing:
        raise EngineUnavailable(missing)
    try:
        done = subprocess.run([sys.executable, '-m', __name__, str(onnx_file)], capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise ValueError(f'TensorRT-RTX was not done with {onnx_file} after {limit_s:.0f} s') from None
    if done.returncode:
        raise ValueError(f'TensorRT-RTX refuses {onnx_file} (status {done.returncode}): {done.stderr.strip()[-2000:]}')
    return RtxPlan(**json.loads(done.stdout.splitlines()[-1]))


def _build(onnx_file: str) -> RtxPlan:
    import tensorrt_rtx_bindings as rtx

    began = time.monotonic()
    logger = rtx.Logger(rtx.Logger.ERROR)
    builder = rtx.Builder(logger)
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rtx.OnnxParser(network, logger)
    if not parser.parse_from_file(onnx_file):
        raise ValueError('; '.join(str(parser.get_error(index)) for index in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(rtx.ComputeCapability.SM80, 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ValueError('it parses, but no plan could be built; see above')
    return RtxPlan(rtx.__version__, network.num_layers, round(plan.nbytes / 1e6, 1), round(time.monotonic() - began, 1))


if __name__ == '__main__':
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument('onnx_file')
    try:
        print(json.dumps(asdict(_build(options.parse_args().onnx_file))))
    except ValueError as error:
        sys.exit(str(error))

"""Builds TensorRT plans from ONNX files, with TensorRT 10 and 11 and with TensorRT-RTX (which needs no GPU to build).

The module is passed in: whoever has one of the three runs this very code.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from occ_perception.engines.protocol import EngineUnavailable

SUPPORTED_MAJORS = {'tensorrt': (10, 11), 'tensorrt_rtx': (1,), 'tensorrt_rtx_bindings': (1,)}
"""Module name -> major versions whose API is used here."""
DEFAULT_WORKSPACE_BYTES = 4 << 30


@dataclass(frozen=True)
class BuildProgress:
    """How far a build is. phase: in words; fraction: 0 to 1, never less than before; seconds: since it began."""

    phase: str
    fraction: float
    seconds: float


Report = Callable[[BuildProgress], None]


@dataclass(frozen=True)
class BuiltPlan:
    """plan: for one TensorRT version and GPU. timing_cache: shortens the next build (empty with TensorRT-RTX). layers: parsed."""

    plan: bytes
    timing_cache: bytes
    layers: int


def check_version(tensorrt: ModuleType) -> None:
    """Raises EngineUnavailable for a TensorRT whose API is not known here."""
    majors = SUPPORTED_MAJORS.get(tensorrt.__name__, ())
    if int(tensorrt.__version__.split('.')[0]) not in majors:
        raise EngineUnavailable(f'{tensorrt.__name__} {tensorrt.__version__} is not supported: install version '
                                f'{" or ".join(map(str, majors))}')


def build_plan(tensorrt: ModuleType, onnx_file: Path, report: Report = lambda progress: None,
               workspace_bytes: int = DEFAULT_WORKSPACE_BYTES, timing_cache: bytes = b'', plan_for: str | None = None) -> BuiltPlan:
    """Plan of an ONNX file: strongly typed, so tensors have the types that the file gives them (float32, float16, Q/DQ int8).

    workspace_bytes: scratch memory on the GPU that a layer may use at most. timing_cache: of an earlier build, ignored when made
    by another version or GPU. plan_for: compute capability such as 'SM80' of a GPU that is not here (TensorRT-RTX only).
    report: called from threads of the builder. Raises EngineUnavailable for an unsupported version, ValueError with the nodes that
    the parser refused and with the builder's own words.
    """
    check_version(tensorrt)
    log = _error_log(tensorrt)
    builder = tensorrt.Builder(log)
    # 10 has weakly typed networks, too, and is asked for the other kind; 11 has one kind and no flag
    strongly_typed = getattr(tensorrt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED', None)
    network = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = tensorrt.OnnxParser(network, log)
    began = time.monotonic()
    report(BuildProgress('reading the network', 0.0, 0.0))
    if not parser.parse(onnx_file.read_bytes()):
        refused = '; '.join(_in_words(parser.get_error(index)) for index in range(parser.num_errors))
        raise ValueError(f'{tensorrt.__name__} {tensorrt.__version__} cannot read {onnx_file}: {refused}')
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, workspace_bytes)
    if plan_for is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(tensorrt.ComputeCapability, plan_for), 0)
    cache = config.create_timing_cache(timing_cache)
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b''), ignore_mismatch=False)
    config.progress_monitor = _monitor(tensorrt, report, began)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ValueError(f'{tensorrt.__name__} {tensorrt.__version__} could not build {onnx_file}: '
                         f'{"; ".join(log.errors) or "it gave no reason"}')
    measured = config.get_timing_cache()
    return BuiltPlan(bytes(plan), b'' if measured is None else bytes(measured.serialize()), network.num_layers)


def _in_words(error: Any) -> str:
    node = f'node {error.node_name()!r} ({error.node_operator()}): ' if error.node_name() else ''
    return node + error.desc()


def _error_log(tensorrt: ModuleType) -> Any:
    """A logger that keeps errors, to be told with the exception, and is silent otherwise."""
    class ErrorLog(tensorrt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (tensorrt.ILogger.ERROR, tensorrt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return ErrorLog()


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0
    finished_inside: int = 0


class PhaseTree:
    """One fraction out of phases that have steps and phases inside.

    A builder does not say how many phases it will start inside a step: the first counts for half of the step, the next for half of
    the rest, and so on.
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._reached = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins."""
        self._phases[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str, step: int) -> None:
        """Step number `step`, counted from 0, is done."""
        phase = self._phases[name]
        phase.done, phase.finished_inside = min(step + 1, phase.steps), 0

    def finish(self, name: str) -> None:
        """The phase is over."""
        phase = self._phases.pop(name)
        if phase.parent is None:
            self._reached = 1.0
        elif phase.parent in self._phases:
            self._phases[phase.parent].finished_inside += 1

    def fraction(self) -> float:
        """Share of the outermost phase that is done, never less than before."""
        for name, phase in self._phases.items():
            if phase.parent is None:
                self._reached = max(self._reached, self._share(name))
        return self._reached

    def _share(self, name: str) -> float:
        phase = self._phases[name]
        inside = [self._share(child) for child, other in self._phases.items() if other.parent == name]
        half = 0.5 ** (phase.finished_inside + 1)
        return min(1.0, (phase.done + 1 - 2 * half + half * max(inside, default=0.0)) / phase.steps)


def _monitor(tensorrt: ModuleType, report: Report, began: float) -> Any:
    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self._tree, self._lock = PhaseTree(), threading.Lock()

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            with self._lock:
                self._tree.start(name, parent, steps)
            self._tell(name)

        def step_complete(self, name: str, step: int) -> bool:
            with self._lock:
                self._tree.step(name, step)
            self._tell(name)
            return True

        def phase_finish(self, name: str) -> None:
            with self._lock:
                self._tree.finish(name)
            self._tell(name)

        def _tell(self, name: str) -> None:
            with self._lock:
                fraction = self._tree.fraction()
            report(BuildProgress(name, fraction, time.monotonic() - began))

    return Monitor()

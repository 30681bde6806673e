"""Built engines (plans) of this machine: found again for the same file, TensorRT, driver and GPU, and built by one process only."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from occ_perception.engines.cache import cache_folder, cache_key, locked, read_checked, write_checked
from occ_perception.engines.tensorrt_build import BuildProgress, BuiltPlan, Report

REPORT_PERIOD_S = 0.2


@dataclass(frozen=True)
class PlanTarget:
    """What a plan is bound to, beside its ONNX file. tensorrt: module and version; capability: of the GPU, such as 8.6."""

    tensorrt: str
    driver: str
    gpu: str
    capability: str

    def parts(self) -> tuple[str, ...]:
        """For a cache key."""
        return self.tensorrt, self.driver, self.gpu, self.capability


@dataclass(frozen=True)
class PlanFile:
    """Where the plan of an ONNX file lies, or will lie. key: SHA-256 over everything that it is bound to."""

    onnx_file: Path
    target: PlanTarget
    key: str
    path: Path

    @classmethod
    def of(cls, onnx_file: Path, precision: str, target: PlanTarget) -> PlanFile:
        """precision: that of the file's contents, 'f32', 'f16' or 'int8'."""
        key = cache_key(hashlib.sha256(onnx_file.read_bytes()).digest(), precision, *target.parts())
        return cls(onnx_file, target, key, cache_folder() / f'{onnx_file.stem}-{key[:24]}.engine')

    def read(self) -> bytes | None:
        """The plan; None where there is none, or what lies there is damaged or was made for something else."""
        content = read_checked(self.path)
        key = bytes.fromhex(self.key)
        return content[len(key):] if content is not None and content.startswith(key) else None

    def obtain(self, build: Callable[[bytes, Report], BuiltPlan], report: Report = lambda progress: None) -> bytes:
        """The plan from the cache, else built now; while another process builds it, waits and reports that one's progress.

        build: called with the timing cache of earlier builds for this GPU and with what takes progress.
        """
        found = self.read()
        if found is not None:
            return found
        news = self.path.with_suffix('.progress')
        with locked(self.path.with_suffix('.lock'), lambda: _pass_on(news, report)):
            found = self.read()
            if found is not None:
                return found
            try:
                timings = self.path.parent / f'timings-{cache_key(*self.target.parts())[:24]}.cache'
                built = build(read_checked(timings) or b'', _Notice(news, report))
                write_checked(timings, built.timing_cache)
                write_checked(self.path, bytes.fromhex(self.key) + built.plan)
            finally:
                news.unlink(missing_ok=True)
        return built.plan


class _Notice:
    """Reports progress, and leaves it in a file for processes that wait."""

    def __init__(self, file: Path, report: Report) -> None:
        self._file, self._report, self._last, self._lock = file, report, 0.0, threading.Lock()

    def __call__(self, progress: BuildProgress) -> None:
        self._report(progress)
        with self._lock:
            if time.monotonic() - self._last > REPORT_PERIOD_S:
                self._last = time.monotonic()
                unfinished = self._file.with_suffix(f'.{os.getpid()}')
                unfinished.write_text(json.dumps(asdict(progress)))
                unfinished.replace(self._file)


def _pass_on(file: Path, report: Report) -> None:
    try:
        report(BuildProgress(**json.loads(file.read_text())))
    except (FileNotFoundError, ValueError, TypeError):
        report(BuildProgress('waiting for another process that builds it', 0.0, 0.0))

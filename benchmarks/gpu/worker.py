"""The process that computes: it may run out of memory or crash, and the suite goes on with a new one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any


class WorkerDied(RuntimeError):
    """The process ended by itself; the message says how."""


class OutOfTime(RuntimeError):
    """The step took longer than it was given and was stopped."""


class Worker:
    """A process of its own that measures steps, started when first needed. device: 'cuda' or 'cpu'. runs: timed calls."""

    def __init__(self, device: str, runs: int) -> None:
        self._arguments = device, runs
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def measure(self, network: str, step: str, limit_s: float) -> dict[str, Any]:
        """Figures of a step, {'error': what went wrong} or {'skipped': what is not there yet}.

        Raises WorkerDied and OutOfTime; the next call starts a new process.
        """
        if self._process is None:
            context = multiprocessing.get_context('spawn')
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
            self._process.start()
            theirs.close()
        assert self._connection is not None
        try:
            self._connection.send((network, step))
            if not self._connection.poll(limit_s):
                raise OutOfTime(f'stopped after {limit_s:.0f} s')
            reply = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as gone:
            self._process.join(10)
            code = self._process.exitcode
            self.stop()
            raise WorkerDied(f'the process ended by {signal.Signals(-code).name}' if code is not None and code < 0
                             else f'the process ended with exit code {code}') from gone
        except BaseException:
            self.stop()
            raise
        if 'error' in reply:
            self.stop()  # after a CUDA error nothing of the process can be trusted
        return reply

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def device_found(device: str) -> tuple[str | None, str | None]:
    """(name of the GPU or None where there is none, what keeps TensorRT from running or None), asked in a process of its own."""
    if device == 'cpu':
        return None, 'TensorRT needs a GPU'
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(_gpu)


def _gpu() -> tuple[str | None, str | None]:
    import torch

    from occ_perception.engines.tensorrt_engine import missing_for_tensorrt
    if not torch.cuda.is_available():
        return None, missing_for_tensorrt()
    return torch.cuda.get_device_name(), missing_for_tensorrt()


def _serve(connection: Connection, device: str, runs: int) -> None:
    """Answer requests until the other end closes. The network at hand stays loaded for its next step."""
    if device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''  # the torch engine takes a GPU where it sees one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    from benchmarks.gpu.columns import RowBench
    from occ_perception.engines.protocol import EngineUnavailable
    bench: RowBench | None = None
    while True:
        try:
            network, step = connection.recv()
        except EOFError:
            return
        try:
            if bench is None or bench.row.name != network:
                if bench is not None:
                    bench.close()
                bench = None
                bench = RowBench(network, torch.device(device), runs)
            connection.send(bench.measure(step))
        except torch.cuda.OutOfMemoryError as error:
            connection.send({'error': f'out of memory: {_first_line(error)}'})
        except EngineUnavailable as missing:  # a file or a package that may be there another time
            connection.send({'skipped': _first_line(missing)})
        except Exception as error:
            traceback.print_exc()
            connection.send({'error': f'{type(error).__name__}: {_first_line(error)}'})


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ['no message'])[0][:300]

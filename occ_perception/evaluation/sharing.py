"""Sequences shared out among processes of this machine and among torchrun ranks; the sums are those of one process.

Every sequence is computed whole, by one process, and goes through a file; nothing that is added up depends on who computed it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from tqdm import tqdm

from occ_perception.datasets.opening import open_sequences
from occ_perception.datasets.sequences import DrivingSequence
from occ_perception.evaluation.request import Request
from occ_perception.evaluation.result_files import ResultFolder
from occ_perception.evaluation.sequence_run import run_sequence

WAIT_S = 3600.0
"""Rank 0 gives up when the other ranks have finished no sequence for so long."""


@dataclass(frozen=True)
class Rank:
    """This process among the ranks that share the work."""

    number: int = 0
    count: int = 1

    @classmethod
    def from_environment(cls) -> Rank:
        """RANK and WORLD_SIZE, as torchrun sets them; one rank alone without. Raises ValueError when they are no such numbers."""
        texts = os.environ.get('RANK', '0'), os.environ.get('WORLD_SIZE', '1')
        try:
            number, count = map(int, texts)
        except ValueError:
            number, count = -1, 0
        if not 0 <= number < count:
            raise ValueError(f'RANK={texts[0]} WORLD_SIZE={texts[1]}: ranks count from 0 to WORLD_SIZE - 1; torchrun sets both')
        return cls(number, count)

    def share(self, names: Sequence[str]) -> list[str]:
        """The sequences that are this rank's."""
        return list(names[self.number::self.count])


def evaluate(request: Request, sequences: Sequence[DrivingSequence], results: ResultFolder, jobs: int = 1,
             rank: Rank = Rank(), progress: bool = True) -> None:
    """Make sure that results of all this rank's sequences are there, computing those that are not; jobs processes at a time."""
    mine = set(rank.share([sequence.name for sequence in sequences]))
    missing = [sequence for sequence in sequences if sequence.name in mine and not results.has(sequence.name)]
    if not missing:
        return
    total = sum(len(sequence) for sequence in missing)
    with tqdm(total=total, unit='frame', desc=_title(request, rank), disable=not progress, file=sys.stderr) as bar:
        if jobs == 1 or len(missing) == 1:
            worker = _Worker(request, results)
            for sequence in missing:
                worker.run(sequence, bar.update)
        else:
            _in_processes(request, [sequence.name for sequence in missing], results, min(jobs, len(missing)), bar)


def wait_for_all(names: Sequence[str], results: ResultFolder, longest_s: float = WAIT_S) -> None:
    """Wait until every rank's results are there. Raises ValueError when nothing new came for longest_s."""
    left = [name for name in names if not results.has(name)]
    since = told = time.monotonic()
    while left:
        now = time.monotonic()
        if now - since > longest_s:
            raise ValueError(f'no other rank finished a sequence for {longest_s:.0f} s; {results.path} lacks '
                             f'{", ".join(left)}. Start the same command again: what is there is kept')
        if now - told > 30:
            told = now
            print(f'waiting for other ranks: {len(left)} sequences', file=sys.stderr, flush=True)
        time.sleep(0.2)
        still = [name for name in left if not results.has(name)]
        if len(still) < len(left):
            since = now
        left = still


class _Worker:
    """A Predictor and where its results go."""

    def __init__(self, request: Request, results: ResultFolder) -> None:
        from occ_perception.runtime.predictor import Predictor

        self.request, self.results = request, results
        self.predictor = Predictor(request.network, request.backend, request.weights, request.threads, request.memory,
                                   published_centers=request.published_centers, everywhere=request.everywhere,
                                   precision=request.precision, published_motion=request.published_motion)

    def run(self, sequence: DrivingSequence, on_frame: Any) -> None:
        self.results.save(run_sequence(self.predictor, sequence, self.request.rays, self.request.skip_corrupt, on_frame))


def _title(request: Request, rank: Rank) -> str:
    return request.network + (f', rank {rank.number} of {rank.count}' if rank.count > 1 else '')


def _in_processes(request: Request, names: Sequence[str], results: ResultFolder, jobs: int, bar: tqdm) -> None:
    context = get_context('spawn')
    done = context.Value('q', 0)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(request, results, done)) as pool:
        pending = {pool.submit(_run, name) for name in names}
        try:
            while pending:
                finished, pending = wait(pending, 0.5, FIRST_COMPLETED)
                bar.update(done.value - bar.n)
                for future in finished:
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_STATE: dict[str, Any] = {}


def _start(request: Request, results: ResultFolder, done: Any) -> None:
    _STATE.update(worker=_Worker(request, results), done=done,
                  sequences={sequence.name: sequence for sequence in open_sequences(request.source)})


def _run(name: str) -> None:
    def count() -> None:
        with _STATE['done'].get_lock():
            _STATE['done'].value += 1

    _STATE['worker'].run(_STATE['sequences'][name], count)

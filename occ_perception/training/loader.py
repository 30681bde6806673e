"""Batches of augmented samples, made ahead in background threads, in an order given by the seed and the step alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.training.samples import TrainingSample, augment, load_sample


def sample_order(count: int, seed: int) -> Iterator[int]:
    """Endless indices 0..count-1, shuffled anew each epoch."""
    epoch = 0
    while True:
        yield from np.random.default_rng((seed, epoch)).permutation(count)
        epoch += 1


def batches(files: Sequence[Path], batch_size: int, seed: int, first_step: int, last_step: int,
            collate: Callable[[list[TrainingSample], np.random.Generator], Any], ahead: int = 4) -> Iterator[Any]:
    """Collated batches for steps first_step .. last_step - 1; a resumed run sees what an unbroken one would have seen."""
    order = sample_order(len(files), seed)
    for _ in range(first_step * batch_size):
        next(order)

    def make(step: int, chosen: list[int]) -> Any:
        random = np.random.default_rng((seed, step))
        return collate([augment(load_sample(files[index]), random) for index in chosen], random)

    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting: deque[Future] = deque()
        for step in range(first_step, last_step):
            waiting.append(pool.submit(make, step, [int(next(order)) for _ in range(batch_size)]))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

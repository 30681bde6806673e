"""Results of sequences on disk, one file each, there whole or not at all: what is there is not computed again."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.evaluation.counts import Counts
from occ_perception.evaluation.sequence_run import SequenceResult, WorstFrame


class ResultFolder:
    """The results of one request under a folder: <folder>/results-<key>/<sequence>.npz."""

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f'results-{key}'

    def file(self, name: str) -> Path:
        """Where the result of a sequence is or will be."""
        return self.path / f'{name}.npz'

    def has(self, name: str) -> bool:
        """Whether the result of a sequence is there."""
        return self.file(name).is_file()

    def save(self, result: SequenceResult) -> None:
        """Write a result; other processes see it once it is complete."""
        self.path.mkdir(parents=True, exist_ok=True)
        worst = result.worst
        arrays: dict[str, Any] = {
            **result.counts.arrays(), 'stamps_ns': np.array(result.stamps_ns, np.int64),
            'corrupt': np.array(result.corrupt, np.str_), 'worst_index': np.array([frame.index for frame in worst], np.int64),
            'worst_stamp_ns': np.array([frame.stamp_ns for frame in worst], np.int64),
            'worst_miou': np.array([frame.miou for frame in worst])}
        for k, frame in enumerate(worst):
            arrays[f'worst_labels_{k}'], arrays[f'worst_ids_{k}'] = frame.labels, frame.instance_ids
        partial = self.path / f'.{result.name}.{os.getpid()}.partial'
        with partial.open('wb') as file:
            np.savez_compressed(file, **arrays)
        partial.replace(self.file(result.name))

    def load(self, name: str) -> SequenceResult:
        """Read a result. Raises ValueError when its file is damaged."""
        path = self.file(name)
        try:
            with np.load(path) as data:
                arrays = {key: data[key] for key in data.files}
        except (zipfile.BadZipFile, EOFError, ValueError) as error:
            raise ValueError(f'{path} is damaged ({error}): delete it, and the sequence is evaluated again') from error
        worst = [WorstFrame(int(index), int(stamp), float(miou), arrays[f'worst_labels_{k}'], arrays[f'worst_ids_{k}'])
                 for k, (index, stamp, miou) in enumerate(zip(arrays['worst_index'], arrays['worst_stamp_ns'],
                                                              arrays['worst_miou'], strict=True))]
        return SequenceResult(name, Counts.from_arrays(arrays), arrays['stamps_ns'].tolist(), worst, arrays['corrupt'].tolist())

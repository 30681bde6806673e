"""Score of what a subscriber received: grids matched to truth by stamp, latencies, drops."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.datasets.occ3d import OccupancyTruth, read_truth
from occ_perception.labels import FREE, OCC3D
from occ_perception.metrics.miou import ConfusionMatrix


@dataclass(frozen=True)
class ReceivedGrid:
    """One grid as it came over the topic.

    stamp_ns: header stamp (the reference sensor's acquisition). newest_sensor_ns: stamp of the newest sensor message of the
    set. latency_ms: from that stamp, on this computer's clock, to the callback; NaN when it cannot be told.
    labels: (nx, ny, nz) uint8. instance_ids: same shape uint16, or None.
    """

    stamp_ns: int
    newest_sensor_ns: int
    latency_ms: float
    network: str
    labels: np.ndarray
    instance_ids: np.ndarray | None = None


@dataclass(frozen=True)
class Score:
    """mIoU (classes 0..16), geometric IoU and IoU by class name, 0..1; NaN where nothing was there to score."""

    miou: float
    geometric_iou: float
    iou: dict[str, float]

    @classmethod
    def of(cls, confusion: ConfusionMatrix) -> Score:
        """Read a score off a confusion matrix."""
        iou = confusion.iou()
        by_name = {info.name: float(iou[info.id]) for info in OCC3D if info.id != FREE}
        return cls(confusion.miou(), confusion.geometric_iou(), by_name)


@dataclass(frozen=True)
class LiveScore:
    """The outcome of one run.

    due: reference stamps that should have got a grid. received: those that did, each once. unmatched: grids whose stamp has
    no truth. latencies_ms: of the received, in time order. running: (mIoU, geometric IoU) after each received frame.
    """

    network: str
    due: int
    received: int
    unmatched: int
    score: Score
    latencies_ms: tuple[float, ...]
    stamps_ns: tuple[int, ...]
    running: tuple[tuple[float, float], ...] = field(default=())

    @property
    def dropped(self) -> int:
        """Due reference stamps without a grid."""
        return self.due - self.received

    def latency_ms(self, percent: float) -> float:
        """Percentile of the latencies; NaN when none is known."""
        known = [value for value in self.latencies_ms if np.isfinite(value)]
        return float(np.percentile(known, percent)) if known else float('nan')

    def as_dict(self) -> dict:
        """Plain data for JSON: NaN becomes None, scores in percent with two decimals."""
        return {
            'network': self.network, 'due': self.due, 'received': self.received, 'dropped': self.dropped,
            'unmatched': self.unmatched, 'miou': percent(self.score.miou), 'geometric_iou': percent(self.score.geometric_iou),
            'iou': {name: percent(value) for name, value in self.score.iou.items()},
            'latency_ms': {f'p{p}': _rounded(self.latency_ms(p)) for p in (50, 95, 99)},
        }


def score_grids(grids: Iterable[ReceivedGrid], truth_files: Mapping[int, Path], due: int | None = None) -> LiveScore:
    """Score received grids against truth files by stamp; the first grid of a stamp counts, later ones are left out.

    due: how many reference stamps should have got one (default: as many as there are truth files).
    """
    confusion, unmatched, running = ConfusionMatrix(), 0, []
    matched: dict[int, ReceivedGrid] = {}
    for grid in grids:
        if grid.stamp_ns not in truth_files:
            unmatched += 1
        else:
            matched.setdefault(grid.stamp_ns, grid)
    ordered = [matched[stamp] for stamp in sorted(matched)]
    for grid in ordered:
        truth = read_truth(truth_files[grid.stamp_ns])
        confusion.add(grid.labels, truth.labels, truth.mask_camera)
        running.append((confusion.miou(), confusion.geometric_iou()))
    return LiveScore(ordered[0].network if ordered else '', len(truth_files) if due is None else due, len(ordered), unmatched,
                     Score.of(confusion), tuple(grid.latency_ms for grid in ordered), tuple(grid.stamp_ns for grid in ordered),
                     tuple(running))


def score_labels(labels: Iterable[np.ndarray], truths: Sequence[OccupancyTruth]) -> Score:
    """Score of label arrays (200, 200, 16), one for each truth."""
    confusion = ConfusionMatrix()
    for prediction, truth in zip(labels, truths, strict=True):
        confusion.add(prediction, truth.labels, truth.mask_camera)
    return Score.of(confusion)


def save_run(folder: Path, grids: Iterable[ReceivedGrid], score: LiveScore) -> None:
    """Write the received grids (received/<stamp_ns>.npz, the first of each stamp) and score.json."""
    (folder / 'received').mkdir(parents=True, exist_ok=True)
    for old in (folder / 'received').glob('*.npz'):
        old.unlink()
    first: dict[int, ReceivedGrid] = {}
    for grid in grids:
        first.setdefault(grid.stamp_ns, grid)
    for grid in first.values():
        instances: dict[str, Any] = {} if grid.instance_ids is None else {'instance_ids': grid.instance_ids}
        np.savez_compressed(folder / 'received' / f'{grid.stamp_ns}.npz', labels=grid.labels, latency_ms=grid.latency_ms,
                            newest_sensor_ns=grid.newest_sensor_ns, network=grid.network, **instances)
    (folder / 'score.json').write_text(json.dumps(score.as_dict(), indent=2) + '\n')


def load_grids(folder: Path) -> list[ReceivedGrid]:
    """Read back the received grids that `save_run` wrote, in time order."""
    grids = []
    for path in sorted((folder / 'received').glob('*.npz'), key=lambda path: int(path.stem)):
        with np.load(path) as data:
            grids.append(ReceivedGrid(int(path.stem), int(data['newest_sensor_ns']), float(data['latency_ms']),
                                      str(data['network']), data['labels'], data.get('instance_ids')))
    return grids


def percent(share: float) -> float | None:
    """0..1 as percent with two decimals, None for NaN (as JSON has no NaN)."""
    return None if np.isnan(share) else round(100 * share, 2)


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 1)

"""Scores of tracked objects against truth: MOTA, IDF1, switches, fragmentations (py-motmetrics), and velocity errors.

Objects match when their class is the same and their centres lie within 2 m of each other on the ground, as in nuScenes' tracking
task (Caesar et al., 2020); MOTA and fragmentations after Bernardin and Stiefelhagen (2008), IDF1 after Ristani et al. (2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.labels import OCC3D, THINGS
from occ_perception.runtime.frames import Instance
from occ_perception.runtime.instances import number_groups

MATCH_M = 2.0
"""Largest distance of matched centres on the ground."""
MOVING_M_S = 0.5
"""Speed over ground from which an object counts as moving."""
MIN_VISIBLE_VOXELS = 3


@dataclass(frozen=True)
class TruthObject:
    """One true object of a frame, ego frame: centre of its voxels' box [m], velocity over ground [m/s], both (x, y).

    scored: whether it must be found; one that cannot be seen may be found or not.
    """

    id: int
    label: int
    center_m: tuple[float, float]
    velocity_m_s: tuple[float, float]
    scored: bool


@dataclass(frozen=True)
class TrackingRow:
    """Figures of one class or of all. mota, idf1, recall, precision: shares, NaN where nothing was there to score.

    objects: true objects times frames; tracks: true objects; mostly_tracked: those found in at least 80 % of their frames.
    velocity_error_m_s: mean length of the velocity's error over the matched moving objects, velocity_median_m_s its median;
    standing_speed_m_s: mean speed told for matched objects that stand still.
    """

    name: str
    objects: int
    tracks: int
    mota: float
    idf1: float
    recall: float
    precision: float
    switches: int
    fragmentations: int
    mostly_tracked: int
    velocity_error_m_s: float
    velocity_median_m_s: float
    standing_speed_m_s: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, NaN as None."""
        def plain(value: Any) -> Any:
            return value if not isinstance(value, float) else None if np.isnan(value) else round(value, 4)

        return {key: plain(value) for key, value in asdict(self).items()}


def truth_objects(instances: np.ndarray, semantics: np.ndarray, flow: np.ndarray, visible: np.ndarray,
                  grid: VoxelGridSpec) -> list[TruthObject]:
    """The thing objects of a true frame on a grid.

    instances (nx, ny, nz) ids, 0 = none; semantics Occ3D labels; flow (nx, ny, nz, 2) m/s over ground; visible nonzero where a
    camera sees the voxel: an object is scored when MIN_VISIBLE_VOXELS of its voxels are.
    """
    voxels = np.flatnonzero(instances)
    if not len(voxels):
        return []
    true_id, group = np.unique(instances.reshape(-1)[voxels], return_inverse=True)
    label = semantics.reshape(-1)[voxels]
    numbers, boxes = number_groups(voxels, label, group, np.ones(len(true_id)), grid)
    number = numbers.reshape(-1)[voxels]
    first = np.zeros(len(boxes) + 1, np.int64)
    first[number[::-1]] = voxels[::-1]
    seen = np.bincount(number, weights=visible.reshape(-1)[voxels] != 0, minlength=len(boxes) + 1)
    out = []
    for box in boxes:
        at = first[box.id]
        vx, vy = flow.reshape(-1, 2)[at].astype(float)
        out.append(TruthObject(int(instances.reshape(-1)[at]), box.label, box.center_m[:2], (vx, vy),
                               bool(seen[box.id] >= MIN_VISIBLE_VOXELS)))
    return out


class TrackingScore:
    """Adds up frames of one or several streams, then gives the figures.

    Raises ModuleNotFoundError that says what to install where py-motmetrics is missing.
    """

    def __init__(self, labels: Sequence[int] = THINGS) -> None:
        try:
            import motmetrics
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError('scoring tracks needs py-motmetrics: pip install motmetrics') from error
        self._library = motmetrics
        self._labels = tuple(labels)
        self._streams: list[dict[int, _ClassStream]] = []

    def begin_stream(self) -> None:
        """What comes from now on is of another street: ids have nothing to do with those before."""
        self._streams.append({label: _ClassStream(self._library.MOTAccumulator(auto_id=True)) for label in self._labels})

    def add(self, truth: Sequence[TruthObject], found: Sequence[Instance]) -> None:
        """Count a frame of the present stream, in time order; both in the ego frame of that moment."""
        if not self._streams:
            self.begin_stream()
        for label, stream in self._streams[-1].items():
            stream.add([one for one in truth if one.label == label], [one for one in found if one.label == label])

    def rows(self) -> list[TrackingRow]:
        """One row per class that was there or was found, then one of all."""
        names = {info.id: info.name for info in OCC3D}
        present = [label for label in self._labels if any(stream[label].busy for stream in self._streams)]
        return [*(self._row(names[label], [label]) for label in present), self._row('all', present)]

    def _row(self, name: str, labels: Sequence[int]) -> TrackingRow:
        streams = [stream[label] for stream in self._streams for label in labels]
        figures: Mapping[str, float] = {}
        if streams:
            wanted = ['num_objects', 'num_unique_objects', 'mota', 'idf1', 'recall', 'precision', 'num_switches',
                      'num_fragmentations', 'mostly_tracked']
            figures = self._library.metrics.create().compute_many(
                [stream.accumulator for stream in streams], names=[str(i) for i in range(len(streams))], metrics=wanted,
                generate_overall=True).loc['OVERALL']
        pairs = np.array([pair for stream in streams for pair in stream.speeds_and_errors()]).reshape(-1, 2)
        moving = pairs[:, 0] > MOVING_M_S

        def count(key: str) -> int:
            return int(figures.get(key, 0))

        def share(key: str) -> float:
            return float(figures.get(key, np.nan))

        return TrackingRow(
            name, count('num_objects'), count('num_unique_objects'), share('mota'), share('idf1'), share('recall'),
            share('precision'), count('num_switches'), count('num_fragmentations'), count('mostly_tracked'),
            _mean(pairs[moving, 1]), float(np.median(pairs[moving, 1])) if moving.any() else float('nan'), _mean(pairs[~moving, 1]))


class _ClassStream:
    """One class in one stream."""

    def __init__(self, accumulator: Any) -> None:
        self.accumulator = accumulator
        self.busy = False
        self._true_velocity: dict[tuple[int, int], tuple[float, float]] = {}
        self._told_velocity: dict[tuple[int, int], tuple[float, float]] = {}

    def add(self, truth: Sequence[TruthObject], found: Sequence[Instance]) -> None:
        near = _distances(truth, found) <= MATCH_M
        scored = np.array([one.scored for one in truth], bool)
        # Finding what cannot be seen is neither right nor wrong.
        counted = near[scored].any(axis=0) | ~near[~scored].any(axis=0)
        truth = [one for one in truth if one.scored]
        found = [one for one, counts in zip(found, counted, strict=True) if counts]
        distance = _distances(truth, found)
        frame = self.accumulator.update([one.id for one in truth], [one.id for one in found],
                                        np.where(distance <= MATCH_M, distance, np.nan))
        self.busy |= bool(truth or found)
        self._true_velocity.update(((frame, one.id), one.velocity_m_s) for one in truth)
        self._told_velocity.update(((frame, one.id), one.velocity_m_s[:2]) for one in found)

    def speeds_and_errors(self) -> list[tuple[float, float]]:
        """True speed and length of the velocity's error of each match, m/s."""
        events = self.accumulator.mot_events
        matched = events[events.Type.isin(['MATCH', 'SWITCH'])]
        frames = matched.index.get_level_values('FrameId')
        out = []
        for frame, true_id, found_id in zip(frames, matched.OId, matched.HId, strict=True):
            right, told = self._true_velocity[frame, int(true_id)], self._told_velocity[frame, int(found_id)]
            out.append((float(np.hypot(*right)), float(np.hypot(told[0] - right[0], told[1] - right[1]))))
        return out


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float('nan')


def _distances(truth: Sequence[TruthObject], found: Sequence[Instance]) -> np.ndarray:
    """Distance of centres on the ground, (truth, found)."""
    right = np.array([one.center_m for one in truth]).reshape(-1, 1, 2)
    told = np.array([one.center_m[:2] for one in found]).reshape(1, -1, 2)
    return np.linalg.norm(right - told, axis=2)

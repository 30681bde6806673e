"""What a network must beat: a constant label per voxel, and LiDAR hits labelled by place. Both know the training streets only.

(a) The best constant-per-voxel prior: for each figure (mIoU, geometric IoU) the map that scores best on the training truth
    itself, so the baseline is as strong as a constant can be made without looking at the test streets.
(b) Every voxel hit by the LiDAR sweep gets the likeliest occupied class of its place, all else is free.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import FREE
from occ_perception.metrics.miou import NUM_CLASSES, ConfusionMatrix


@dataclass(frozen=True)
class Prior:
    """Constant maps on the Occ3D grid, each (200, 200, 16) uint8 Occ3D ids.

    constant: best for mIoU, geometry: best for geometric IoU, likeliest: likeliest occupied class (never free).
    rule: how `constant` was chosen. miou, geometric_iou: what the maps score on the training truth, 0..1.
    """

    constant: np.ndarray
    geometry: np.ndarray
    likeliest: np.ndarray
    rule: str
    miou: float
    geometric_iou: float

    def label_hits(self, hits: np.ndarray) -> np.ndarray:
        """Baseline (b): labels (200, 200, 16) uint8 from hits, bool of the same shape: voxels that LiDAR points lie in."""
        return np.where(hits, self.likeliest, FREE).astype(np.uint8)

    def label_points(self, points: np.ndarray, grid: VoxelGridSpec = OCC3D_GRID) -> np.ndarray:
        """Baseline (b) from points (M, >=3) in metres, ego frame at the reference stamp."""
        index, inside = grid.indices(points)
        hits = np.zeros(grid.shape, bool)
        hits[tuple(index[inside].T)] = True
        return self.label_hits(hits)

    def save(self, path: Path | str) -> None:
        """Write as compressed npz (about 100 kB)."""
        np.savez_compressed(path, constant=self.constant, geometry=self.geometry, likeliest=self.likeliest,
                            rule=np.array(self.rule), miou=np.float64(self.miou), geometric_iou=np.float64(self.geometric_iou))

    @classmethod
    def load(cls, path: Path | str) -> Prior:
        """Read what `save` wrote; raises FileNotFoundError when absent."""
        if not Path(path).is_file():
            raise FileNotFoundError(f'{path}: no prior; fit one on the training truth with occ_perception.training.baselines')
        with np.load(path) as data:
            return cls(data['constant'], data['geometry'], data['likeliest'], str(data['rule']), float(data['miou']),
                       float(data['geometric_iou']))


def fit_prior(frames: Iterable[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int, int] = OCC3D_GRID.shape) -> np.ndarray:
    """Count labels per voxel over training frames (labels, mask_camera): (18, nx, ny, nz) uint32, scored voxels only."""
    counts = np.zeros((NUM_CLASSES, *shape), np.uint32)
    flat = counts.reshape(-1)
    voxel = np.arange(int(np.prod(shape)))
    for labels, mask in frames:
        scored = np.asarray(mask).astype(bool).ravel() & (np.asarray(labels).ravel() < NUM_CLASSES)
        flat[np.asarray(labels).ravel()[scored].astype(np.int64) * voxel.size + voxel[scored]] += 1
    return counts


def make_prior(counts: np.ndarray, rounds: int = 30) -> Prior:
    """Choose the maps from `fit_prior`'s counts.

    The constant map is the best on the training truth of: the plain majority label per voxel; majorities with rare classes
    weighted by 1 / frequency ** power; and from the best of these an ascent of mIoU itself (each voxel takes the label whose
    first-order gain in mIoU is largest). Raises ValueError when the counts are empty.
    """
    seen = counts.sum(axis=0)
    if not seen.any():
        raise ValueError('no voxel was counted: give fit_prior training frames with a camera mask that is not empty')
    flat = counts.reshape(NUM_CLASSES, -1).astype(np.float32)
    total = flat.sum(axis=1, dtype=np.float64)
    candidates = [('majority label per voxel', flat.argmax(axis=0))]
    for power in (0.25, 0.5, 0.75, 1.0):
        weight = np.where(total > 0, np.maximum(total, 1) ** -power, 0).astype(np.float32)
        candidates.append((f'majority, weights 1 / frequency ** {power}', (flat * weight[:, None]).argmax(axis=0)))
    scored = [(_miou(flat, labels), rule, labels) for rule, labels in candidates]
    best, rule, labels = max(scored, key=lambda entry: entry[0])
    current = labels
    for _ in range(rounds):
        current = _ascend(flat, current, total)
        value = _miou(flat, current)
        if value > best:
            best, rule, labels = value, 'ascent of mIoU on the training truth', current
    labels = np.where(seen.ravel() > 0, labels, FREE)

    occupied = flat[:FREE].sum(axis=0)
    likeliest = _fill_unseen(counts)
    geometry, geometric = _best_occupancy(occupied, flat.sum(axis=0))
    return Prior(labels.astype(np.uint8).reshape(seen.shape),
                 np.where(geometry.reshape(seen.shape), likeliest, FREE).astype(np.uint8),
                 likeliest, rule, best, geometric)


def _confusion(flat: np.ndarray, labels: np.ndarray) -> ConfusionMatrix:
    """Confusion of a constant map (n,) with the counted frames (18, n)."""
    matrix = np.stack([np.bincount(labels, weights=row, minlength=NUM_CLASSES) for row in flat])
    return ConfusionMatrix(matrix.round())


def _miou(flat: np.ndarray, labels: np.ndarray) -> float:
    return _confusion(flat, labels).miou()


def _ascend(flat: np.ndarray, labels: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Labels (n,) that maximise the first-order change of mIoU around the map `labels`."""
    counts = _confusion(flat, labels).counts
    hits, column = np.diag(counts).astype(np.float64), counts.sum(axis=0).astype(np.float64)
    union = np.maximum(total + column - hits, 1.0)
    seen = flat.sum(axis=0)
    best, choice = np.zeros_like(seen), np.full(seen.size, FREE)
    for label in np.flatnonzero(total[:FREE]):
        per_hit, per_voxel = (union + hits)[label] / union[label] ** 2, hits[label] / union[label] ** 2
        gain = flat[label] * np.float32(per_hit) - seen * np.float32(per_voxel)
        better = gain > best
        best[better], choice[better] = gain[better], label
    return choice


def _best_occupancy(occupied: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, float]:
    """Voxels (n,) bool to call occupied for the highest geometric IoU: those above the best threshold of P(occupied)."""
    share = np.divide(occupied, seen, out=np.zeros_like(occupied), where=seen > 0)
    order = np.argsort(-share)
    hit, said = np.cumsum(occupied[order], dtype=np.float64), np.cumsum(seen[order], dtype=np.float64)
    iou = hit / (said + hit[-1] - hit)
    cut = int(iou.argmax())
    chosen = np.zeros(occupied.size, bool)
    chosen[order[:cut + 1]] = True
    return chosen, float(iou[cut])


def _fill_unseen(counts: np.ndarray) -> np.ndarray:
    """Likeliest occupied class per voxel, (nx, ny, nz) uint8; where none was ever seen, that of the voxel's layer."""
    occupied = counts[:FREE]
    layer = occupied.sum(axis=(1, 2)).argmax(axis=0)
    layer = np.where(occupied.sum(axis=(0, 1, 2)) > 0, layer, occupied.sum(axis=(1, 2, 3)).argmax())
    return np.where(occupied.any(axis=0), occupied.argmax(axis=0), layer[None, None]).astype(np.uint8)

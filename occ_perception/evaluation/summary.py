"""What counts say, as one JSON object and as a table; shares in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.evaluation.counts import Counts
from occ_perception.labels import OCC3D_NUSCENES, LabelSet
from occ_perception.metrics.ray_iou import THRESHOLDS_M


def summary(counts: Counts, labels: LabelSet = OCC3D_NUSCENES) -> dict[str, Any]:
    """Scores by name, percent with six decimals; None where there was nothing to score.

    labels: what the voxels of the data set mean.
    miou_camera_mask (Occ3D's benchmark), miou (all voxels), geometric_iou_camera_mask, geometric_iou; with rays ray_iou, ray_iou@1,
    @2, @4 (metres); ray_pq and its parts where truth has instances; mave (m/s) and occ_score, of the CVPR 2024 challenge, where it
    has flow; lidarseg_miou (LiDAR points, noise left out, the devkit's) and lidarseg_miou_with_noise (as PanoOcc prints it) where
    the network labels points and the data set does; classes: the same for each class.
    """
    seen, everywhere = counts.confusion(), counts.confusion(seen=False)
    out: dict[str, Any] = {'frames': counts.frames, 'miou_camera_mask': percent(seen.miou()), 'miou': percent(everywhere.miou()),
                           'geometric_iou_camera_mask': percent(seen.geometric_iou()),
                           'geometric_iou': percent(everywhere.geometric_iou())}
    by_class = {'iou_camera_mask': seen.iou(), 'iou': everywhere.iou()}
    if counts.ray_frames:
        out |= {_plain(name): percent(value) for name, value in counts.ray_iou.scores().items()}
        rays = counts.ray_iou.iou()
        by_class |= {'ray_iou': _mean(rays)} | {f'ray_iou@{t}': row for t, row in zip(THRESHOLDS_M, rays, strict=True)}
    if counts.pq_frames:
        out |= {_plain(name): percent(value) for name, value in counts.ray_pq.scores().items()}
        by_class['ray_pq'] = _mean(counts.ray_pq.pq())
    if counts.flow_frames:
        flow = counts.flow.scores()
        out['mave'], out['occ_score'] = _known(flow['mAVE'], 6), percent(flow['OccScore'])
    if counts.points.counts.any():
        out['lidarseg_miou'] = percent(counts.points.devkit_miou())
        out['lidarseg_miou_with_noise'] = percent(counts.points.panoocc_miou())
        by_class['lidarseg_iou'] = counts.points.devkit_iou()
    out['classes'] = {info.name: {name: percent(float(values[info.id])) for name, values in by_class.items()}
                      for info in labels.occupied}
    if counts.flow_frames:
        for info in labels.occupied:
            if info.thing:
                out['classes'][info.name]['ave'] = _known(float(counts.flow.ave()[info.id]), 6)
    return out


def published(row: NetworkEntry) -> dict[str, float]:
    """Figures of the network's authors on the val scenes of nuScenes, by the names of `summary`; none where there are none."""
    out = {}
    if row.published is not None:
        out[{'RayIoU': 'ray_iou', 'lidarseg mIoU': 'lidarseg_miou'}.get(row.published_as, 'miou_camera_mask')] = row.published
    if row.published_pq is not None:
        out['ray_pq'] = row.published_pq
    return out


def table(scores: dict[str, Any]) -> str:
    """The scores of `summary` as lines of text."""
    columns = [('iou_camera_mask', 'mask IoU'), ('iou', 'IoU'), ('ray_iou', 'RayIoU'), ('ray_pq', 'RayPQ'), ('ave', 'AVE m/s'),
               ('lidarseg_iou', 'points')]
    there = [(name, title) for name, title in columns if any(name in values for values in scores['classes'].values())]
    lines = [f'{"":24}' + ''.join(f'{title:>11}' for _, title in there)]
    for name, values in scores['classes'].items():
        lines.append(f'{name.replace("_", " "):24}' + ''.join(f'{_text(values.get(name)):>11}' for name, _ in there))
    means = [scores['miou_camera_mask'], scores['miou'], scores.get('ray_iou'), scores.get('ray_pq'), scores.get('mave'),
             scores.get('lidarseg_miou')]
    shown = {name for name, _ in there}
    lines.append(f'{"mean":24}' + ''.join(f'{_text(mean):>11}' for mean, (name, _) in zip(means, columns, strict=True)
                                          if name in shown))
    lines.append(f'{"occupied or free":24}{_text(scores["geometric_iou_camera_mask"]):>11}{_text(scores["geometric_iou"]):>11}')
    if 'ray_iou' in scores:
        parts = [f'at {t} m {_text(scores[f"ray_iou@{t}"])}' for t in THRESHOLDS_M]
        lines.append('RayIoU ' + ', '.join(parts))
    if 'ray_pq' in scores:
        lines.append('RayPQ  ' + ', '.join(f'at {t} m {_text(scores[f"ray_pq@{t}"])}' for t in THRESHOLDS_M))
    return '\n'.join(lines)


def percent(share: float) -> float | None:
    """0..1 as percent with six decimals; None for NaN, which JSON has not."""
    return _known(100 * share, 6)


def total(parts: Sequence[Counts]) -> Counts:
    """Sum of counts."""
    whole = Counts()
    for part in parts:
        whole += part
    return whole


def _known(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else round(value, digits)


def _plain(name: str) -> str:
    """RayIoU@1 -> ray_iou@1."""
    return name.replace('RayIoU', 'ray_iou').replace('RayPQ', 'ray_pq')


def _mean(rows: np.ndarray) -> np.ndarray:
    """Mean over thresholds (axis 0) of the classes' known values; NaN where none is."""
    known = ~np.isnan(rows)
    return np.divide(np.where(known, rows, 0).sum(axis=0), known.sum(axis=0), out=np.full(rows.shape[1], np.nan),
                     where=known.any(axis=0))


def _text(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'

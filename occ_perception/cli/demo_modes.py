"""What each sensor brings: one network with cameras and LiDAR, with either alone, on frames of the demo's street."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from occ_perception.datasets.bag_frames import BagFrames
from occ_perception.datasets.occ3d import read_truth
from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.labels import FREE, UNKNOWN
from occ_perception.runtime.frames import SensorFrame
from occ_perception.runtime.live_score import Score, score_labels

MODES: dict[str, Callable[[SensorFrame], SensorFrame]] = {
    'cameras alone': lambda frame: replace(frame, sweeps=()), 'LiDAR alone': lambda frame: replace(frame, cameras={}),
    'cameras and LiDAR': lambda frame: frame}
"""Mode -> what it leaves of a frame."""
MOST_FRAMES = 10


def compare_modes(network: str, bag: BagFrames, truth: dict[int, Path], sheet: Path) -> dict[str, Score]:
    """Score of every mode on at most MOST_FRAMES of the frames with truth, evenly chosen, and a sheet of the middle one's pictures.

    The Predictor runs here, without nodes. Empty, with a line that says why, where the network cannot run.
    """
    from occ_perception.pictures.sheet import write_sheet
    from occ_perception.runtime.predictor import Predictor

    try:
        predictor = Predictor(network)
    except (EngineUnavailable, ValueError) as error:
        print(f'cameras and LiDAR are not compared: {error}')
        return {}
    stamps = list(truth)[::-(-len(truth) // MOST_FRAMES)]
    truths = {stamp: read_truth(truth[stamp]) for stamp in stamps}
    labels: dict[str, list[np.ndarray]] = {mode: [] for mode in MODES}
    for stamp in tqdm(stamps, unit='frame', desc=f'{network}, each sensor'):
        frame = bag.frame(stamp, predictor.entry.lidar)
        for mode, kept in labels.items():
            predictor.reset()
            kept.append(_answer(predictor.predict(MODES[mode](frame)).labels))
    scores = {mode: score_labels(kept, list(truths.values())) for mode, kept in labels.items()}
    middle = len(stamps) // 2
    shown = truths[stamps[middle]]
    tiles = [(f'{mode}: {100 * scores[mode].miou:.1f} mIoU, {100 * scores[mode].geometric_iou:.1f} geometric IoU',
              np.where(shown.mask_camera.astype(bool), labels[mode][middle], FREE)) for mode in MODES]
    write_sheet([*tiles, ('truth', np.where(shown.mask_camera.astype(bool), shown.labels, FREE))], sheet,
                f'{network}: what each sensor brings (voxels that a camera can see)')
    return scores


def _answer(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == UNKNOWN, FREE, labels)

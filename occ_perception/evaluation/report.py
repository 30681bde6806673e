"""Draws the page of an evaluation: the worst frames of all sequences with their pictures and truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from occ_perception.datasets.sequences import DrivingSequence
from occ_perception.evaluation.sequence_run import SequenceResult, WorstFrame
from occ_perception.pictures.composite import FramePicture, compose
from occ_perception.pictures.evaluation_page import EvaluationPage, SequenceRow, write_evaluation

NOTES = (
    "mIoU is Occ3D's: one confusion matrix over all frames, mean over the 17 classes that occur in truth or prediction; under the "
    'camera mask it is the benchmark figure. Geometric IoU is occupied against free.',
    'A voxel answered "unknown" counts as free in every metric: not answering is a miss where something stands and gains nothing '
    'elsewhere.',
    "RayIoU and RayPQ are SparseOcc's: LiDAR-like rays from up to eight places of the scene, no visibility mask.",
    'Frames run through the Predictor in the order of their stamps, and its memory is cleared between sequences, as it is live.',
    'The worst frames are those with the lowest mIoU of their own under the camera mask.',
)
_FACTS = ('weights', 'weights_sha256', 'backend', 'precision', 'memory', 'labels', 'split')


def write_report(path: Path, scores: Mapping[str, Any], results: Sequence[SequenceResult], sequences: Sequence[DrivingSequence],
                 pictures: int, notes: Sequence[str] = ()) -> None:
    """Write the page with so many of the worst frames. scores: the JSON object of the evaluation."""
    rows = []
    for result in results:
        confusion = result.counts.confusion()
        rows.append(SequenceRow(result.name, result.counts.frames, confusion.miou(), confusion.geometric_iou()))
    title = f'{scores["network"]} on {Path(scores["data"]).name}'
    subtitle = f'{len(results)} sequences, {scores["frames"]} frames of {scores["data"]}'
    facts = {name: str(scores[name]) for name in _FACTS if scores.get(name)}
    worst = draw_worst(results, sequences, pictures, scores['network'])
    write_evaluation(EvaluationPage(title, subtitle, scores, worst, rows, (*notes, *NOTES), facts), path)


def draw_worst(results: Sequence[SequenceResult], sequences: Sequence[DrivingSequence], count: int,
               title: str) -> list[Image.Image]:
    """Composites of the frames with the lowest mIoU of all sequences, the worst first."""
    by_name = {sequence.name: sequence for sequence in sequences}
    ranked: list[tuple[SequenceResult, WorstFrame]] = sorted(
        ((result, frame) for result in results for frame in result.worst), key=lambda entry: (entry[1].miou, entry[1].stamp_ns))
    drawn = []
    for result, worst in tqdm(ranked[:count], unit='picture', desc='drawing', disable=count == 0):
        sequence = by_name[result.name]
        frame = sequence.frame(worst.index)
        assert frame.truth is not None
        drawn.append(compose(FramePicture(
            f'{title}, {result.name}', worst.index, len(sequence), (worst.stamp_ns - sequence.moments[0].stamp_ns) * 1e-9,
            {name: camera.image for name, camera in frame.sensors.cameras.items()}, worst.labels, frame.truth, worst.instance_ids,
            miou=worst.miou, score_name='mIoU of this frame', source='Predicted')))
    return drawn

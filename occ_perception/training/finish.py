"""What a training run leaves behind: weights, ONNX, the prior that it must beat, and a card with the scores of all three."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from occ_perception.checkpoints import load_weights, save_weights
from occ_perception.engines.export import export_onnx
from occ_perception.labels import FREE, OCC3D
from occ_perception.metrics.miou import ConfusionMatrix
from occ_perception.networks.effocc.network import EffOcc
from occ_perception.training.baselines import Prior, fit_prior, make_prior
from occ_perception.training.calibrate import calibrate
from occ_perception.training.evaluate import FlowError, evaluate, evaluate_flow
from occ_perception.training.inputs import CAMERAS, LIDAR, NOTHING, build_trainable
from occ_perception.training.loop import Trainer
from occ_perception.training.samples import load_sample


def write_results(trainer: Trainer, files: Sequence[Path], calibration: Sequence[Path], held_out: Sequence[Path], folder: Path,
                  command: str, bf16: bool) -> None:
    """Write NAME.safetensors, NAME.onnx, NAME_prior.npz and NAME.md into folder.

    files: the training samples, for the prior; calibration: samples for the class offsets; held_out: samples of streets that
    neither has seen, for the scores.
    """
    name = trainer.plan.network
    weights = folder / f'{name}.safetensors'
    network = build_trainable(name)
    network.load_state_dict(trainer.average.state)
    offsets = calibrate(network, trainer.row, calibration, bf16)
    print('class offsets: ' + ', '.join(f'{info.name} {offset:+.1f}' for info, offset in zip(OCC3D, offsets, strict=True)))
    save_weights(network.state_dict(), weights, {'network': name, 'command': command, 'steps': str(trainer.step)})
    load_weights(network, weights)
    prior = make_prior(fit_prior(_truth(files)))
    prior.save(folder / f'{name}_prior.npz')
    export_onnx(name, weights, folder / f'{name}.onnx')
    modes = {'network': NOTHING, **({'without_lidar': LIDAR, 'without_cameras': CAMERAS} if trainer.row.maskable else {})}
    scores = {kind: evaluate(network, trainer.row, held_out, bf16, masked) for kind, masked in modes.items()}
    flow = evaluate_flow(network, trainer.row, held_out, bf16) if isinstance(network, EffOcc) and network.config.flow else None
    card = card_text(trainer, command, len(files), held_out, {**scores, **score_baselines(prior, held_out)}, flow)
    (folder / f'{name}.md').write_text(card)
    print(card)


def _truth(files: Sequence[Path]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for path in files:
        sample = load_sample(path)
        yield sample.labels, sample.visible


def score_baselines(prior: Prior, held_out: Sequence[Path]) -> dict[str, ConfusionMatrix]:
    """Confusion of the constant prior (best for mIoU, best for geometry) and of labelled LiDAR hits on the held-out samples."""
    scores = {name: ConfusionMatrix() for name in ('prior', 'prior_geometry', 'lidar')}
    for path in held_out:
        sample = load_sample(path)
        scores['prior'].add(prior.constant, sample.labels, sample.visible)
        scores['prior_geometry'].add(prior.geometry, sample.labels, sample.visible)
        scores['lidar'].add(np.where(sample.lidar_hits, prior.likeliest, FREE), sample.labels, sample.visible)
    return scores


def card_text(trainer: Trainer, command: str, frames: int, held_out: Sequence[Path], scores: dict[str, ConfusionMatrix],
              flow: FlowError | None = None) -> str:
    """The card in Markdown; its first JSON block holds the figures for machines."""
    plan = trainer.plan
    figures: dict[str, object] = {
        kind: {'miou': round(100 * matrix.miou(), 2), 'geometric_iou': round(100 * matrix.geometric_iou(), 2)}
        for kind, matrix in scores.items()}
    if flow is not None:
        figures['velocity_error_m_s'] = {kind: round(value, 2) for kind, value in asdict(flow).items()}
    streets = sorted({path.name.split('-')[0] for path in held_out})
    lines = [f'# {plan.network}', '', 'Trained on the sample world (generated streets), not on any recorded data.', '',
             f'- command: `{command}`', f'- data: {frames} frames of training streets; seed {plan.seed}',
             f'- steps: {plan.steps} of {plan.batch_size} frames',
             f'- held out: {len(held_out)} frames of {len(streets)} streets (seeds {streets[0]} to {streets[-1]}), '
             'Occ3D mIoU over 17 classes under the camera mask']
    if flow is not None:
        lines.append('- velocity error: mean length of the errors over visible voxels of things that the network finds to be '
                     'things; `told_nothing` is what zero velocities would give on those that move')
    shown = {kind: title for kind, title in (('network', 'network'), ('without_lidar', 'without LiDAR'),
                                             ('without_cameras', 'without cameras'), ('prior', 'prior (a)'),
                                             ('lidar', 'LiDAR hits (b)')) if kind in scores}
    lines += ['', '```json', json.dumps(figures, indent=1), '```', '', '| class | ' + ' | '.join(shown.values()) + ' |',
              '|' + '---|' * (1 + len(shown))]
    columns = [scores[kind].iou() for kind in shown]
    lines += [f'| {info.name} | ' + ' | '.join(f'{100 * column[info.id]:.1f}' for column in columns) + ' |'
              for info in OCC3D[:FREE]]
    return '\n'.join(lines) + '\n'

"""`occ train`: render streets, train, score on streets that training never saw, write weights and card."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `occ train`."""
    parser.add_argument('network', choices=['scocc_sample', 'scocc_sample_2f', 'effocc_sample'], help='what to train')
    parser.add_argument('--streets', type=int, default=300, help='training streets, one seed each')
    parser.add_argument('--first-street', type=int, default=0, help='leave out so many of the training streets')
    parser.add_argument('--start', default='', metavar='WEIGHTS', help='begin from these weights, of the network itself or of its '
                        'one-frame form; of a network of cameras for the pictures of one with LiDAR (default: random ones)')
    parser.add_argument('--frozen-pictures', action='store_true', help='leave backbone and neck of the pictures as they begin')
    parser.add_argument('--warm-up', type=int, default=200, help='steps until the learning rate has its peak')
    parser.add_argument('--calibration', type=int, default=4, help='streets on which the class offsets are chosen')
    parser.add_argument('--frames', type=int, default=6, help='frames rendered of each training street')
    parser.add_argument('--held-out', type=int, default=12, help='streets of the final score')
    parser.add_argument('--steps', type=int, default=5000, help='optimiser steps')
    parser.add_argument('--batch', type=int, default=4, help='frames per step')
    parser.add_argument('--learning-rate', type=float, default=2e-3, help='peak of AdamW, reached after the warm-up')
    parser.add_argument('--seed', type=int, default=0, help='of initial weights, order and augmentation')
    parser.add_argument('--data', type=Path, default=Path('data/training'), help='folder of the rendered samples; reused')
    parser.add_argument('--out', type=Path, default=Path('out/train'), help='folder of checkpoint, log, weights and card; a run '
                        'that was stopped goes on from its checkpoint')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='processes that render')
    parser.add_argument('--precision', choices=['auto', 'bf16', 'f32'], default='auto',
                        help='auto: bf16 where the processor multiplies it natively')


def run(arguments: argparse.Namespace) -> int:
    """Run `occ train`."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('training needs PyTorch: pip install torch==2.13.0, or run `make setup-test`') from error
    from occ_perception.catalogue import entry
    from occ_perception.machine import multiplies_bf16
    from occ_perception.training.finish import write_results
    from occ_perception.training.loop import TrainingPlan, train
    from occ_perception.training.prepare import (
        FIRST_CALIBRATION_STREET,
        FIRST_HELD_OUT_STREET,
        FIRST_TRAINING_STREET,
        count_classes,
        prepare,
    )

    bf16 = arguments.precision == 'bf16' or (arguments.precision == 'auto' and multiplies_bf16())
    plan = TrainingPlan(arguments.network, arguments.steps, arguments.batch, arguments.learning_rate,
                        warmup_steps=arguments.warm_up, seed=arguments.seed, start=arguments.start,
                        frozen_pictures=arguments.frozen_pictures)
    row = entry(plan.network)
    first_seed = FIRST_TRAINING_STREET + arguments.first_street
    seeds = range(first_seed, first_seed + arguments.streets)
    files = prepare(seeds, arguments.frames, arguments.data, row.name, arguments.jobs)
    print(f'{len(files)} training frames; torch {torch.__version__}, '
          f'{torch.get_num_threads()} threads, {"bf16" if bf16 else "f32"}')
    for trainer, losses in train(plan, files, count_classes(files), arguments.out, bf16):
        print(f'step {trainer.step}: ' + ', '.join(f'{name} {value:.3f}' for name, value in losses.items()), flush=True)
    # rendered last, so that training starts as early as it can
    calibration, held_out = (
        prepare(range(first, first + count), arguments.frames, arguments.data, row.name, arguments.jobs, held_out=True)
        for first, count in ((FIRST_CALIBRATION_STREET, arguments.calibration), (FIRST_HELD_OUT_STREET, arguments.held_out)))
    command = 'occ ' + shlex.join(sys.argv[1:])
    write_results(trainer, files, calibration, held_out, arguments.out, command, bf16)
    return 0

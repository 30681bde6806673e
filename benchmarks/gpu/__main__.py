"""Every network of the catalogue on this machine's GPU: `python -m benchmarks.gpu [--only PATTERN ...] [--budget 9m]`.

TensorRT in float32, float16 and int8, beside eager PyTorch (float32; channels last; float16 autocast) and `torch.compile` with CUDA
graphs in float32 and float16: medians and 95th percentiles of calls taken in turn, agreement of the labels with float32 of
PyTorch without TF32, GPU memory, and the least time that the arithmetic and the bytes can take. The history of every network is
full. Weights are the shipped ones, or random ones, whose labels say little.

A step (a network in one of these) that is done is left out unless --again, so the suite may be stopped at any time, killed, and
called again until everything is done. It needs no network access. Where TensorRT is not installed the others run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.gpu.suite import CPU, PRECISIONS, Outcome, Record, Step, planned, run_suite, seconds_of
from benchmarks.gpu.worker import Worker, device_found
from benchmarks.published_speed import PUBLISHED_SPEEDS
from benchmarks.recording import RESULTS
from occ_perception.catalogue import NETWORKS


def main() -> int:
    """Measure what is due, keep it, and say what was left out and why."""
    arguments = _parser().parse_args()
    try:
        steps = planned(NETWORKS, arguments.only, arguments.precision)
        budget = None if arguments.budget is None else seconds_of(arguments.budget)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.out is None and arguments.device == 'cpu':
        print('--device cpu is a trial, whose figures do not belong among those of GPUs: name a file of its own with --out',
              file=sys.stderr)
        return 2
    out = arguments.out or RESULTS / 'gpu.json'
    if out.suffix != '.json':
        print(f'--out {out}: give a file that ends in .json', file=sys.stderr)
        return 2
    try:
        gpu, no_tensorrt = device_found(arguments.device)
    except ModuleNotFoundError as missing:
        print(f'nothing was measured: {missing.name} is not installed (pip install {missing.name})')
        return 0
    if arguments.device == 'cuda' and gpu is None and not arguments.list:
        print(f'nothing was measured: this machine has no GPU that PyTorch can use ({no_tensorrt}). '
              '--device cpu tries the suite without one.')
        return 0
    record = Record(CPU if arguments.device == 'cpu' else gpu or 'no GPU', out)
    if arguments.list:
        for step in steps:
            print(f'{step.network} {step.name}: {_in_words(record, step)}')
        return 0
    impossible = {} if no_tensorrt is None else {'tensorrt': no_tensorrt}
    if gpu is None:
        impossible['compile'] = 'CUDA graphs need a GPU'
    worker = Worker(arguments.device, arguments.runs)
    outcome = run_suite(steps, record, worker, budget, arguments.again, impossible, say=lambda line: print(line, file=sys.stderr))
    _tell(outcome, record, arguments.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.gpu', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', default=[], metavar='PATTERN', help="networks: 'flashocc-*', or a part of the name")
    parser.add_argument('--budget', metavar='TIME', help='start nothing that would end after this: 90s, 9m, 1h')
    parser.add_argument('--precision', nargs='+', default=list(PRECISIONS), choices=PRECISIONS, help='of TensorRT')
    parser.add_argument('--again', action='store_true', help='measure also what is done')
    parser.add_argument('--list', action='store_true', help='show every step and its state, measure nothing')
    parser.add_argument('--json', action='store_true', help='print one JSON object at the end')
    parser.add_argument('--out', type=Path, metavar='FILE', help='JSON file to merge into (benchmarks/results/gpu.json)')
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda', help='cpu: to try the suite; eager PyTorch alone')
    parser.add_argument('--runs', type=int, default=50, help='timed calls of each column')
    return parser


def _in_words(record: Record, step: Step) -> str:
    state = record.state(step)
    if 'columns' in state:
        return f'done on {state["date"]}'
    if 'error' in state:
        return f'failed on {state["date"]}: {state["error"]}'
    if 'skipped' in state:
        return f'not run, {state["skipped"]}'
    return 'never run'


def _tell(outcome: Outcome, record: Record, as_json: bool) -> None:
    if as_json:
        print(json.dumps({
            'device': record.device,
            'measured': {f'{step.network} {step.name}': record.state(step)['columns'] for step in outcome.measured},
            'failed': {f'{step.network} {step.name}': reason for step, reason in outcome.failed.items()},
            'skipped': {f'{step.network} {step.name}': reason for step, reason in outcome.skipped.items()},
            'published_fps': {step.network: [str(speed) for speed in PUBLISHED_SPEEDS.get(step.network, ())]
                              for step in outcome.measured}}))
        return
    print(f'{record.device}: {len(outcome.measured)} steps measured, {len(outcome.failed)} failed, {len(outcome.skipped)} left out')
    for step in outcome.measured:
        for name, figures in record.state(step)['columns'].items():
            print(f'  {step.network} {step.name}: {name} {figures["median_ms"]} ms, {figures["fps"]} frames/s, '
                  f'p95 {figures["p95_ms"]} ms, labels as torch {figures["labels_as_torch_f32"]}')
    for network in dict.fromkeys(step.network for step in outcome.measured):
        if network in PUBLISHED_SPEEDS:
            print(f'  {network}, published frames/s: {", ".join(map(str, PUBLISHED_SPEEDS[network]))}')
    for step, reason in {**outcome.failed, **outcome.skipped}.items():
        print(f'  {step.network} {step.name}: {reason}')


if __name__ == '__main__':
    sys.exit(main())

"""Which steps are done, which are due, and how long they may take: resumable, within a budget, one JSON file."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from benchmarks.gpu.worker import OutOfTime, WorkerDied
from benchmarks.recording import RESULTS, load_rows, machine, save_row

CPU = 'CPU'
"""Device of trials without a GPU."""
PRECISIONS = ('f32', 'f16', 'int8')
FIRST_GUESS_S = {'torch': 40.0, 'compile': 90.0, 'tensorrt': 150.0}
"""Seconds a step is thought to take before any of its kind was measured on a device."""


class Step(NamedTuple):
    """One part of a row, kept as soon as it is measured. name: 'torch', or 'compile' or 'tensorrt' with a precision."""

    network: str
    name: str

    @property
    def kind(self) -> str:
        """torch, compile or tensorrt."""
        return self.name.partition('_')[0]


class Measuring(Protocol):
    """What measures: benchmarks.gpu.worker.Worker."""

    def measure(self, network: str, step: str, limit_s: float) -> dict[str, Any]: ...

    def stop(self) -> None: ...


@dataclass
class Outcome:
    """What a run did: steps measured, steps that failed and steps left out, each with the reason."""

    measured: list[Step] = field(default_factory=list)
    failed: dict[Step, str] = field(default_factory=dict)
    skipped: dict[Step, str] = field(default_factory=dict)


def planned(networks: Iterable[str], only: Sequence[str], precisions: Sequence[str]) -> list[Step]:
    """Steps of the networks that match a pattern (a name, shell wildcards, or a part of names), row by row.

    Raises ValueError when a pattern matches nothing.
    """
    networks = list(networks)
    chosen: set[str] = set()
    for pattern in only:
        found = {pattern} & set(networks) or {name for name in networks if fnmatchcase(name, pattern) or pattern in name}
        if not found:
            raise ValueError(f'no network matches {pattern!r}: see --list')
        chosen |= found
    compiled = [f'compile_{precision}' for precision in ('f32', 'f16')]
    return [Step(name, step) for name in networks if not only or name in chosen
            for step in ('torch', *compiled, *(f'tensorrt_{precision}' for precision in precisions))]


def seconds_of(text: str) -> float:
    """'90', '90s', '9m' or '1.5h' in seconds. Raises ValueError for anything else."""
    found = re.fullmatch(r'(\d+(?:\.\d+)?)([smh]?)', text.strip())
    if not found:
        raise ValueError(f'{text!r} is no time: write 90s, 9m or 1h')
    return float(found[1]) * {'': 1, 's': 1, 'm': 60, 'h': 3600}[found[2]]


class Record:
    """The JSON file of the suite, as one device sees it. device: name of the GPU, or CPU."""

    def __init__(self, device: str, path: Path = RESULTS / 'gpu.json') -> None:
        self.device, self._folder, self._benchmark = device, path.parent, path.stem

    def state(self, step: Step) -> dict[str, Any]:
        """What is known of a step: {} where it was never tried."""
        return self._figures(step.network).get('steps', {}).get(step.name, {})

    def done(self, step: Step) -> bool:
        """Whether the step has figures, or an error that would come again."""
        return bool({'columns', 'error'} & set(self.state(step)))

    def begun(self, network: str) -> bool:
        """Whether any step of the network has figures."""
        return any('columns' in state for state in self._figures(network).get('steps', {}).values())

    def keep(self, step: Step, state: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> None:
        """Merge what a step gave into the file, which is replaced atomically."""
        figures = self._figures(step.network) | {'network': step.network, 'device': self.device} | dict(about or {})
        versions = {name: value for name, value in machine()['versions'].items() if name in ('torch', 'tensorrt')}
        figures['steps'] = figures.get('steps', {}) | {
            step.name: {**state, 'date': date.today().isoformat(), 'versions': versions}}
        on_cpu = self.device == CPU
        save_row(self._benchmark, self._key(step.network), figures,
                 f'python -m benchmarks.gpu --only {step.network}' + ' --device cpu' * on_cpu, None if on_cpu else self.device,
                 self._folder)

    def estimate_s(self, step: Step) -> float:
        """Seconds that the step will probably take: as before, or as steps of its kind took, or a guess."""
        own = self.state(step).get('seconds')
        if own is not None:
            return own
        alike = [state['seconds'] for row in load_rows(self._benchmark, self._folder).values()
                 if row['figures'].get('device') == self.device
                 for name, state in row['figures'].get('steps', {}).items() if name == step.name and 'columns' in state]
        return statistics.median(alike) if alike else FIRST_GUESS_S[step.kind]

    def _key(self, network: str) -> str:
        return f'{network} on {self.device}'

    def _figures(self, network: str) -> dict[str, Any]:
        return load_rows(self._benchmark, self._folder).get(self._key(network), {}).get('figures', {})


def run_suite(steps: Sequence[Step], record: Record, worker: Measuring, budget_s: float | None = None, again: bool = False,
              impossible: Mapping[str, str] | None = None, clock: Callable[[], float] = time.monotonic,
              say: Callable[[str], None] = print) -> Outcome:
    """Measure the steps that are due, keeping each as soon as it is there.

    A step is started when its estimate fits into what is left of the budget; the first is started anyway, so that every run
    gets on. A step that outlasts the budget is stopped, and how long it took is remembered. again: also what is done.
    impossible: kinds of steps that cannot run here, with the reason. Never raises for what a step does.
    """
    began = clock()
    outcome = Outcome()
    tried = False
    for step in steps:
        label = f'{step.network} {step.name}'
        if step.kind in (impossible or {}):
            outcome.skipped[step] = (impossible or {})[step.kind]
            if record.begun(step.network) and not record.done(step):
                record.keep(step, {'skipped': outcome.skipped[step]})
            continue
        if record.done(step) and not again:
            state = record.state(step)
            outcome.skipped[step] = f'done on {state["date"]}' + (f', failed: {state["error"]}' if 'error' in state else '')
            continue
        left = float('inf') if budget_s is None else budget_s - (clock() - began)
        estimate = record.estimate_s(step)
        if left <= 0 or (tried and estimate > left):
            outcome.skipped[step] = f'out of budget: it takes about {estimate:.0f} s, {max(left, 0):.0f} s are left'
            continue
        tried = True
        say(f'{label}: about {estimate:.0f} s')
        started = clock()
        try:
            reply = worker.measure(step.network, step.name, min(left, 86400.0))
        except OutOfTime:
            took = clock() - started
            outcome.skipped[step] = f'out of budget: stopped after {took:.0f} s'
            if not record.done(step):
                record.keep(step, {'skipped': outcome.skipped[step], 'seconds': round(took, 1)})
            say(f'{label}: {outcome.skipped[step]}')
            continue
        except WorkerDied as end:
            reply = {'error': str(end)}
        seconds = round(clock() - started, 1)
        if 'error' in reply:
            outcome.failed[step] = reply['error']
            record.keep(step, {'error': reply['error'], 'seconds': seconds})
            say(f'{label}: {reply["error"]}')
            continue
        if 'skipped' in reply:
            outcome.skipped[step] = reply['skipped']
            if not record.done(step):
                record.keep(step, reply)
            say(f'{label}: {reply["skipped"]}')
            continue
        outcome.measured.append(step)
        record.keep(step, {'columns': reply['columns'], 'seconds': seconds}, reply.get('about'))
        say(f'{label}: ' + ', '.join(f'{name} {figures["median_ms"]} ms' for name, figures in reply['columns'].items()))
    worker.stop()
    return outcome

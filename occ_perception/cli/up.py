"""`occ up`: every node in one process, live or with a bag."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from occ_perception.engines.precision import PRECISIONS
from occ_perception.engines.protocol import EXACT, MEMORY_FORMS
from occ_perception.engines.select import BACKENDS

if TYPE_CHECKING:
    from occ_perception.nodes.serving import Tally
    from occ_perception.nodes.system import NodeSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `occ up`."""
    parser.add_argument('network', metavar='NAME', help='network, as listed by `occ networks`')
    parser.add_argument('--bag', type=Path, default=None, help='ROS 2 bag to play (mcap, sqlite3, folder); else live sensors')
    parser.add_argument('--rate', type=float, default=1.0, help='seconds of the bag per second')
    parser.add_argument('--loop', action='store_true', help='play the bag over and over')
    parser.add_argument('--lockstep', action='store_true', help='wait for every output: nothing is lost on slow machines')
    parser.add_argument('--start-offset', type=float, default=0.0, help='skip so many seconds of the bag')
    parser.add_argument('--duration', type=float, default=0.0, help='play so many seconds of the bag; 0: to the end')
    parser.add_argument('--weights', default='', help='checkpoint or ONNX file; default: the weights that ship with the network')
    parser.add_argument('--backend', default='auto', choices=BACKENDS,
                        help='what runs the network')
    parser.add_argument('--precision', default='auto', choices=PRECISIONS,
                        help='what it is computed in; auto: bf16 in OpenVINO where the processor has it, else float32')
    parser.add_argument('--memory', default=EXACT, choices=MEMORY_FORMS,
                        help='how past frames enter: lifted again from where they were seen, or their maps moved (cheaper)')
    parser.add_argument('--published-centers', action='store_true',
                        help='share voxels among instance centres by the class table of the published code')
    for what, words in (('lidar', 'LiDAR points'), ('cameras', 'pictures')):
        parser.add_argument(f'--without-{what}', metavar='NAME', default=None,
                            help=f'what serves while there are no {words} (networks of cameras and LiDAR): a network, or "mask" '
                            'for the same with that input masked; "" for none; default: what the catalogue says')
    parser.add_argument('--use-sim-time', default='auto', choices=('auto', 'true', 'false'),
                        help='time from /clock; auto: when a bag is played')
    parser.add_argument('--namespace', default='', help='ROS namespace of nodes and topics')
    parser.add_argument('--log-level', default='info', choices=('debug', 'info', 'warn', 'error', 'fatal'),
                        help='least severe log shown')
    parser.add_argument('-p', '--parameter', action='append', default=[], metavar='NODE.PARAM:=VALUE',
                        help='set a parameter of one node, such as occupancy.max_rate:=2')


def run(arguments: argparse.Namespace) -> int:
    """Start the nodes, run until the bag ends or a signal comes, say what happened."""
    from occ_perception import catalogue
    from occ_perception.nodes import system

    catalogue.entry(arguments.network)
    replay = None
    if arguments.bag is not None:
        replay = system.Replay(str(arguments.bag), arguments.rate, arguments.loop, arguments.lockstep, arguments.start_offset,
                               arguments.duration)
    sources = system.sources_of(str(arguments.bag) if arguments.bag else None)
    if sources.missing:
        print(f'The bag ({sources.dialect} layout) lacks {", ".join(sources.missing)}: going on without.', flush=True)
    sim_time = None if arguments.use_sim_time == 'auto' else arguments.use_sim_time == 'true'
    specs = system.nodes(arguments.network, sources, arguments.backend, arguments.weights, replay, sim_time,
                         arguments.memory, arguments.published_centers, arguments.precision, arguments.without_lidar,
                         arguments.without_cameras)
    return serve(with_overrides(specs, arguments.parameter), arguments.namespace, arguments.log_level)


def with_overrides(specs: Sequence[NodeSpec], assignments: Sequence[str]) -> tuple[NodeSpec, ...]:
    """Specs with NODE.PARAM:=VALUE assignments applied; max_rate of occupancy holds for the player, too.

    Raises ValueError for a malformed assignment or an unknown node.
    """
    changed = {spec.name: dict(spec.parameters) for spec in specs}
    for assignment in assignments:
        target, separator, text = assignment.partition(':=')
        node, dot, name = target.partition('.')
        if not (separator and dot and name):
            raise ValueError(f'-p {assignment}: write it as NODE.PARAM:=VALUE, such as occupancy.max_rate:=2')
        if node not in changed:
            raise ValueError(f'-p {assignment}: no node is called {node!r}; there are {", ".join(changed)}')
        changed[node][name] = _value(node, name, text)
        if (node, name) == ('occupancy', 'max_rate') and 'player' in changed:
            changed['player'][name] = changed[node][name]
    return tuple(dataclasses.replace(spec, parameters=changed[spec.name]) for spec in specs)


def _value(node: str, name: str, text: str) -> Any:
    """A parameter value from JSON (2, 0.5, true, ["a", "b"]), anything else as a string; integers become doubles where wanted."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    module = importlib.import_module(f'occ_perception.nodes.{node}')
    double = any(p.name == name and isinstance(p.default, float) for p in module.PARAMETERS)
    return float(value) if double and isinstance(value, int) and not isinstance(value, bool) else value


def serve(specs: Sequence[NodeSpec], namespace: str = '', log_level: str = 'info') -> int:
    """Run the nodes in this process; returns the exit status."""
    from occ_perception.nodes.composition import run_composed

    served, tally = run_composed(specs, namespace, log_level)
    if tally is not None:
        print(summary(tally), flush=True)
    return 0 if served else 1


def summary(tally: Tally) -> str:
    """What became of the due references, in a few lines."""
    dropped = ', '.join(f'{reason} {count}' for reason, count in sorted(tally.dropped.items()) if count) or 'none'
    lines = [f'{tally.due} sets due, {tally.published} grids published, dropped: {dropped}']
    if tally.processing_ms:
        p50, p95, p99 = np.percentile(tally.processing_ms, (50, 95, 99))
        lines.append(f'processing p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms (of the last {len(tally.processing_ms)})')
    if tally.stood_in:
        lines.append(f'{tally.stood_in} of the sets due were anchored on a camera, since there was no LiDAR')
    if tally.past_ages_s:
        lines.append(f'{tally.published - tally.incomplete} grids had all past frames that the network looks at')
    return '\n'.join(lines)

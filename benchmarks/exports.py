"""Every network exported at full size and held against torch: `python -m benchmarks.exports [NAME ...]`.

Writes each file of a network (with history: of each form of memory it has), compares it with torch in ONNX Runtime and OpenVINO in
float32, has TensorRT-RTX parse and build it and its float16 form, and keeps the figures in benchmarks/results/export.json, a row
per file. Files that have a row are left out unless --again, or unless TensorRT-RTX was missing then and is there now. Weights are
random, with activations of unit scale at every depth; a file is good when every output, and the scores behind the labels, differ
by at most LARGEST_ERROR. A file of 17 frames takes some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import onnx

from benchmarks.export_files import keys, parts
from benchmarks.recording import load_rows, print_result, save_row
from occ_perception.catalogue import NETWORKS, entry
from occ_perception.engines.example_inputs import Drive
from occ_perception.engines.export import export_graph
from occ_perception.engines.exportable import exportable
from occ_perception.engines.folding import folded
from occ_perception.engines.graphs import EncodeGraph, ExportedGraph, MatchGraph
from occ_perception.engines.narrowing import in_float16
from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.engines.tensorrt_rtx import build_with_tensorrt_rtx, missing_for_tensorrt_rtx
from occ_perception.networks.build import Network, build_network

BENCHMARK = 'export'


def keyed_graphs(network: Network, name: str) -> tuple[dict[str, ExportedGraph], Drive]:
    """All files of a network by the key of their row, and what feeds them."""
    keyed: dict[str, ExportedGraph] = {}
    for part, memory in parts(network.config).items():
        made = exportable(network, entry(name), Path(name), memory=memory)
        for graph in made.graphs.values():
            stage = {EncodeGraph: 'encode', MatchGraph: 'match'}.get(type(graph), part)
            keyed.setdefault(f'{name} {stage}', graph)
    return keyed, made.drive


def measure(graph: ExportedGraph, drive: Drive) -> dict:
    """All figures of one file. errors: relative root-mean-square differences; scores: what labels are the largest of."""
    with tempfile.TemporaryDirectory() as folder:
        file = export_graph(graph, Path(folder) / 'exported.onnx', drive, {'network': drive.row.name})
        close = all(comparison.close for comparison in file.compared.values())
        figures = {'good': close, 'megabytes': round(file.megabytes, 1), 'nodes': file.nodes, 'seconds': round(file.seconds, 1)}
        for runtime, comparison in file.compared.items():
            figures[runtime] = {'labels_as_torch': comparison.labels,
                                'errors': {name: float(f'{error:.2e}') for name, error in comparison.errors.items()}}
        figures['tensorrt_rtx'] = rtx_verdict(file.path)
        half = Path(folder) / 'half.onnx'
        onnx.save(in_float16(folded(file.path)), half)
        figures['tensorrt_rtx_f16'] = rtx_verdict(half)
    figures['peak_gb'] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)
    return figures


def rtx_verdict(path: Path) -> dict | str:
    """What TensorRT-RTX makes of a file, or why it makes nothing."""
    try:
        return asdict(build_with_tensorrt_rtx(path))
    except EngineUnavailable as missing:
        return f'not run: {missing}'
    except ValueError as refusal:
        return str(refusal).replace(str(path.parent), '')


def finished(figures: dict) -> bool:
    """Whether a row has all that can be had here."""
    return missing_for_tensorrt_rtx() is not None or not str(figures['tensorrt_rtx']).startswith('not run')


def main() -> int:
    """Measure what has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='*', choices=[*NETWORKS, []], metavar='NAME', help='networks; default: all')
    parser.add_argument('--again', action='store_true', help='also files that have a row')
    parser.add_argument('--only', metavar='PART', help='only these files: whole, encode, match, exact or warped')
    parser.add_argument('--json', action='store_true', help='print one JSON object per file')
    arguments = parser.parse_args()
    bad = 0
    for name in arguments.name or NETWORKS:
        done = {} if arguments.again else {key: row for key, row in load_rows(BENCHMARK).items() if finished(row['figures'])}
        wanted = [key for key in keys(name) if key not in done and arguments.only in (None, key.split()[1])]
        if not wanted:
            continue
        graphs, drive = keyed_graphs(build_network(name).eval(), name)
        drive.enliven()
        for key in wanted:
            began = time.monotonic()
            figures = measure(graphs[key], drive)
            bad += not figures['good']
            save_row(BENCHMARK, key, figures, f'python -m benchmarks.exports {name}')
            print_result({'file': key, **figures, 'all_seconds': round(time.monotonic() - began, 1)}, arguments.json)
    return int(bad > 0)


if __name__ == '__main__':
    sys.exit(main())

"""Forms of the lift on this processor: `python -m benchmarks.view_transform [NAME ...] [--json] [--save]`.

The lift alone (float32, example rig): the column-factorised form that networks are exported with, with tables for rigs in any
orientation, for upright ones and for this very rig, in PyTorch, ONNX Runtime and OpenVINO; index_add over all frustum points; a
sparse matrix times the features, which the others' largest error is told against. Then the whole network in OpenVINO: as one graph,
and as two with the sparse matrix in between. Calls take turns; medians, and the processor's own milliseconds of the whole networks,
which other jobs disturb less.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import scipy.sparse
import torch
from torch import Tensor, nn

from benchmarks.full_history import network_of
from benchmarks.recording import print_result, save_row
from benchmarks.timing import WARM_UP, interleaved
from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.engines.example_inputs import example_images, example_rig
from occ_perception.engines.export import trace
from occ_perception.engines.graphs import ExportedGraph, WholeGraph
from occ_perception.engines.onnxruntime_session import OnnxRuntimeSession
from occ_perception.engines.openvino_engine import OpenVinoSession
from occ_perception.engines.precision import chosen_precision
from occ_perception.geometry.column_lift import LiftCapacityError, LiftCaps, LiftSpec, LiftTables, _cells, build_lift_tables
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.parts.lift_splat import LiftTensors, lift


class LiftGraph(nn.Module):
    """The column-factorised lift alone: depth (N, bins, H, W) and features (N, C, H, W) to the map (C, Y, X)."""

    inputs, outputs = ['depth', 'features', *LiftTables.NAMES], ['map']

    def __init__(self, spec: LiftSpec, slots: int) -> None:
        super().__init__()
        self.spec, self.slots = spec, slots

    def forward(self, depth: Tensor, features: Tensor, *tables: Tensor) -> Tensor:
        named = {name: table[None] for name, table in zip(LiftTables.NAMES, tables, strict=True)}
        return lift(depth[None], features[None], LiftTensors(slots=self.slots, **named), self.spec.map_shape)[0]


class FirstGraph(nn.Module):
    """Images to depth (N, bins, H, W) and features (N, H, W, C)."""

    inputs, outputs = ['images'], ['depth', 'features']

    def __init__(self, network: FlashOcc) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        prepared = self.network.frame_features(images.float()[None]).prepared[0]
        logits, features = prepared.split([self.network.lift.bins, prepared.shape[1] - self.network.lift.bins], 1)
        return logits.softmax(1), features.permute(0, 2, 3, 1)


class SecondGraph(nn.Module):
    """The map (Y, X, C) to labels."""

    inputs, outputs = ['map'], ['labels']

    def __init__(self, network: FlashOcc) -> None:
        super().__init__()
        self.network = network

    def forward(self, lifted: Tensor) -> Tensor:
        own = lifted.permute(2, 0, 1)[None]
        if self.network.config.pre_process:
            own = self.network.pre_process_net(own)[0]
        return self.network.decide([own])[0][0].byte()


class PointSum:
    """Every frustum point by cell: which depth it takes, which feature."""

    def __init__(self, spec: LiftSpec, intrinsics: np.ndarray, poses: np.ndarray) -> None:
        self.spec = spec
        shape = spec.feature_height, len(intrinsics), spec.bins, spec.feature_width
        points = _cells(spec, spec.points(intrinsics, poses)).reshape(shape)
        h, n, d, w = np.nonzero(points >= 0)
        cell = points[h, n, d, w]
        order = np.argsort(cell, kind='stable')
        h, n, d, w, self.cell = (x[order] for x in (h, n, d, w, cell))
        self.depth = ((n * spec.bins + d) * spec.feature_height + h) * spec.feature_width + w
        self.feature = ((n * spec.feature_height + h) * spec.feature_width + w).astype(np.int32)
        self._ends = np.zeros(spec.cells + 1, np.int32)
        np.cumsum(np.bincount(self.cell, minlength=spec.cells), out=self._ends[1:])
        self._torch = [torch.from_numpy(x.astype(np.int64)) for x in (self.depth, self.feature, self.cell)]

    def sparse(self, depth: np.ndarray, features: np.ndarray) -> np.ndarray:
        """(cells, C) of depth (N, bins, H, W) and features (N, H, W, C), by a sparse matrix."""
        channels = features.shape[-1]
        matrix = scipy.sparse.csr_matrix((depth.reshape(-1)[self.depth], self.feature, self._ends),
                                         shape=(self.spec.cells, features.size // channels))
        return matrix @ features.reshape(-1, channels)

    def index_add(self, depth: Tensor, features: Tensor) -> Tensor:
        """The same in PyTorch, point by point."""
        d, f, cell = self._torch
        rows = depth.reshape(-1)[d, None] * features.reshape(-1, features.shape[-1])[f]
        return torch.zeros(self.spec.cells, features.shape[-1]).index_add(0, cell, rows)


def caps_of(row: NetworkEntry) -> dict[str, LiftCaps]:
    """Table sizes: of exported networks, of upright rigs, and the least for the example rig."""
    spec, cameras = row.frustum, len(row.cameras)
    try:
        build_lift_tables(spec, *example_rig(row), LiftCaps(1, (1, 1, 1)))
    except LiftCapacityError as error:
        return {'any rig': spec.default_caps(cameras), 'upright rigs': spec.upright_caps(cameras), 'this rig': error.needed}
    raise ValueError('the example rig needs no tables')


def written(graph: nn.Module, feeds: Mapping[str, np.ndarray], path: Path) -> Path:
    """The graph as an ONNX file."""
    onnx.save(trace(graph, {name: feeds[name] for name in graph.inputs}, graph.outputs), path)
    return path


def alone(row: NetworkEntry, channels: int, folder: Path, runs: int) -> dict:
    """The lift without a network around it."""
    spec, random = row.frustum, np.random.default_rng(0)
    shape = len(row.cameras), spec.bins, spec.feature_height, spec.feature_width
    depth = random.random(shape, np.float32)
    features = random.standard_normal((shape[0], channels, *shape[2:]), np.float32)
    nhwc = np.ascontiguousarray(features.transpose(0, 2, 3, 1))
    points = PointSum(spec, *example_rig(row))
    calls: dict[str, Callable[[], object]] = {
        'index_add, PyTorch': partial(points.index_add, torch.from_numpy(depth), torch.from_numpy(nhwc)),
        'sparse matrix, scipy': partial(points.sparse, depth, nhwc)}
    expected, errors = points.sparse(depth, nhwc), {}
    for words, caps in caps_of(row).items():
        tables = build_lift_tables(spec, *example_rig(row), caps)
        feeds = {'depth': depth, 'features': features, **{name: getattr(tables, name) for name in LiftTables.NAMES}}
        graph = LiftGraph(spec, caps.slots)
        path = written(graph, feeds, folder / 'lift.onnx')
        own = [torch.from_numpy(feeds[name]) for name in graph.inputs]
        calls[f'columns for {words}, PyTorch'] = partial(graph, *own)
        for session in (OnnxRuntimeSession(path), OpenVinoSession(path)):
            name = session.description.split()[0]
            calls[f'columns for {words}, {name}'] = partial(session.run, feeds)
            found = session.run(feeds)['map'].reshape(channels, -1).T
            errors[f'{words}, {name}'] = float(np.abs(found - expected).max() / np.abs(expected).max())
    with torch.inference_mode():
        times = interleaved(calls, runs, 2)
    return {'points': len(points.cell), 'milliseconds': times, 'largest error': f'{max(errors.values()):.1e}'}


def whole(row: NetworkEntry, network: FlashOcc, folder: Path, runs: int) -> dict:
    """The network in one graph and in two."""
    precision = chosen_precision('openvino', 'auto')
    images, spec = example_images(row), row.frustum
    calls: dict[str, Callable[[], np.ndarray]] = {}

    def single(graph: ExportedGraph, tables: LiftTables, path: Path) -> Callable[[], np.ndarray]:
        feeds = {'images': images, **{name: getattr(tables, name) for name in LiftTables.NAMES}}
        session = OpenVinoSession(written(graph, feeds, path), precision=precision)
        return lambda: session.run(feeds)['labels']

    for number, (words, caps) in enumerate(caps_of(row).items()):
        tables = build_lift_tables(spec, *example_rig(row), caps)
        calls[f'one graph, {words}'] = single(WholeGraph(network, caps.slots), tables, folder / f'{number}.onnx')
    points = PointSum(spec, *example_rig(row))
    _, ny, nx = spec.map_shape
    blank = np.zeros((ny, nx, network.config.lift_channels), np.float32)
    first = OpenVinoSession(written(FirstGraph(network), {'images': images}, folder / 'first.onnx'), precision=precision)
    second = OpenVinoSession(written(SecondGraph(network), {'map': blank}, folder / 'second.onnx'), precision=precision)

    def double() -> np.ndarray:
        given = first.run({'images': images})
        return second.run({'map': points.sparse(given['depth'], given['features']).reshape(blank.shape)})['labels']

    calls['two graphs, sparse matrix between'] = double
    expected = calls['one graph, any rig']()
    alike = {name: round(float((call() == expected).mean()), 5) for name, call in calls.items()}
    wall: dict[str, list[float]] = {name: [] for name in calls}
    busy: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + WARM_UP):
        for name, call in calls.items():
            began, used = time.perf_counter(), time.process_time()
            call()
            if run >= WARM_UP:
                wall[name].append(1e3 * (time.perf_counter() - began))
                busy[name].append(1e3 * (time.process_time() - used))
    return {'precision': precision, 'milliseconds': {name: round(statistics.median(values), 1) for name, values in wall.items()},
            'processor milliseconds': {name: round(statistics.median(values), 1) for name, values in busy.items()},
            'labels as one graph for any rig': alike}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='*', default=['scocc_sample', 'flashocc-r50-M0'], metavar='NAME',
                        help='networks of one frame and plain depth')
    parser.add_argument('--runs', type=int, default=15, help='timed calls of each')
    parser.add_argument('--json', action='store_true', help='print one JSON object per row')
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results/')
    arguments = parser.parse_args()
    for name in arguments.name:
        row = entry(name)
        network = network_of(row)
        if network.config.depth != 'plain' or network.config.past_frames or network.config.volume:
            parser.error(f'{name} is no network of one frame, plain depth and a flat map')
        with tempfile.TemporaryDirectory() as folder:
            rows = {f'{name}, the lift alone': alone(row, network.config.lift_channels, Path(folder), arguments.runs),
                    f'{name}, the whole network': whole(row, network, Path(folder), arguments.runs)}
        for key, figures in rows.items():
            print_result({'row': key, **figures}, arguments.json)
            if arguments.save:
                save_row('view_transform', key, figures, 'python -m benchmarks.view_transform --save')
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""Frames that stay on a device from image bytes to labels: torch tensors throughout, one copy in, one copy out, one wait.

On a GPU pictures are fitted, lift tables made, the network run and its memory kept in CUDA graphs; on a CPU the same code runs step
by step, and gives what the host's way gives. Two frames may be under way: while one is computed, the next is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.device_fit import fit_on_device
from occ_perception.engines.device_lift import NEEDED, DeviceLift, check_capacity
from occ_perception.engines.graph_engine import engine_of
from occ_perception.engines.protocol import (
    EXACT,
    CenterArrays,
    FrameMemory,
    Inference,
    LidarInput,
    Match,
    Pending,
    PlacedFrame,
    voxel_caps,
)
from occ_perception.geometry.array_library import Array
from occ_perception.geometry.column_lift import LiftTables
from occ_perception.labels import UNKNOWN

NUMBERS = 'numbers'
"""Key of PlacedFrame.tables under which a rig comes that the tables are made of here, see DeviceLift.upload."""


class DeviceGraph(Protocol):
    """A graph whose inputs and outputs are tensors that stay where they are."""

    description: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def launch(self) -> None:
        """Compute outputs from inputs, in the current stream."""
        ...


class TorchGraph:
    """A module of graphs.graphs_of as a DeviceGraph. examples: inputs of the shapes and types that it takes."""

    def __init__(self, graph: Any, examples: Mapping[str, np.ndarray], device: torch.device) -> None:
        self._graph = graph.to(device).eval()
        self.inputs = {name: torch.from_numpy(examples[name]).to(device, copy=True) for name in graph.inputs}
        self.outputs: dict[str, Tensor] = {}
        self.description = f'torch {torch.__version__} on {device}, f32'

    @torch.inference_mode()
    def launch(self) -> None:
        """See DeviceGraph.launch."""
        found = self._graph(*self.inputs.values())
        for name, tensor in zip(self._graph.outputs, (found,) if isinstance(found, Tensor) else found, strict=True):
            if name in self.outputs:
                self.outputs[name].copy_(tensor)
            else:
                self.outputs[name] = tensor.clone()


class Recorded:
    """A call that works on tensors that stay where they are: on a GPU recorded once as a CUDA graph, and replayed."""

    def __init__(self, call: Callable[[], None], device: torch.device) -> None:
        self._call, self._graph = call, None
        if device.type != 'cuda':
            return
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # runtimes allocate and choose algorithms in their first runs
                call()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            call()

    def __call__(self) -> None:
        if self._graph is None:
            self._call()
        else:
            self._graph.replay()


class TensorSession:
    """A DeviceGraph as a session of graph_engine, tensors in and out. Outputs are the caller's own."""

    def __init__(self, graph: DeviceGraph, device: torch.device) -> None:
        self._graph, self._launch = graph, Recorded(graph.launch, device)
        self.description = graph.description
        self.shapes = {name: tuple(tensor.shape) for name, tensor in graph.inputs.items()}

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """See Session.run."""
        for name, tensor in self._graph.inputs.items():
            tensor.copy_(feeds[name])
        self._launch()
        return {name: tensor.clone() for name, tensor in self._graph.outputs.items()}


class _Geometry:
    """Lift tables of frames, made in one recorded call."""

    def __init__(self, lift: DeviceLift, frames: int, numbers: int) -> None:
        self._numbers = torch.zeros(frames, numbers, device=lift.device)
        self._lift, self._tables = lift, [lift.tables(row) for row in self._numbers]
        self._record = Recorded(self._make, lift.device)

    def _make(self) -> None:
        for row, made in zip(self._numbers, self._tables, strict=True):
            for name, tensor in self._lift.tables(row).items():
                made[name].copy_(tensor)

    def tables(self, numbers: Tensor) -> list[dict[str, Tensor]]:
        """Of the numbers, a row per frame; overwritten by the next call."""
        self._numbers.copy_(numbers)
        self._record()
        return self._tables


class _Staging:
    """Pinned memory of one of the two frames that may be under way. compute: stream that reads what is put."""

    def __init__(self, device: torch.device, compute: Any) -> None:
        self._device, self._compute, self._host = device, compute, dict[str, Tensor]()
        self.copied = None if compute is None else torch.cuda.Event()

    def host(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor of the host that copies to and from the device need not wait for."""
        held = self._host.get(name)
        if held is None or held.shape != shape or held.dtype != dtype:
            held = self._host[name] = torch.empty(shape, dtype=dtype, pin_memory=self._device.type == 'cuda')
        return held

    def put(self, name: str, array: np.ndarray) -> Tensor:
        """An array on the device."""
        source = torch.from_numpy(np.ascontiguousarray(array))
        there = self.host(name, tuple(source.shape), source.dtype).copy_(source).to(self._device, non_blocking=True, copy=True)
        if self._compute is not None:  # made in another stream: its memory is not to be used again before this one is done
            there.record_stream(self._compute)
        return there

    def take(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of the device on the host, there when the stream has got so far."""
        return self.host(name, tuple(tensor.shape), tensor.dtype).copy_(tensor, non_blocking=True)


def _points(lidar: LidarInput, staging: _Staging) -> LidarInput:
    """The same with tensors in place of arrays."""
    hints: Any = None if lidar.hints is None else staging.put('hints', lidar.hints)
    tables: Any = {name: staging.put(f'neighbours {name}', table) for name, table in lidar.tables.items()}
    voxels: Any = staging.put('voxels', lidar.voxels)
    return LidarInput(voxels, tables, hints)


class DeviceEngine:
    """See the module's description; see Engine. graphs: as engine_of takes sessions.

    Images may have any size that all cameras share; they are fitted as the network's preprocessing says. They may be a tensor on
    the device, made in the current stream. Frames may come with the tables of the host, or with `tables_of`, whose few numbers the
    tables are made of here. Submit frames in one thread; their results may be taken in another. Two frames may be under way.
    """

    def __init__(self, graphs: Sequence[DeviceGraph], row: NetworkEntry, device: torch.device, memory: str = EXACT) -> None:
        self._row, self._device = row, device
        self._compute: Any = torch.cuda.Stream() if device.type == 'cuda' else None
        self._copy: Any = torch.cuda.Stream() if device.type == 'cuda' else None
        with self._in(self._compute):
            self._engine = engine_of([TensorSession(graph, device) for graph in graphs], memory)
        self.description = self._engine.description
        self.voxel_caps = voxel_caps(self._engine)
        cameras = len(row.cameras)
        self._caps = row.frustum.default_caps(cameras)
        self._lift = DeviceLift(row.frustum, cameras, self._caps, device)
        self._geometry: dict[int, _Geometry] = {}
        self._staging = [_Staging(device, self._compute), _Staging(device, self._compute)]
        self._unseen: tuple[np.ndarray | None, Tensor | None] = None, None

    def tables_of(self, intrinsics: np.ndarray, reference_from_camera: np.ndarray, valid: np.ndarray,
                  network_from_source: np.ndarray) -> dict[str, np.ndarray]:
        """What stands in PlacedFrame.tables in place of the host's tables; arguments as for build_lift_tables."""
        return {NUMBERS: self._lift.upload(intrinsics, reference_from_camera, valid, network_from_source)}

    def infer(self, images: Array, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer; images (N, H, W, 3) of any one size. Raises LiftCapacityError when the rig needs larger tables."""
        return self.submit(images, frames, lidar).result()

    @torch.inference_mode()
    def submit(self, images: Array, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None,
               observed: np.ndarray | None = None) -> Pending:
        """Begin with a frame, without waiting for anything; see protocol.submit and infer. The result is what waits."""
        staging = self._staging[0]
        self._staging.reverse()
        if staging.copied is not None:  # the frame before the last one, whose result was taken
            staging.copied.synchronize()
        if self._compute is not None and isinstance(images, Tensor):
            self._compute.wait_stream(torch.cuda.current_stream())
            images.record_stream(self._compute)
        with self._in(self._copy):
            pictures = images if isinstance(images, Tensor) else staging.put('images', images)
            placed, numbers = self._uploaded(frames, staging)
            points: Any = None if lidar is None else _points(lidar, staging)
            if observed is not None and observed is not self._unseen[0]:
                self._unseen = observed, staging.put('unseen', ~observed)
        with self._in(self._compute):
            if self._compute is not None:
                self._compute.wait_stream(self._copy)
            fitted, made = self._prepared(pictures, placed, numbers)
            found = self._engine.infer(fitted, placed, points)
            if observed is not None:
                found.labels.masked_fill_(self._unseen[1], UNKNOWN)  # type: ignore[attr-defined]
            needed = torch.stack([tables[NEEDED] for tables in made]).amax(0) if made else None
            outputs = {'labels': found.labels, 'needed': needed, 'flow': found.flow,
                       **({} if found.centers is None else found.centers._asdict())}
            taken = {name: staging.take(f'out {name}', tensor) for name, tensor in outputs.items() if tensor is not None}
            if staging.copied is not None:
                staging.copied.record()

        def result() -> Inference:
            if staging.copied is not None:
                staging.copied.synchronize()
            arrays = {name: tensor.numpy().copy() for name, tensor in taken.items()}
            if 'needed' in arrays:
                check_capacity(arrays['needed'], self._caps)
            centers = None if found.centers is None else CenterArrays(*(arrays[name] for name in CenterArrays._fields))
            return Inference(arrays['labels'], centers, found.memory, arrays.get('flow'))
        return Pending(found.memory, result)

    @torch.inference_mode()
    def resident(self, images: np.ndarray, frames: Sequence[PlacedFrame]) -> Callable[[], Any]:
        """A call that runs the network on this frame, whose inputs lie on the device, and leaves the labels there: to be timed.

        Good until a frame of another rig comes.
        """
        pictures = self._staging[0].put('images', images)
        placed, numbers = self._uploaded(frames, self._staging[0])
        fitted, _ = self._prepared(pictures, placed, numbers)
        return torch.inference_mode()(lambda: self._engine.infer(fitted, placed).labels)

    def _prepared(self, pictures: Tensor, placed: Sequence[PlacedFrame],
                  numbers: Tensor | None) -> tuple[Any, list[dict[str, Tensor]]]:
        """Pictures at network size, and the tables that were made of numbers and now stand in the frames."""
        made: list[dict[str, Tensor]] = []
        if numbers is not None:
            if len(numbers) not in self._geometry:
                self._geometry[len(numbers)] = _Geometry(self._lift, *numbers.shape)
            made = self._geometry[len(numbers)].tables(numbers)
        self._insert(placed, made)
        return fit_on_device(pictures, self._row.preprocessing), made

    def _uploaded(self, frames: Sequence[PlacedFrame], staging: _Staging) -> tuple[list[PlacedFrame], Tensor | None]:
        """Frames with tensors in place of arrays, the same one where the same one stood, and the numbers of those that bring some.

        Such a frame's tables hold the row of its numbers.
        """
        rows: list[np.ndarray] = []
        placed: dict[int, PlacedFrame] = {}
        for index, frame in enumerate(frames):
            if id(frame) in placed:
                continue
            tables: Any = frame.tables
            if tables is not None and NUMBERS in tables:
                rows.append(tables[NUMBERS])
                tables = {NUMBERS: len(rows) - 1}
            elif tables is not None:
                tables = {name: staging.put(f'{name} {index}', tables[name]) for name in LiftTables.NAMES}

            def put(name: str, array: np.ndarray | None, index: int = index) -> Any:
                return None if array is None else staging.put(f'{name} {index}', array)
            match = None if frame.match is None else Match(self._own(frame.match.before), put('sweeps', frame.match.sweeps))
            cameras, warp = put('cameras', frame.cameras), put('warp', frame.warp)
            placed[id(frame)] = PlacedFrame(self._own(frame.memory), tables, cameras, match, warp)
        numbers = staging.put(f'numbers {len(rows)}', np.stack(rows)) if rows else None
        return [placed[id(frame)] for frame in frames], numbers

    def _own(self, memory: FrameMemory | None) -> FrameMemory | None:
        """Memory in tensors: it is in arrays for a while after another engine's turn."""
        if memory is None or not any(isinstance(value, np.ndarray) for value in vars(memory).values()):
            return memory
        return FrameMemory(**{name: None if value is None else torch.as_tensor(value, device=self._device)
                              for name, value in vars(memory).items()})

    @staticmethod
    def _insert(placed: Sequence[PlacedFrame], made: Sequence[dict[str, Tensor]]) -> None:
        """Put the tables that were made where their rows are."""
        for frame in placed:
            if frame.tables is not None and NUMBERS in frame.tables:
                tables = made[int(frame.tables.pop(NUMBERS))]
                frame.tables.update(tables)  # type: ignore[arg-type]

    def _in(self, stream: Any) -> Any:
        return nullcontext() if stream is None else torch.cuda.stream(stream)

"""Engines that also show the logits which their labels are decided by, for comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.graph_engine import Session, engine_of
from occ_perception.engines.precision import existing_files
from occ_perception.engines.protocol import Inference, LidarInput, PlacedFrame, voxel_caps

if TYPE_CHECKING:
    import onnx


class Tap:
    """A session that keeps what it was last given and what it gave; see graph_engine.Session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.shapes, self.description = session.shapes, session.description
        self.feeds: Mapping[str, np.ndarray] = {}
        self.outputs: dict[str, np.ndarray] = {}

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See Session.run."""
        self.feeds, self.outputs = feeds, self._session.run(feeds)
        return {name: array.copy() for name, array in self.outputs.items()}  # the caller may write to what it gets


class TappedGraph:
    """An exported network as an engine (see Engine) whose last graph also gives the inputs of its ArgMax.

    onnx_file: the float32 one; precision: which of the files beside it is run. open_session: runtime that takes a file. folder: for
    the file with more outputs. taps: of the files, see graph_files.
    """

    def __init__(self, row: NetworkEntry, onnx_file: Path, precision: str, memory: str,
                 open_session: Callable[[Path], Session], folder: Path) -> None:
        import onnx

        from occ_perception.engines.layer_outputs import with_outputs

        self._shape = row.grid.shape
        self.files = existing_files(onnx_file, row, precision)
        model = onnx.load(self.files[-1])
        self._decided = argmax_inputs(model)
        shown = folder / f'{precision}-logits.onnx'
        onnx.save(with_outputs(model, [name for name, _ in self._decided]), shown)
        self.taps = [Tap(open_session(file)) for file in (*self.files[:-1], shown)]
        self._engine = engine_of(self.taps, memory)
        self.description, self.voxel_caps = self._engine.description, voxel_caps(self._engine)

    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer."""
        return self._engine.infer(images, frames, lidar)

    @property
    def logits(self) -> np.ndarray | None:
        """(nx, ny, nz, classes) float32 of the last frame; None when the graph decides in a way that is not known here."""
        outputs = self.taps[-1].outputs
        return ordered_logits([(outputs[name], axis) for name, axis in self._decided], outputs['labels'], self._shape)


class TappedTorch:
    """A network in PyTorch as an engine (see Engine) that keeps its logits. weights: its checkpoint."""

    def __init__(self, row: NetworkEntry, weights: Path, threads: int | None = None) -> None:
        import torch

        from occ_perception.checkpoints import load_weights
        from occ_perception.engines.torch_engine import TorchEngine
        from occ_perception.engines.torch_lidar_engine import TorchLidarEngine
        from occ_perception.networks.build import build_network
        from occ_perception.networks.flashocc.network import FlashOcc
        from occ_perception.networks.fusionocc.network import FusionOcc
        from occ_perception.networks.panoocc.network import PanoOcc

        if threads is not None:
            torch.set_num_threads(threads)
        network = build_network(row)
        if isinstance(network, PanoOcc):
            raise ValueError(f'{row.name}: logits of PanoOcc are not shown; choose a network of another family')
        load_weights(network, weights)
        encode, logits = network.encode, network.logits if isinstance(network, FusionOcc) else network.occ_head
        self.logits: np.ndarray | None = None

        def encoded(*inputs: Any) -> torch.Tensor:
            out = encode(*inputs)
            self.logits = logits(out)[0].float().cpu().numpy()
            return out

        network.encode = encoded  # type: ignore[method-assign, assignment]
        self._engine = TorchEngine(network) if isinstance(network, FlashOcc) else TorchLidarEngine(network)
        self.description = self._engine.description

    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer."""
        return self._engine.infer(images, frames, lidar)


def argmax_inputs(model: onnx.ModelProto) -> list[tuple[str, int]]:
    """Inputs and axes of the ArgMax nodes of a graph; [] without one."""
    return [(node.input[0], next((field.i for field in node.attribute if field.name == 'axis'), 0))
            for node in model.graph.node if node.op_type == 'ArgMax']


def ordered_logits(parts: Sequence[tuple[np.ndarray, int]], labels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray | None:
    """Logits (nx, ny, nz, classes) float32 from the inputs of ArgMax nodes (one per strip of the map) and their class axes.

    Maps are (Y, X) and volumes (Z, Y, X), strips follow each other along the first of their axes that is cut short. None where
    that does not give the labels (nx, ny, nz) back.
    """
    if not parts:
        return None
    strips = [np.moveaxis(part, axis, -1).reshape(*np.moveaxis(part, axis, -1).shape[-4:]) for part, axis in parts]
    nx, ny, nz = shape
    for cut in range(3):
        whole = np.concatenate(strips, cut).astype(np.float32)
        if whole.shape[:3] == (ny, nx, nz):
            ordered = whole.transpose(1, 0, 2, 3)
        elif whole.shape[:3] == (nz, ny, nx):
            ordered = whole.transpose(2, 1, 0, 3)
        else:
            continue
        if (ordered.argmax(3) == labels).mean() > 0.999:  # equal logits may be decided either way
            return np.ascontiguousarray(ordered)
    return None


"""Whether an engine says what the network says: labels, logits, memory and mIoU beside the reference, layer by layer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.layer_outputs import LayerError, compare_layers, difference
from occ_perception.engines.precision import existing_files
from occ_perception.engines.protocol import Engine, EngineUnavailable, FrameMemory, Inference, LidarInput, PlacedFrame, voxel_caps
from occ_perception.engines.sessions import session_opener
from occ_perception.engines.tapped import TappedGraph, TappedTorch
from occ_perception.evaluation.parity_files import NetworkFiles
from occ_perception.evaluation.parity_frames import ParityFrame, by_sequence
from occ_perception.labels import FREE, OCC3D, UNKNOWN
from occ_perception.machine import multiplies_bf16
from occ_perception.metrics.miou import ConfusionMatrix
from occ_perception.runtime.predictor import Predictor

THRESHOLD = 0.995
"""Share of observed voxels that must have the reference's label, unless another is asked for."""
SOUND = 0.999
"""Below this share of equal labels a float32 file is no faithful export: layers are then held against a new one."""
LOGIT_FRAMES = 8
"""Frames, spread over all, whose logits are compared: each frame's take up to 46 MB of disk."""
_MENDS = {
    'f32': 'export the network again with `occ export`; if it stays so, the file or the runtime is at fault',
    'bf16': 'run it with precision f32',
    'f16': 'keep the layers in float32 at which the error begins, or run it with precision f32',
    'int8': 'calibrate it with more and more varied frames, keep the layers out of it at which the error begins, or run it with '
            'bf16 or f32',
}


class EngineRefused(ValueError):
    """An engine says too little of what the network says; the message tells which, how much, and what to do."""


@dataclass(frozen=True)
class Choice:
    """A backend in a precision."""

    backend: str
    precision: str

    @property
    def name(self) -> str:
        """For people: openvino bf16."""
        return f'{self.backend} {self.precision}'


CHOICES = tuple(Choice(backend, precision) for backend, precisions in (
    ('onnxruntime', ('f32', 'int8')), ('openvino', ('f32', 'bf16', 'int8')), ('tensorrt', ('f32', 'f16', 'int8')))
    for precision in precisions)
"""Everything that is compared with the reference unless something is chosen."""


@dataclass
class EngineParity:
    """One engine beside the reference.

    voxels: observed ones of all frames. agreement: share of them with the same label; occupied_agreement: among those that are
    occupied in one of the two; classes: among those of a class of the reference, by its name; frames: of each frame. logits, memory
    (by name): (rms, maximum) of the difference over the rms of the reference, None where they cannot be compared. miou,
    reference_miou: under the camera mask, 0..1, NaN without truth. worst: index of the frame that agrees least; labels: its grid.
    layers: errors at that frame, in the order of the graph, file by file.
    """

    choice: Choice
    description: str
    voxels: int = 0
    agreement: float = 0.0
    occupied_agreement: float = 0.0
    classes: dict[str, float] = field(default_factory=dict)
    frames: list[float] = field(default_factory=list)
    logits: tuple[float, float] | None = None
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    miou: float = float('nan')
    reference_miou: float = float('nan')
    worst: int = 0
    labels: np.ndarray | None = None
    layers: list[LayerError] = field(default_factory=list)


@dataclass
class ParityRun:
    """A network's reference with every engine that ran beside it. missing: why the others did not. labels: of the reference."""

    row: NetworkEntry
    reference: str
    frames: Sequence[ParityFrame]
    labels: list[np.ndarray] = field(default_factory=list)
    engines: list[EngineParity] = field(default_factory=list)
    missing: dict[Choice, str] = field(default_factory=dict)


def refuse_below(agreement: float, threshold: float, engine: str, precision: str = 'f32') -> None:
    """Raise EngineRefused when an engine agrees with the reference in too few labels.

    agreement, threshold: shares of observed voxels, 0..1. engine: what people call it. precision: decides which mend is told.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f'threshold {threshold}: a share of equal labels, from 0 to 1')
    if not agreement >= threshold:
        raise EngineRefused(f'{engine} is refused: {_share(agreement)} of its labels are those of the reference, '
                            f'{_share(threshold)} are asked for; {_MENDS[precision]}, or accept it with a lower --threshold')


def missing_for(choice: Choice, files: NetworkFiles) -> str | None:
    """Why an engine cannot run here, with the mend; None when nothing is known to keep it."""
    if files.checkpoint is None and choice == Choice('onnxruntime', 'f32'):
        return f'it is the reference itself: {files.note}'
    if choice.backend == 'tensorrt':
        from occ_perception.engines.tensorrt_engine import missing_for_tensorrt

        missing = missing_for_tensorrt()
        if missing:
            return missing
    if choice.precision == 'bf16' and not multiplies_bf16():
        return 'this processor does not multiply bf16; OpenVINO would run f32'
    try:
        existing_files(files.onnx, files.row, choice.precision)
    except EngineUnavailable as error:
        return str(error)
    return None


def compare_engines(files: NetworkFiles, frames: Sequence[ParityFrame], choices: Sequence[Choice] = CHOICES,
                    threads: int | None = None, layers: bool = True,
                    on_progress: Callable[[str, float], None] = lambda what, share: None) -> ParityRun:
    """Run the reference and then one engine after the other over the same frames, the past as it would be live.

    files: of the network; the reference is PyTorch where its checkpoint and torch are there, else ONNX Runtime in float32. layers:
    whether the worst frame of each engine is also compared layer by layer. on_progress: told what is worked on, and the share of it
    that was done since the last call. An engine that cannot run is put in `missing`.
    """
    with tempfile.TemporaryDirectory(prefix='occ-parity-') as name:
        folder = Path(name)
        reference = _Reference(files, frames, folder, threads, on_progress)
        run = ParityRun(files.row, reference.description, frames, reference.labels)
        for choice in choices:
            missing = missing_for(choice, files)
            if missing is None:
                try:
                    parity, feeds = _compare(choice, files, frames, reference, folder, threads, on_progress)
                except EngineUnavailable as error:
                    missing = str(error)
            if missing is not None:
                run.missing[choice] = missing
                continue
            run.engines.append(parity)
            files.suspect |= choice.precision == 'f32' and parity.agreement < SOUND
            if layers:
                parity.layers = layer_errors(choice, files, feeds, threads, partial(on_progress, f'{choice.name}, layers'))
    return run


def layer_errors(choice: Choice, files: NetworkFiles, feeds: Sequence[dict[str, Any]], threads: int | None = None,
                 on_progress: Callable[[float], None] = lambda share: None) -> list[LayerError]:
    """Errors of an engine's layers beside ONNX Runtime in float32, of each file of the network for what it was fed."""
    errors = []
    references = existing_files(files.trusted_onnx(), files.row, 'f32')
    candidates = existing_files(files.onnx, files.row, choice.precision)
    for reference, candidate, given in zip(references, candidates, feeds, strict=True):
        errors += compare_layers(reference, candidate, session_opener('onnxruntime', 'f32', threads),
                                 session_opener(choice.backend, choice.precision, threads), given, choice.precision,
                                 lambda share: on_progress(share / len(feeds)))
    return errors


class _Reference:
    """What the reference says of every frame; the large part of it lies in a folder."""

    def __init__(self, files: NetworkFiles, frames: Sequence[ParityFrame], folder: Path, threads: int | None,
                 step: Callable[[str, float], None]) -> None:
        self._folder = folder
        tapped: TappedGraph | TappedTorch
        if files.checkpoint is not None:
            tapped = TappedTorch(files.row, files.checkpoint, threads)
            predictor = Predictor(files.row.name, 'torch', files.checkpoint, threads, files.memory)
        else:
            tapped = TappedGraph(files.row, files.onnx, 'f32', files.memory, session_opener('onnxruntime', 'f32', threads), folder)
            predictor = Predictor(files.row.name, 'onnxruntime', files.onnx, threads, files.memory, precision='f32')
        self.description = tapped.description
        self.labels: list[np.ndarray] = []
        self.logit_frames = set(np.linspace(0, len(frames) - 1, min(LOGIT_FRAMES, len(frames))).round().astype(int).tolist())
        predictor.engine = call = _Call(tapped)
        for index, labels in enumerate(_answers(predictor, frames)):
            self.labels.append(labels)
            if index in self.logit_frames and tapped.logits is not None:
                np.save(self._file('logits', index), tapped.logits[labels != UNKNOWN])
            for name, value in _remembered(call.inference.memory).items() if files.row.frames > 1 else ():
                np.save(self._file(name, index), value)
            step(f'reference, {self.description.split()[0]}', 1 / len(frames))

    def value(self, name: str, index: int) -> np.ndarray | None:
        """Logits (n, classes) of the observed voxels, or a part of the memory, of a frame; None where it was not kept."""
        file = self._file(name, index)
        return np.load(file) if file.is_file() else None

    def _file(self, name: str, index: int) -> Path:
        return self._folder / f'reference-{name}-{index}.npy'


class _Call:
    """An engine that keeps what it was asked last, and its answer; see Engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.description, self.voxel_caps = engine.description, voxel_caps(engine)
        self.asked: tuple[np.ndarray, Sequence[PlacedFrame], LidarInput | None]
        self.inference: Inference

    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer."""
        self.asked = images, frames, lidar
        self.inference = self._engine.infer(images, frames, lidar)
        return self.inference


def _compare(choice: Choice, files: NetworkFiles, frames: Sequence[ParityFrame], reference: _Reference, folder: Path,
             threads: int | None, step: Callable[[str, float], None]) -> tuple[EngineParity, list[dict[str, Any]]]:
    """One engine over all frames; also what its graphs were fed at the worst one."""
    predictor = Predictor(files.row.name, choice.backend, files.onnx, threads, files.memory, precision=choice.precision)
    tapped = TappedGraph(files.row, files.onnx, choice.precision, files.memory,
                         session_opener(choice.backend, choice.precision, threads), folder)
    out = EngineParity(choice, predictor.engine.description)
    predictor.engine = call = _Call(predictor.engine)
    counts, logits = _LabelCounts(), _Errors()
    memory: dict[str, _Errors] = {}
    feeds: list[dict[str, Any]] = []
    for index, labels in enumerate(_answers(predictor, frames)):
        expected = reference.labels[index]
        out.frames.append(counts.add(labels, expected, frames[index]))
        worst = out.labels is None or out.frames[index] < out.frames[out.worst]
        for name, value in _remembered(call.inference.memory).items():
            known = reference.value(name, index)
            if known is not None:
                memory.setdefault(name, _Errors()).add(known, value)
        if worst or index in reference.logit_frames:
            tapped.infer(*call.asked)
        if index in reference.logit_frames:
            known, found = reference.value('logits', index), tapped.logits
            if known is not None and found is not None:
                logits.add(known, found[expected != UNKNOWN])
        if worst:
            out.worst, out.labels = index, labels
            feeds = [{name: _array(value) for name, value in tap.feeds.items()} for tap in tapped.taps]
        step(choice.name, 1 / len(frames))
    counts.fill(out)
    out.logits = logits.figures
    out.memory = {name: errors.figures for name, errors in memory.items() if errors.figures is not None}
    return out, feeds


def _answers(predictor: Predictor, frames: Sequence[ParityFrame]) -> Iterator[np.ndarray]:
    for begins, frame in by_sequence(frames):
        if begins:
            predictor.reset()
        yield predictor.predict(frame.sensors).labels


class _LabelCounts:
    """Equal labels, counted over frames."""

    def __init__(self) -> None:
        self._pairs = np.zeros((len(OCC3D), len(OCC3D)), np.int64)
        self._scores = ConfusionMatrix(), ConfusionMatrix()

    def add(self, labels: np.ndarray, expected: np.ndarray, frame: ParityFrame) -> float:
        """Count a frame; returns its agreement."""
        observed = expected != UNKNOWN
        known, found = expected[observed].astype(np.int64), labels[observed].astype(np.int64)
        found[found >= len(OCC3D)] = FREE  # an engine that answers what is no class at all agrees with nothing but free
        pairs = np.bincount(len(OCC3D) * known + found, minlength=len(OCC3D) ** 2).reshape(self._pairs.shape)
        self._pairs += pairs
        if frame.truth is not None:
            for score, answer in zip(self._scores, (expected, labels), strict=True):
                score.add(answer, frame.truth.labels, frame.truth.mask_camera)
        return float(np.trace(pairs) / max(pairs.sum(), 1))

    def fill(self, out: EngineParity) -> None:
        """Put the figures where they belong."""
        hits, wanted = np.diag(self._pairs), self._pairs.sum(axis=1)
        out.voxels = int(wanted.sum())
        out.agreement = float(hits.sum() / max(out.voxels, 1))
        out.occupied_agreement = float(hits[:FREE].sum() / max(out.voxels - hits[FREE], 1))
        out.classes = {info.name: float(hits[info.id] / wanted[info.id]) for info in OCC3D if wanted[info.id]}
        out.reference_miou, out.miou = (score.miou() for score in self._scores)


class _Errors:
    """Differences added up over frames: the mean of squares over that of the reference, the largest of all."""

    def __init__(self) -> None:
        self._squares, self._maximum, self._count = 0.0, 0.0, 0

    def add(self, reference: np.ndarray, candidate: np.ndarray) -> None:
        """Add one array."""
        rms, maximum = difference(reference, candidate)
        self._squares, self._maximum, self._count = self._squares + rms ** 2, max(self._maximum, maximum), self._count + 1

    @property
    def figures(self) -> tuple[float, float] | None:
        """(rms, maximum), relative; None before anything was added."""
        return (float(np.sqrt(self._squares / self._count)), self._maximum) if self._count else None


def _remembered(memory: FrameMemory | None) -> dict[str, np.ndarray]:
    """The parts of a memory that are there, by name."""
    return {} if memory is None else {name: _array(value) for name, value in vars(memory).items() if value is not None}


def _array(value: Any) -> np.ndarray:
    """An array on this side, wherever the engine keeps it."""
    return np.asarray(value.cpu() if hasattr(value, 'cpu') else value)


def _share(value: float) -> str:
    return f'{100 * value:.2f} %'

"""What every graph of a network is fed while it predicts: the numbers that quantisation is calibrated with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.graph_engine import Session, engine_of
from occ_perception.engines.precision import graph_files
from occ_perception.engines.protocol import EXACT
from occ_perception.engines.sessions import session_opener
from occ_perception.evaluation.parity_frames import ParityFrame, by_sequence
from occ_perception.runtime.predictor import Predictor

Feeds = dict[str, np.ndarray]


class _Recorder:
    """A session that keeps all it was given; see graph_engine.Session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.shapes, self.description = session.shapes, session.description
        self.given: list[Feeds] = []

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See Session.run."""
        self.given.append({name: array.copy() for name, array in feeds.items()})
        return self._session.run(feeds)


def recorded_feeds(row: NetworkEntry, onnx_file: Path, frames: Sequence[ParityFrame], memory: str = EXACT,
                   threads: int | None = None, on_frame: Callable[[], None] = lambda: None) -> dict[Path, list[Feeds]]:
    """Inputs of each file of an exported network (graph_files) while a Predictor answers frames in float32, memory as it is live.

    frames: of parity_frames, in the order of their stamps within each sequence. backend: OpenVINO. on_frame: called after each
    frame. Where past frames are matched or stood in for, a frame runs a graph more than once. Raises ValueError without frames, and
    what open_engine raises.
    """
    if not frames:
        raise ValueError('calibration needs frames: at least one')
    predictor = Predictor(row.name, 'openvino', onnx_file, threads, memory, precision='f32')
    open_session = session_opener('openvino', 'f32', threads)
    recorders = {file: _Recorder(open_session(file)) for file in graph_files(onnx_file, row)}
    predictor.engine = engine_of(list(recorders.values()), memory)
    for begins, frame in by_sequence(frames):
        if begins:
            predictor.reset()
        predictor.predict(frame.sensors)
        on_frame()
    return {file: recorder.given for file, recorder in recorders.items()}

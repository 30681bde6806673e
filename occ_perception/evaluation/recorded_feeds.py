"""What every graph of a network is fed while it predicts: the numbers that quantisation is calibrated with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """A session that tells what it is given; see graph_engine.Session."""

    def __init__(self, session: Session, tell: Callable[[Feeds], None]) -> None:
        self._session, self._tell = session, tell
        self.shapes, self.description = session.shapes, session.description

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See Session.run."""
        self._tell({name: array.copy() for name, array in feeds.items()})
        return self._session.run(feeds)


def recorded_feeds(row: NetworkEntry, onnx_file: Path, frames: Sequence[ParityFrame], memory: str = EXACT,
                   threads: int | None = None) -> Iterator[list[tuple[Path, Feeds]]]:
    """Inputs of the files of an exported network (graph_files), frame by frame, while a Predictor answers in float32.

    Memory is as it is live. frames: of parity_frames, in the order of their stamps within each sequence. Backend: OpenVINO. Where
    past frames are matched or stood in for, a frame runs a graph more than once. Raises ValueError without frames, and what
    open_engine raises.
    """
    if not frames:
        raise ValueError('calibration needs frames: at least one')
    predictor = Predictor(row.name, 'openvino', onnx_file, threads, memory, precision='f32')
    open_session = session_opener('openvino', 'f32', threads)
    given: list[tuple[Path, Feeds]] = []
    predictor.engine = engine_of([_Recorder(open_session(file), lambda feeds, file=file: given.append((file, feeds)))  # type: ignore[misc]
                                  for file in graph_files(onnx_file, row)], memory)
    for begins, frame in by_sequence(frames):
        if begins:
            predictor.reset()
        predictor.predict(frame.sensors)
        yield list(given)
        given.clear()

"""Exported networks as engines: what a static graph is fed, whoever runs it.

Arrays are NumPy's, or torch tensors on one device where the session takes those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from occ_perception.engines.panoocc_tables import MOTION
from occ_perception.engines.protocol import (
    EXACT,
    WARPED,
    CenterArrays,
    Engine,
    EngineUnavailable,
    FrameMemory,
    Inference,
    LidarInput,
    PlacedFrame,
)
from occ_perception.geometry.array_library import Array, filled
from occ_perception.geometry.array_library import stacked as stacked_arrays
from occ_perception.geometry.column_lift import LiftTables

PAST, PREPARED, PAST_MAPS, MAP, WARPS, CAMERAS = 'past', 'prepared', 'past_maps', 'map', 'warps', 'cameras'
STEREO, BEFORE, SWEEPS, MATCHED = 'stereo', 'before', 'sweeps', 'matched'
HINTS, VOXELS, FLOW = 'hints', 'voxels', 'flow'
"""Names in exported graphs, beside `images`, the lift tables, the neighbour tables, `labels` and those of CenterArrays."""


def stage_files(path: Path) -> tuple[Path, Path]:
    """The two files that stand beside the one of a stereo network: images to features, and their matching."""
    return path.with_suffix('.encode.onnx'), path.with_suffix('.match.onnx')


_OTHER_FORM = ('the exported network remembers in the form {0!r}, {1!r} is asked for: export it with '
               '`occ export NAME --memory {1}`, or choose the torch backend')


class Session(Protocol):
    """A runtime with one exported graph in it. shapes: of its inputs, by name."""

    description: str
    shapes: dict[str, tuple[int, ...]]

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every output by name; the arrays are the caller's own."""
        ...


class GraphEngine:
    """An exported network in a session, see Engine. memory: the form of memory that is asked for.

    voxel_caps: rows per level that it has room for, of networks that take LiDAR points.
    """

    def __init__(self, session: Session, memory: str = EXACT) -> None:
        self._session = session
        self.description = session.description
        shapes = session.shapes
        self.voxel_caps: tuple[int, ...] | None = None
        if VOXELS in shapes:
            steps = sorted(name for name in shapes if name.startswith('step_'))
            self.voxel_caps = (shapes[VOXELS][0], *(shapes[name][0] for name in steps))
        self._sees = 'images' in shapes
        past = next((name for name in (PAST, PAST_MAPS) if name in session.shapes), None)
        self._past = past
        made_for = WARPED if past == PAST_MAPS else EXACT
        if past is not None and made_for != memory:
            raise EngineUnavailable(_OTHER_FORM.format(made_for, memory))

    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer. Raises ValueError for a network of LiDAR points without LiDAR input."""
        feeds = {'images': images} if self._sees else {}
        if self.voxel_caps is not None:
            feeds |= _points(lidar, HINTS in self._session.shapes)
        if self._past is None:
            feeds |= self._geometry(frames[:1], stacked=False) if self._sees else {}
            return _inference(self._session.run(feeds))
        missing = [index for index, frame in enumerate(frames[1:]) if frame.memory is None]
        if self._past == PAST:
            feeds |= self._geometry(frames, stacked=True)
            past = filled(images, self._session.shapes[PAST], 0, 'float32')
            for index, frame in enumerate(frames[1:]):
                if frame.memory is not None:
                    past[index] = frame.memory.prepared
            feeds[PAST] = past
        else:
            feeds |= self._geometry(frames[:1], stacked=False) | _warped(images, frames[1:], self._session.shapes[PAST_MAPS])
        outputs = self._session.run(feeds)
        if missing:  # the present frame stands in for the past: known only now
            feeds[self._past][missing] = outputs[PREPARED if self._past == PAST else MAP]
            outputs = self._session.run(feeds)
        return _inference(outputs)

    def _geometry(self, frames: Sequence[PlacedFrame], stacked: bool) -> dict[str, np.ndarray]:
        return _geometry(frames, stacked, CAMERAS in self._session.shapes)


class StereoGraphEngine:
    """A stereo network in three sessions, see Engine: encode (a frame's features), match (costs of two frames), fuse (the rest)."""

    def __init__(self, encode: Session, match: Session, fuse: Session, memory: str = EXACT) -> None:
        self._encode, self._match, self._fuse = encode, match, fuse
        self.description = fuse.description
        made_for = WARPED if PAST_MAPS in fuse.shapes else EXACT
        if made_for != memory:
            raise EngineUnavailable(_OTHER_FORM.format(made_for, memory))
        self._exact = made_for == EXACT

    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer."""
        encoded = self._encode.run({'images': images})
        present = FrameMemory(encoded[PREPARED], encoded[STEREO])
        costs: dict[int, np.ndarray] = {}
        for frame in frames if self._exact else frames[:1]:
            memory = frame.memory or present
            if frame.match is None:
                costs[id(frame)] = memory.matched
            elif id(frame) not in costs:
                before = frame.match.before or present
                feeds = {STEREO: memory.stereo, BEFORE: before.stereo, SWEEPS: frame.match.sweeps}
                costs[id(frame)] = self._match.run(feeds)[MATCHED]
        first = costs[id(frames[0])]
        if self._exact:
            feeds = _geometry(frames, True, True)
            feeds[PREPARED] = stacked_arrays([(frame.memory or present).prepared for frame in frames])
            feeds[MATCHED] = stacked_arrays([costs[id(frame)] for frame in frames])
            outputs = self._fuse.run(feeds)
        else:
            feeds = _geometry(frames[:1], False, True) | {PREPARED: present.prepared, MATCHED: first}
            feeds |= _warped(images, frames[1:], self._fuse.shapes[PAST_MAPS])
            outputs = self._fuse.run(feeds)
            missing = [index for index, frame in enumerate(frames[1:]) if frame.memory is None]
            if missing:
                feeds[PAST_MAPS][missing] = outputs[MAP]
                outputs = self._fuse.run(feeds)
        decided = _inference(outputs)
        return Inference(decided.labels, decided.centers, FrameMemory(present.prepared, present.stereo, first, outputs.get(MAP)))


def engine_of(sessions: Sequence[Session], memory: str = EXACT) -> Engine:
    """The engine of an exported network: of the one session with it, or of a stereo network's three (encode, match, fuse)."""
    if len(sessions) == 1:
        if MOTION in sessions[0].shapes:
            from occ_perception.engines.panoocc_graph_engine import PanoOccGraphEngine

            return PanoOccGraphEngine(sessions[0])
        return GraphEngine(sessions[0], memory)
    encode, match, fuse = sessions
    return StereoGraphEngine(encode, match, fuse, memory)


def _points(lidar: LidarInput | None, hinted: bool) -> dict[str, np.ndarray]:
    """LiDAR input by name; hinted: with depth hints."""
    if lidar is None or (hinted and lidar.hints is None):
        raise ValueError(f'this network takes LiDAR points{" and depth hints" if hinted else ""}: none were given')
    return {VOXELS: lidar.voxels, **lidar.tables} | ({} if lidar.hints is None else {HINTS: lidar.hints})


def _geometry(frames: Sequence[PlacedFrame], stacked: bool, camera_aware: bool) -> dict[str, np.ndarray]:
    """Tables and camera vectors of frames; stacked: with an axis of frames."""
    tables = [frame.tables or {} for frame in frames]
    feeds = {name: stacked_arrays([table[name] for table in tables]) if stacked else tables[0][name] for name in LiftTables.NAMES}
    if camera_aware:
        cameras = [frame.cameras for frame in frames if frame.cameras is not None]
        feeds[CAMERAS] = stacked_arrays(cameras) if stacked else cameras[0]
    return feeds


def _warped(like: Array, frames: Sequence[PlacedFrame], shape: tuple[int, ...]) -> dict[str, Array]:
    """Remembered maps with how they are moved; zeros, unmoved, for frames that are missing. like: on their device."""
    past = filled(like, shape, 0, 'float32')
    warps = filled(like, (len(frames), 2, 3), 0, 'float32')
    for index, frame in enumerate(frames):
        if frame.warp is not None:
            warps[index] = frame.warp
        else:
            warps[index, 0, 0] = warps[index, 1, 1] = 1
        if frame.memory is not None:
            past[index] = frame.memory.map
    return {PAST_MAPS: past, WARPS: warps}


def _inference(outputs: Mapping[str, np.ndarray]) -> Inference:
    centers = CenterArrays(*(outputs[name] for name in CenterArrays._fields)) if 'heatmap' in outputs else None
    memory = FrameMemory(prepared=outputs.get(PREPARED), map=outputs.get(MAP)) if {PREPARED, MAP} & set(outputs) else None
    return Inference(outputs['labels'], centers, memory, outputs.get(FLOW))

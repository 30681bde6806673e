"""An engine that answers through another backend while its plan is built by another process, and switches between two frames."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from occ_perception.engines.protocol import (
    Engine,
    FrameMemory,
    Inference,
    LidarInput,
    Pending,
    PlacedFrame,
    TablesOf,
    submit,
    voxel_caps,
)

_LOG = logging.getLogger(__name__)


class Build:
    """A process that builds, and what it says. command: prints a JSON object per line, the fields of BuildProgress.

    then: called in a thread of its own when the process has ended well.
    """

    def __init__(self, command: Sequence[str], then: Callable[[], None]) -> None:
        self.news = 'build begins'
        """How far it is, in words; '' when all is done; begins with 'build failed' when it came to nothing."""
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._said: deque[str] = deque(maxlen=20)
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()
        threading.Thread(target=self._follow, args=(then,), name='engine build', daemon=True).start()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()

    def _hear(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said.append(line.strip())

    def _follow(self, then: Callable[[], None]) -> None:
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                progress = json.loads(line)
                self.news = f'building, {100 * progress["fraction"]:.0f} %: {progress["phase"]}, {progress["seconds"]:.0f} s'
            self._hearing.join()
            if self._process.wait():
                raise ValueError(next(filter(None, reversed(self._said)), f'status {self._process.returncode}'))
            self.news = 'loading the engine'
            then()
            self.news = ''
        except Exception as error:
            self._process.kill()
            self.news = f'build failed: {type(error).__name__}: {error}'
            _LOG.error('%s', self.news)


class BuildingEngine:
    """See the module's description; see Engine. What was remembered before the switch is remembered after it.

    stand_in: answers meanwhile, and for good where the build fails. command: of Build. open_built: the engine, once it is built;
    called in another thread. Its memory is in arrays, without the axis of batches that a torch stand-in has.
    """

    def __init__(self, stand_in: Engine, command: Sequence[str], open_built: Callable[[], Engine]) -> None:
        self._serving, self._open = stand_in, open_built
        self._built: Engine | None = None
        self.description = stand_in.description
        self._converted: dict[int, tuple[FrameMemory, FrameMemory]] = {}
        self._build = Build(command, self._load)

    @property
    def news(self) -> str:
        """How far the build is and what serves meanwhile; '' after the switch."""
        news = self._build.news
        return f'{news}; {self.description} serves' if news else ''

    def close(self) -> None:
        """End the build."""
        self._build.stop()

    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer."""
        return self.submit(images, frames, lidar).result()

    def submit(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None,
               observed: np.ndarray | None = None) -> Pending:
        """See protocol.submit. With points the engine answers that was asked for `voxel_caps`: tables are padded to them."""
        if lidar is None:
            self._switch()
        if self._serving is self._built:
            before, self._converted = self._converted, {}
            placed = {id(frame): self._placed(frame, before) for frame in frames}
            frames = [placed[id(frame)] for frame in frames]
        return submit(self._serving, images, frames, lidar, observed)

    @property
    def tables_of(self) -> TablesOf | None:
        """That of the engine that answers next; see Engine."""
        self._switch()
        return getattr(self._serving, 'tables_of', None)

    @property
    def voxel_caps(self) -> tuple[int, ...] | None:
        """Those of the engine that answers next; see Engine."""
        self._switch()
        return voxel_caps(self._serving)

    def _switch(self) -> None:
        if self._built is not None and self._serving is not self._built:
            _LOG.warning('%s serves from now on, in place of %s', self._built.description, self.description)
            self._serving, self.description = self._built, self._built.description

    def _load(self) -> None:
        self._built = self._open()

    def _placed(self, frame: PlacedFrame, before: dict[int, tuple[FrameMemory, FrameMemory]]) -> PlacedFrame:
        """A frame whose memory is in arrays, which were made once. before: what was made for the last frame."""
        def arrays(memory: FrameMemory | None) -> FrameMemory | None:
            if memory is None or all(value is None or isinstance(value, np.ndarray) for value in vars(memory).values()):
                return memory
            if id(memory) not in self._converted:
                self._converted[id(memory)] = before.get(id(memory)) or (memory, _as_arrays(memory))
            return self._converted[id(memory)][1]
        match = frame.match if frame.match is None else replace(frame.match, before=arrays(frame.match.before))
        return replace(frame, memory=arrays(frame.memory), match=match)


def _as_arrays(memory: FrameMemory) -> FrameMemory:
    """Memory of a torch engine as that of an exported graph."""
    def array(value: Any) -> Any:
        return value if value is None or isinstance(value, np.ndarray) else value[0].cpu().numpy()
    return FrameMemory(**{field.name: array(getattr(memory, field.name)) for field in fields(memory)})

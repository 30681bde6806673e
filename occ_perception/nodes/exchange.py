"""Hand-over of frames by reference between the nodes of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from occ_perception.geometry.array_library import Array
from occ_perception.runtime.frames import LidarSweep

Result = TypeVar('Result')


class Lazy(Generic[Result]):
    """A value that is made once: in a thread pool when started, else in the thread that first asks for it."""

    def __init__(self, make: Callable[[], Result], pool: ThreadPoolExecutor | None = None) -> None:
        self._make = make
        self._pool = pool
        self._lock = threading.Lock()
        self._future: Future[Result] | None = None

    def start(self) -> Future[Result]:
        """Begin making it, unless that was done already."""
        with self._lock:
            if self._future is None:
                if self._pool is not None:
                    self._future = self._pool.submit(self._make)
                else:
                    self._future = Future()
                    try:
                        self._future.set_result(self._make())
                    except Exception as error:
                        self._future.set_exception(error)
            return self._future

    def result(self) -> Result:
        """The value; raises what making it raised."""
        return self.start().result()


@dataclass(frozen=True)
class CameraFrame:
    """One picture on its way: picture gives ((h, w, 3) uint8 RGB, its (3, 3) intrinsics).

    It has network size, unless it was decoded on a GPU and is a tensor there.
    """

    camera: str
    stamp_ns: int
    frame_id: str
    picture: Lazy[tuple[Array, np.ndarray]]


@dataclass(frozen=True)
class Sweep:
    """One LiDAR reading on its way: sweeps gives it with earlier ones, as SensorFrame has them, in the ego frame at stamp_ns."""

    stamp_ns: int
    sweeps: Lazy[tuple[LidarSweep, ...]]


@dataclass
class Exchange:
    """What the nodes of one process give each other; whoever takes frames adds a function."""

    camera_takers: list[Callable[[CameraFrame], None]] = field(default_factory=list)
    sweep_takers: list[Callable[[Sweep], None]] = field(default_factory=list)

    def give_camera(self, frame: CameraFrame) -> None:
        """Hand a picture to every taker."""
        for take in tuple(self.camera_takers):
            take(frame)

    def give_sweep(self, sweep: Sweep) -> None:
        """Hand a sweep to every taker."""
        for take in tuple(self.sweep_takers):
            take(sweep)

"""What serves while the LiDAR or all cameras are dead: another network, or the same with that input masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.runtime.frames import OccupancyPrediction, PendingPrediction, SensorFrame

NO_LIDAR, NO_CAMERAS = 'no_lidar', 'no_cameras'
"""What a frame may lack."""
MASK = 'mask'
"""In place of a network's name: the network itself, with the input masked."""


class InputMissing(ValueError):
    """A frame lacks an input that its network needs and nothing stands in for; `lacking` says which."""

    def __init__(self, network: str, lacking: str) -> None:
        what = 'LiDAR' if lacking == NO_LIDAR else 'cameras'
        super().__init__(f'{network} needs {what}, and no network is named in fallback_without_{what.lower()}')
        self.lacking = lacking


class Serves(Protocol):
    """A Predictor, or what may stand for one."""

    entry: NetworkEntry

    @property
    def news(self) -> str: ...

    def submit(self, frame: SensorFrame) -> PendingPrediction: ...

    def reset(self) -> None: ...


class InputWatch:
    """What the frames of a stream lack. hold_s: an input that was lost counts as lost until it has been there for so long."""

    def __init__(self, hold_s: float) -> None:
        self._hold_ns = round(hold_s * 1e9)
        self._lacking, self._lost_ns = '', 0

    def lacking(self, stamp_ns: int, lidar: bool, cameras: bool) -> str:
        """NO_LIDAR or NO_CAMERAS, '' where both are there and have been for a while. Frames in the order of their stamps.

        Raises ValueError when neither is there.
        """
        if not lidar and not cameras:
            raise ValueError('a frame has neither pictures nor LiDAR points')
        now = '' if lidar and cameras else NO_CAMERAS if lidar else NO_LIDAR
        if now:
            self._lacking, self._lost_ns = now, stamp_ns
        elif not 0 <= stamp_ns - self._lost_ns < self._hold_ns:
            self._lacking = ''
        return self._lacking

    def reset(self) -> None:
        """Forget what was lost."""
        self._lacking = ''


class FallbackPredictor:
    """A network of cameras and LiDAR, and what serves in its place where one of them is dead; all of them ready to run.

    stand_ins: NO_LIDAR, NO_CAMERAS -> predictor; `whole` itself is one that can work with the input masked. hold_s: see InputWatch.
    """

    def __init__(self, whole: Serves, stand_ins: Mapping[str, Serves], hold_s: float = 1.0) -> None:
        self.entry = whole.entry
        self._whole, self._stand_ins, self._watch = whole, stand_ins, InputWatch(hold_s)

    @property
    def news(self) -> str:
        """What is to be told of the engines."""
        told = (each.news for each in (self._whole, *self._stand_ins.values()))
        return '; '.join(dict.fromkeys(news for news in told if news))

    def predict(self, frame: SensorFrame) -> OccupancyPrediction:
        """Occupancy of a frame; see submit."""
        return self.submit(frame).result()

    def submit(self, frame: SensorFrame) -> PendingPrediction:
        """Begin with a frame, by what serves for what it lacks; the prediction tells which. Raises InputMissing."""
        lacking = self._watch.lacking(frame.stamp_ns, bool(frame.sweeps), bool(frame.cameras))
        if not lacking:
            return self._whole.submit(frame)
        if lacking not in self._stand_ins:
            raise InputMissing(self.entry.name, lacking)
        frame = replace(frame, sweeps=()) if lacking == NO_LIDAR else replace(frame, cameras={})
        pending = self._stand_ins[lacking].submit(frame)
        return PendingPrediction(lambda: replace(pending.result(), intended=self.entry.name, fallback=lacking))

    def reset(self) -> None:
        """Forget past frames and objects."""
        self._watch.reset()
        for each in {id(each): each for each in (self._whole, *self._stand_ins.values())}.values():
            each.reset()


def check_stand_in(row: NetworkEntry, lacking: str, name: str) -> None:
    """Raises ValueError when a network (or MASK) cannot stand in for the one of the row where that input is lacking."""
    parameter = f'fallback_without_{"lidar" if lacking == NO_LIDAR else "cameras"}'
    if not row.sees_by_lidar or not row.cameras:
        raise ValueError(f'{parameter} is {name!r}, but {row.name} does not take both cameras and LiDAR: leave it empty')
    if name == MASK:
        if not row.maskable:
            raise ValueError(f'{parameter} is {MASK!r}, but {row.name} was not trained with masked inputs: name a network '
                             f'that does without')
        return
    other = entry(name)
    if other.sees_by_lidar if lacking == NO_LIDAR else bool(other.cameras):
        raise ValueError(f'{parameter} is {name!r}, which needs what is lacking then: name a network that does without')
    if other.cameras and other.preprocessing != row.preprocessing:
        size, wanted = (f'{each.input_height}x{each.input_width}' for each in (other.preprocessing, row.preprocessing))
        raise ValueError(f'{parameter} is {name!r}, which takes pictures prepared otherwise ({size}, {row.name} {wanted}): name a '
                         'network with the same preprocessing')
    if other.grid != row.grid or other.labels.name != row.labels.name:
        raise ValueError(f'{parameter} is {name!r}, whose grid or label set differs from that of {row.name}')

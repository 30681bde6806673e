"""What a Predictor remembers of past frames, and when it has to forget."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from occ_perception.catalogue import HistorySpec
from occ_perception.engines.protocol import EXACT, FrameMemory

MAX_SPEED_M_S = 100.0
"""An ego vehicle that moved faster than this between two frames did not drive: another scene has begun."""
MOUNT_TOLERANCE_M, MOUNT_TOLERANCE_RAD, INTRINSICS_TOLERANCE = 0.05, 0.02, 0.01
"""Changes of a camera's mount and relative changes of its intrinsics that still count as the same calibration."""


@dataclass(frozen=True)
class CameraSet:
    """The cameras of one frame in the network's order.

    intrinsics: (N, 3, 3) at network size. ego_from_camera and fixed_from_camera: (N, 4, 4), the latter at each exposure.
    valid: (N,) bool, the others hold identities.
    """

    intrinsics: np.ndarray
    ego_from_camera: np.ndarray
    fixed_from_camera: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Remembered:
    """A past frame. fixed_from_ego: (4, 4) at stamp_ns. matched: whether it was matched against a true frame before it."""

    stamp_ns: int
    fixed_from_ego: np.ndarray
    cameras: CameraSet
    memory: FrameMemory
    matched: bool


class TemporalMemory:
    """Past frames of one stream, found again by their age.

    form: EXACT or WARPED, decides what of a frame is kept. max_gap_s: frames further apart do not belong together.
    """

    def __init__(self, history: HistorySpec, form: str = EXACT, max_gap_s: float = 2.0) -> None:
        self._history, self._form, self._max_gap_s = history, form, max_gap_s
        self._frames: list[Remembered] = []

    def clear(self) -> None:
        """Forget everything."""
        self._frames.clear()

    def __len__(self) -> int:
        return len(self._frames)

    def why_forget(self, stamp_ns: int, fixed_from_ego: np.ndarray, cameras: CameraSet) -> str:
        """Why the frames remembered do not belong to this one; '' when they do."""
        if not self._frames:
            return ''
        last = self._frames[-1]
        elapsed_s = (stamp_ns - last.stamp_ns) * 1e-9
        if elapsed_s <= 0:
            return 'time_jump'
        if elapsed_s > self._max_gap_s:
            return 'gap'
        if np.linalg.norm(fixed_from_ego[:3, 3] - last.fixed_from_ego[:3, 3]) > MAX_SPEED_M_S * elapsed_s:
            return 'pose_jump'
        return 'calibration' if _recalibrated(last.cameras, cameras) else ''

    def recall(self, stamp_ns: int) -> list[Remembered | None]:
        """The frame of each age that the network looks at, None where none is near enough."""
        found: list[Remembered | None] = []
        tolerance_ns = round(self._history.tolerance_s * 1e9)
        for offset_s in self._history.offsets_s:
            wanted_ns = stamp_ns - round(offset_s * 1e9)
            nearest = min(self._frames, key=lambda frame: abs(frame.stamp_ns - wanted_ns), default=None)
            near = nearest is not None and abs(nearest.stamp_ns - wanted_ns) <= tolerance_ns
            found.append(nearest if near else None)
        return found

    def add(self, frame: Remembered) -> None:
        """Remember a frame, newer than all others, and let go of what no later frame can look at."""
        offsets = self._history.offsets_s
        if not offsets:
            return
        kept = frame.memory
        if kept.prepared is not None:  # else the map is all there is
            kept = replace(kept, map=None) if self._form == EXACT else FrameMemory(map=kept.map, stereo=kept.stereo)
        reach_ns, matching_ns = (round((offset + self._history.tolerance_s) * 1e9) for offset in (offsets[-1], offsets[0]))
        self._frames = [self._thinned(old, frame.stamp_ns - old.stamp_ns > matching_ns) for old in self._frames
                        if frame.stamp_ns - old.stamp_ns <= reach_ns]
        self._frames.append(replace(frame, memory=kept))

    def _thinned(self, frame: Remembered, old: bool) -> Remembered:
        """Without what later frames are matched against, the largest part by far, once none can be."""
        if not old or frame.memory.stereo is None or (self._form == EXACT and not frame.matched):
            return frame
        return replace(frame, memory=replace(frame.memory, stereo=None))


def _recalibrated(before: CameraSet, now: CameraSet) -> bool:
    both = before.valid & now.valid
    moved = before.ego_from_camera[both] - now.ego_from_camera[both]
    focal = np.abs(before.intrinsics[both] - now.intrinsics[both]).max(axis=(1, 2), initial=0)
    return bool((np.abs(moved[:, :3, 3]) > MOUNT_TOLERANCE_M).any() or (np.abs(moved[:, :3, :3]) > MOUNT_TOLERANCE_RAD).any()
                or (focal > INTRINSICS_TOLERANCE * now.intrinsics[both, 0, 0]).any())

"""Keeps the identity of objects over frames and estimates their velocities.

Tracks live in the fixed frame, so the vehicle's own motion does not count as the objects'. Objects of networks without an
instance head are connected components, which grow, shrink, split and merge: see `compare` and `covered` in association.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from occ_perception.geometry.voxel_grid import OCC3D_GRID, VoxelGridSpec
from occ_perception.labels import OCC3D
from occ_perception.runtime.association import Looks, beyond_border, compare, covered, looks_of, match
from occ_perception.runtime.frames import Instance
from occ_perception.runtime.motion import RESTLESSNESS, TOP_SPEED, correct, predict

_LARGEST_ID = int(np.iinfo(np.uint16).max)
_MOST_RESTING = _LARGEST_ID // 2
_VOTE_S = 3.0
_VOTE_MARGIN = 1.5
_SIZE_S = 1.0
_HEADING_SPEED_M_S = 1.0


@dataclass(frozen=True)
class TrackerParams:
    """What decides which object is which; times in seconds, so that the frame rate does not matter.

    confirm_after_s: how long an object must have been seen before its velocity is told. forget_after_s: how long it is kept
    unseen, forget_new_after_s before it is confirmed; covered_pace: how fast that time runs while its place lies inside another
    object's box (components that have merged). id_rest_s: how long the id of a lost object is not given away again.
    max_gap_s: pause after which everything is forgotten. place_sigma_m: error of a box's centre for one look in look_period_s
    (looks in quicker succession err alike). gate: largest squared Mahalanobis distance of a match; class_change: what a change
    of class counts as. still_sigmas: a velocity within so many standard deviations of zero is told as zero.
    """

    confirm_after_s: float = 0.3
    forget_after_s: float = 1.2
    forget_new_after_s: float = 0.6
    covered_pace: float = 0.3
    id_rest_s: float = 60.0
    max_gap_s: float = 2.0
    place_sigma_m: float = 0.25
    look_period_s: float = 0.2
    gate: float = 16.0
    class_change: float = 4.0
    still_sigmas: float = 2.0


@dataclass(frozen=True)
class TrackedInstances:
    """One frame's objects with lasting ids. track_of (largest old id + 1,) uint16: old id -> lasting id, 0 stays 0."""

    instances: tuple[Instance, ...]
    track_of: np.ndarray

    def relabelled(self, instance_ids: np.ndarray) -> np.ndarray:
        """Instance id volume (nx, ny, nz) uint16 with lasting ids in place of the frame's own; a new array."""
        out = np.zeros_like(instance_ids)
        voxels = np.flatnonzero(instance_ids)
        out.reshape(-1)[voxels] = self.track_of[instance_ids.reshape(-1)[voxels]]
        return out


@dataclass(frozen=True)
class _Tracks:
    """One row per object. state (T, 4): x, y, vx, vy in the fixed frame; size (T, 2), yaw (T,) of its box; votes (T, classes)."""

    id: np.ndarray
    label: np.ndarray
    state: np.ndarray
    covariance: np.ndarray
    size: np.ndarray
    yaw: np.ndarray
    votes: np.ndarray
    age_s: np.ndarray
    missing_s: np.ndarray
    confirmed: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    def taken(self, which: np.ndarray) -> _Tracks:
        return _Tracks(*(getattr(self, field.name)[which] for field in fields(self)))

    def joined(self, other: _Tracks) -> _Tracks:
        return _Tracks(*(np.concatenate([getattr(self, field.name), getattr(other, field.name)]) for field in fields(self)))


class Tracker:
    """Follows the objects of one stream of frames. Call update in one thread, reset where frames are prepared.

    grid: what the objects are found in; boxes at its border count as cut off. resets: how often it was reset: a frame that is
    prepared before those ahead of it have been followed keeps the number of its own time, see update.
    """

    def __init__(self, params: TrackerParams | None = None, grid: VoxelGridSpec = OCC3D_GRID) -> None:
        self.params = params or TrackerParams()
        self._grid = grid
        self._last_id = 0
        self.resets = 0
        self._forget(0)

    def reset(self) -> None:
        """Forget all objects before the next frame; ids go on counting."""
        self.resets += 1

    def _forget(self, resets: int) -> None:
        self._followed_resets = resets
        self._tracks = _new_tracks(np.zeros(0, np.int64), looks_of((), np.eye(4), self._grid), 1.0)
        self._stamp_ns: int | None = None
        self._lost: dict[int, int] = {}

    def update(self, stamp_ns: int, fixed_from_ego: np.ndarray, instances: Sequence[Instance],
               resets: int | None = None) -> TrackedInstances:
        """The objects of a frame with lasting ids, their voted classes and their velocities over ground, in the same order.

        stamp_ns, fixed_from_ego (4, 4): of the frame; instances: in the ego frame then, ids from 1, each once. Velocities are in
        the ego frame, m/s, zero until an object is confirmed. The heading of an object that moves points the way it moves.
        Time that goes back, or a pause longer than max_gap_s, forgets everything first, and so does a number of resets that differs
        from that of the frame before; None: as many as there are now.
        """
        params = self.params
        resets = self.resets if resets is None else resets
        if resets != self._followed_resets:
            self._forget(resets)
        seconds = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        if not 0 <= seconds <= params.max_gap_s:
            self._forget(resets)
            seconds = 0.0
        self._stamp_ns = stamp_ns
        looks = looks_of(instances, fixed_from_ego, self._grid)
        tracks, owner = self._matched(looks, seconds)
        new = np.flatnonzero(owner < 0)
        owner[new] = len(tracks) + np.arange(len(new))
        tracks = tracks.joined(_new_tracks(self._new_ids(len(new), tracks.id), looks, params.place_sigma_m, new))
        limit = np.where(tracks.confirmed, params.forget_after_s, params.forget_new_after_s)
        alive = tracks.missing_s <= limit
        self._lost.update((int(gone), stamp_ns) for gone in tracks.id[~alive])
        self._tracks = tracks.taken(alive)
        return self._told(tracks.taken(owner), instances, fixed_from_ego)

    def _matched(self, looks: Looks, seconds: float) -> tuple[_Tracks, np.ndarray]:
        """The tracks after this frame, and which of them each look is of (D,), -1 = none."""
        params, tracks = self.params, self._tracks
        state, covariance = predict(tracks.state, tracks.covariance, seconds, RESTLESSNESS[tracks.label])
        sigma_m = params.place_sigma_m * max(1.0, params.look_period_s / max(seconds, 1e-3)) ** 0.5
        offset, noise = compare(state, tracks.size, tracks.yaw, looks, sigma_m, self._grid.resolution_m)
        reach_m = TOP_SPEED[tracks.label] * (seconds + tracks.missing_s) + 3 * sigma_m
        rows, columns = match(offset, covariance[:, None, :2, :2] + noise, tracks.label, looks, reach_m, params.gate,
                              params.class_change)
        state[rows], covariance[rows] = correct(state[rows], covariance[rows], offset[rows, columns], noise[rows, columns])
        missing_s = tracks.missing_s + seconds * np.where(covered(state[:, :2], tracks.label, looks), params.covered_pace, 1.0)
        missing_s[rows] = 0
        size, yaw, votes = tracks.size.copy(), tracks.yaw.copy(), tracks.votes * np.exp(-seconds / _VOTE_S)
        seen = looks.taken(columns)
        whole = size[rows] + (seen.size - size[rows]) * (1 - np.exp(-seconds / _SIZE_S))
        is_cut = np.any(seen.cut, axis=1, keepdims=True)
        size[rows], yaw[rows] = np.where(is_cut, np.maximum(size[rows], seen.size), whole), seen.yaw
        # A box that grows at the border grows beyond it; its inner side stays where it is.
        state[rows, :2] += beyond_border(size[rows], yaw[rows], seen) - beyond_border(tracks.size[rows], tracks.yaw[rows], seen)
        votes[rows, seen.label] += 1
        winner, every = votes.argmax(axis=1), np.arange(len(tracks))
        label = np.where(votes[every, winner] > _VOTE_MARGIN * votes[every, tracks.label], winner, tracks.label)
        age_s = tracks.age_s + seconds
        confirmed = tracks.confirmed | ((missing_s == 0) & (age_s >= params.confirm_after_s))
        owner = np.full(len(looks.place), -1)
        owner[columns] = rows
        return _Tracks(tracks.id, label, state, covariance, size, yaw, votes, age_s, missing_s, confirmed), owner

    def _new_ids(self, count: int, alive: np.ndarray) -> np.ndarray:
        """(count,) ids from 1 that no track has and none had of late; counts up and begins anew after the largest."""
        assert self._stamp_ns is not None
        rested = self._stamp_ns - round(1e9 * self.params.id_rest_s)
        self._lost = {lost: stamp for lost, stamp in list(self._lost.items())[-_MOST_RESTING:] if stamp > rested}
        taken = self._lost.keys() | set(alive.tolist())
        ids: list[int] = []
        while len(ids) < count:
            self._last_id = self._last_id % _LARGEST_ID + 1
            if self._last_id not in taken:
                ids.append(self._last_id)
        return np.array(ids, np.int64)

    def _told(self, tracks: _Tracks, instances: Sequence[Instance], fixed_from_ego: np.ndarray) -> TrackedInstances:
        """Instances with what their tracks (one row each) know of them."""
        speed = np.hypot(tracks.state[:, 2], tracks.state[:, 3])
        along = tracks.state[:, 2:] / np.maximum(speed, 1e-9)[:, None]
        sigma = np.sqrt(np.einsum('ti,tij,tj->t', along, tracks.covariance[:, 2:, 2:], along))
        moving = tracks.confirmed & (speed > self.params.still_sigmas * sigma)
        velocity = np.zeros((len(tracks), 3))
        velocity[moving, :2] = tracks.state[moving, 2:]
        velocity = velocity @ fixed_from_ego[:3, :3]
        told = []
        rows = zip(instances, tracks.id.tolist(), tracks.label.tolist(), velocity.tolist(), strict=True)
        for one, lasting, label, (x, y, z) in rows:
            yaw = one.yaw_rad
            if math.hypot(x, y) > _HEADING_SPEED_M_S and x * math.cos(yaw) + y * math.sin(yaw) < 0:
                yaw += math.pi if yaw <= 0 else -math.pi
            told.append(replace(one, id=lasting, label=label, velocity_m_s=(x, y, z), yaw_rad=yaw))
        track_of = np.zeros(max((one.id for one in instances), default=0) + 1, np.uint16)
        track_of[[one.id for one in instances]] = tracks.id
        return TrackedInstances(tuple(told), track_of)


def _new_tracks(ids: np.ndarray, looks: Looks, sigma_m: float, which: np.ndarray | slice = slice(0)) -> _Tracks:
    """Tracks of things seen for the first time: the looks `which`; they may move as fast as a third of their top speed."""
    count = len(ids)
    label, place = looks.label[which], looks.place[which]
    covariance = np.zeros((count, 4, 4))
    covariance[:, [0, 1], [0, 1]] = sigma_m ** 2
    covariance[:, [2, 3], [2, 3]] = (TOP_SPEED[label] / 3)[:, None] ** 2
    votes = np.zeros((count, len(OCC3D)))
    votes[np.arange(count), label] = 1
    state = np.concatenate([place, np.zeros((count, 2))], axis=1)
    return _Tracks(ids, label, state, covariance, looks.size[which], looks.yaw[which], votes, np.zeros(count), np.zeros(count),
                   np.zeros(count, bool))

"""Vehicle poses at 50 Hz from the nuScenes CAN bus expansion (folder can_bus/, files <scene>_pose.json)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occ_perception.geometry.transforms import matrix, rotation_from_quaternion


@dataclass(frozen=True)
class VehicleState:
    """fixed_from_ego (4, 4) in the global frame; velocity [m/s] and turn_rate [rad/s], each (3,), along the ego axes."""

    stamp_ns: int
    fixed_from_ego: np.ndarray
    velocity: np.ndarray
    turn_rate: np.ndarray


def pose_file(root: Path, scene: str) -> Path:
    """Where the poses of a scene are; nuScenes has none for some scenes."""
    return root / 'can_bus' / f'{scene}_pose.json'


def vehicle_states(root: Path, scene: str) -> list[VehicleState]:
    """The states of a scene in time order; none when the expansion or the scene's file is absent.

    Raises ValueError for a file that is not such a list.
    """
    path = pose_file(root, scene)
    if not path.is_file():
        return []
    try:
        records = json.loads(path.read_text())
        states = [_state(record) for record in records]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is no list of CAN bus poses (utime, pos, orientation, vel, rotation_rate): {error!r}; unpack '
                         'can_bus.zip again') from error
    return sorted(states, key=lambda state: state.stamp_ns)


def _state(record: dict[str, list[float]]) -> VehicleState:
    w, x, y, z = record['orientation']
    position, velocity, turn_rate = (np.array(record[key], np.float64).reshape(3) for key in ('pos', 'vel', 'rotation_rate'))
    pose = matrix(rotation_from_quaternion(x, y, z, w), position)
    return VehicleState(1000 * int(record['utime']), pose, velocity, turn_rate)  # type: ignore[call-overload]

"""The ego-motion vector of BEVFormer and PanoOcc: what nuScenes' CAN bus tells of a frame, made from poses alone."""

from __future__ import annotations

import numpy as np

from occ_perception.geometry.transforms import quaternion_from_rotation

MOTION_NUMBERS = 18
GRAVITY_M_S2 = 9.81
"""What an accelerometer shows upwards; the CAN bus gives accelerations with it."""


def motion_vector(fixed_from_ego: np.ndarray, before: np.ndarray | None, seconds: float = 0.0,
                  delta_from: np.ndarray | None = None) -> np.ndarray:
    """(18,) float32: [0:3] way since the frame before, fixed frame [m]; [3:7] heading as quaternion w, x, y, z; [7:10] acceleration
    [m/s^2], [10:13] turn rate [rad/s] and [13:16] velocity [m/s], ego axes; [16] yaw [rad], 0..2 pi; [17] its change [degrees].

    fixed_from_ego (4, 4), before: that of the frame before, None where there is none: way, change of yaw, velocity and turn rate
    are then 0, as at the start of a training clip. seconds: between the two. Steady driving is assumed between them; the published
    networks were trained with measured accelerations, turn rates and velocities. delta_from: pose that [0:3] and [17] are taken
    against in place of `before`, as the published test code does: that of its last call, of another scene too, and the identity on
    its very first one, so that [0:3] are absolute coordinates then; nor does it let the change of yaw wrap around.
    """
    vector = np.zeros(MOTION_NUMBERS)
    x, y, z, w = quaternion_from_rotation(fixed_from_ego[:3, :3])
    vector[3:7] = w, x, y, z
    vector[9] = GRAVITY_M_S2
    yaw = _degrees(fixed_from_ego)
    vector[16] = np.radians(yaw)
    if before is not None and seconds > 0:
        turn = before[:3, :3].T @ fixed_from_ego[:3, :3]
        spin = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
        sine = np.linalg.norm(spin)
        angle = np.arctan2(sine, (np.trace(turn) - 1) / 2)
        vector[10:13] = spin * (angle / sine if sine > 1e-9 else 1.0) / seconds
        # along the chord, seen from the middle of the turn
        vector[13:16] = fixed_from_ego[:3, :3].T @ (fixed_from_ego[:3, 3] - before[:3, 3]) / seconds
        vector[0:3] = fixed_from_ego[:3, 3] - before[:3, 3]
        vector[17] = (yaw - _degrees(before) + 180) % 360 - 180
    if delta_from is not None:
        vector[0:3] = fixed_from_ego[:3, 3] - delta_from[:3, 3]
        vector[17] = yaw - _degrees(delta_from)
    return vector.astype(np.float32)


def _degrees(fixed_from_ego: np.ndarray) -> float:
    """Yaw, 0..360."""
    return float(np.degrees(np.arctan2(fixed_from_ego[1, 0], fixed_from_ego[0, 0])) % 360)

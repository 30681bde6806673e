"""Stereo matching: the fast form and the exported one compute the same, and what they compute is right."""

from __future__ import annotations

import numpy as np
import torch

from occ_perception.geometry.camera_vector import plane_sweeps
from occ_perception.networks.parts import depth_net

SIZE = 64, 176
DEPTHS = torch.tensor([2.0, 4.0, 8.0, 16.0])
K = np.array([[[140.0, 0, 88], [0, 140.0, 30], [0, 0, 1]]])


def moved(x: float, z: float) -> np.ndarray:
    pose = np.eye(4)
    pose[[0, 2], 3] = x, z
    return pose[None]


def test_both_forms_cost_the_same():
    random = torch.Generator().manual_seed(0)
    present, before = torch.rand(2, 2, 12, 16, 44, generator=random).relu().unbind(0)
    sweeps = torch.from_numpy(plane_sweeps(np.repeat(K, 2, 0), np.eye(3)[None].repeat(2, 0), moved(0.7, -3.0).repeat(2, 0)))
    grid = depth_net.sweep_grid(sweeps, DEPTHS, (16, 44), SIZE)
    assert (grid.abs() > 1).any()
    fast, exported = (torch.stack(form(present, before, grid)) for form in (depth_net._cost, depth_net._exported_cost))
    torch.testing.assert_close(fast, exported, atol=1e-4, rtol=1e-5)
    assert (fast > depth_net.MATCH_BIAS).any()


def test_a_wall_is_matched_at_its_depth():
    """The camera moves sideways past a wall 8 m away: only there do the two pictures agree."""
    texture = torch.rand(1, 8, 1, 400, generator=torch.Generator().manual_seed(1))
    texture = torch.nn.functional.avg_pool2d(texture, (1, 5), 1, (0, 2)).expand(1, 8, 64, 400)
    shift = round(140 * 1.6 / 8)  # pixels that the wall moves by when the camera moves 1.6 m
    present, before = texture[..., 100:276], texture[..., 100 + shift:276 + shift]
    sweeps = torch.from_numpy(plane_sweeps(K, np.eye(3)[None], moved(-1.6, 0.0)))
    found = depth_net.match_costs(present, before, sweeps, DEPTHS, SIZE)
    assert (found[0, :, :, 60:170].argmax(0) == 2).float().mean() > 0.99
    turned = torch.from_numpy(plane_sweeps(K, np.eye(3)[None], moved(1.6, 0.0)))
    assert (depth_net.match_costs(present, before, turned, DEPTHS, SIZE)[0, :, :, 60:170].argmax(0) == 2).float().mean() < 0.5

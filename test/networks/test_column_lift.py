"""The gather-only lift is the exact sum over frustum points, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest
import reference_inputs
import torch

from occ_perception.geometry.column_lift import LiftCapacityError, LiftCaps, LiftSpec, build_lift_tables
from occ_perception.geometry.voxel_grid import VoxelGridSpec
from occ_perception.networks.parts.lift_splat import LiftTensors, lift

SPEC = LiftSpec(64, 176, stride=8, depth_stop=30.0)


def roll(degrees: float) -> np.ndarray:
    """(4, 4) turn about the optical axis."""
    out = np.eye(4)
    angle = np.radians(degrees)
    out[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return out


def rig(tilt_degrees: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The reference rig, every camera rolled by tilt_degrees."""
    intrinsics, poses, transforms = reference_inputs.rig(SPEC.input_height, SPEC.input_width)
    return intrinsics, poses @ roll(tilt_degrees), transforms


def point_sum(spec: LiftSpec, depth: torch.Tensor, features: torch.Tensor, cameras: tuple) -> torch.Tensor:
    """Plain definition: every frustum point's depth * feature is added to its cell. (C * z, y, x)."""
    points = np.stack([axis.transpose(1, 2, 0, 3) for axis in spec.points(*cameras)], -1)
    z, y, x = spec.map_shape
    upper, lower = np.array(spec.grid.upper_m), np.array(spec.grid.origin_m)
    position = (points - lower.astype(np.float32)) / ((upper - lower) / (x, y, z)).astype(np.float32)
    index = np.trunc(position).astype(int)
    inside = ((index >= 0) & (index < (x, y, z)) & (position > -1)).all(-1)
    cell = torch.from_numpy(((index[..., 2] * y + index[..., 1]) * x + index[..., 0])[inside])
    values = (depth[:, :, None] * features[:, None]).permute(0, 1, 3, 4, 2)[torch.from_numpy(inside)]
    total = torch.zeros(z * y * x, features.shape[1], dtype=values.dtype).index_add(0, cell, values)
    return total.view(z, y, x, -1).permute(0, 3, 1, 2).reshape(-1, y, x)


def random_inputs(spec: LiftSpec, batch: int, channels: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    size = spec.feature_height, spec.feature_width
    depth = torch.rand(batch, 6, spec.bins, *size, dtype=torch.float64, requires_grad=True)
    return depth, torch.randn(batch, 6, channels, *size, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize('spec', [
    SPEC,
    LiftSpec(64, 176, stride=8, depth_stop=30.0, depth_step=0.5, spacing='sid'),
    LiftSpec(64, 176, stride=16, depth_stop=20.0, z_cells=16),
    LiftSpec(64, 176, stride=8, depth_stop=30.0, grid=VoxelGridSpec((-16.0, -8.0, -2.0), 0.8, (30, 25, 5)))])
@pytest.mark.parametrize('tilt', [0.0, 4.0, 60.0])
def test_lift_and_its_gradient_are_the_sum_over_points(spec, tilt):
    cameras = rig(tilt)
    tables = build_lift_tables(spec, *cameras[:2], network_from_source=cameras[2])
    depth, features = random_inputs(spec, 1)
    found = lift(depth, features, LiftTensors.stack([tables]), spec.map_shape)[0]
    expected = point_sum(spec, depth[0], features[0], cameras)
    assert expected.abs().max() > 1
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    direction = torch.randn_like(found)
    ours = torch.autograd.grad(found, (depth, features), direction)
    plain = torch.autograd.grad(expected, (depth, features), direction)
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


def test_every_sample_of_a_batch_has_its_own_geometry():
    rigs = [rig(), rig(3.0)]
    caps = SPEC.default_caps(6)
    tables = LiftTensors.stack([build_lift_tables(SPEC, k, t, caps, network_from_source=p) for k, t, p in rigs])
    depth, features = random_inputs(SPEC, 2)
    found = lift(depth, features, tables, SPEC.map_shape)
    for i, cameras in enumerate(rigs):
        torch.testing.assert_close(found[i], point_sum(SPEC, depth[i], features[i], cameras), rtol=1e-9, atol=1e-9)
    assert not torch.equal(tables.cell[0], tables.cell[1])


def test_array_form_is_the_stacked_form():
    k, t, p = rig()
    tables = build_lift_tables(SPEC, k, t, network_from_source=p)
    one, other = LiftTensors.from_arrays(tables.arrays()), LiftTensors.stack([tables])
    assert one.slots == other.slots
    assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in tables.NAMES)


def test_tables_are_padded_to_the_caps_and_too_small_caps_are_refused():
    k, t, p = rig()
    caps = SPEC.default_caps(6)
    tables = build_lift_tables(SPEC, k, t, caps, network_from_source=p)
    assert [table.shape for table in (tables.sum_1, tables.sum_2, tables.sum_3)] == list(
        zip(caps.widths, caps.rows, strict=True))
    with pytest.raises(LiftCapacityError, match='check that intrinsics') as caught:
        build_lift_tables(SPEC, k, t, LiftCaps(caps.slots, (16, 16, 16)), network_from_source=p)
    exact = build_lift_tables(SPEC, k, t, caught.value.needed, network_from_source=p)
    depth, features = random_inputs(SPEC, 1)
    torch.testing.assert_close(*(lift(depth, features, LiftTensors.stack([x]), SPEC.map_shape) for x in (tables, exact)))


@pytest.mark.parametrize('spec', [
    LiftSpec(256, 704), LiftSpec(256, 704, depth_step=0.5), LiftSpec(128, 352, stride=8), LiftSpec(512, 1408)])
def test_default_caps_hold_any_orientation_and_upright_caps_five_degrees(spec):
    k, t, p = reference_inputs.rig(spec.input_height, spec.input_width)
    for tilt in (0.0, 30.0, 45.0, 90.0):
        build_lift_tables(spec, k, t @ roll(tilt), spec.default_caps(6), network_from_source=p)
    build_lift_tables(spec, k, np.linalg.inv(t), spec.default_caps(6), network_from_source=p)
    build_lift_tables(spec, k, t @ roll(5.0), spec.upright_caps(6), network_from_source=p)


def test_default_caps_hold_rigs_that_no_vehicle_has():
    """Cameras turned at random, all in one place, with narrow and wide lenses: no exported network needs another form for a rig."""
    spec, random = LiftSpec(128, 352, stride=8), np.random.default_rng(0)
    for focal in (90.0, 280.0, 1100.0):
        intrinsics = np.stack([np.array([[focal, 0, 176], [0, focal, 40], [0, 0, 1]])] * 6)
        for same in (True, False):
            poses = np.stack([np.eye(4)] * 6)
            turns = np.linalg.qr(random.normal(size=(6, 3, 3)))[0]
            poses[:, :3, :3] = turns[:1] if same else turns
            poses[:, :3, 3] = (0, 0, 1.5)
            build_lift_tables(spec, intrinsics, poses, spec.default_caps(6))


def test_invalid_cameras_lift_nothing():
    k, t, p = rig()
    valid = np.array([True, False, True, False, True, True])
    tables = LiftTensors.stack([build_lift_tables(SPEC, k, t, valid=valid, network_from_source=p)])
    depth, features = random_inputs(SPEC, 1)
    masked = features * torch.from_numpy(valid).view(1, 6, 1, 1, 1)
    torch.testing.assert_close(lift(depth, features, tables, SPEC.map_shape)[0], point_sum(SPEC, depth[0], masked[0], rig()))


def test_a_rig_that_sees_nothing_gives_an_empty_map():
    k, t, p = rig()
    tables = LiftTensors.stack([build_lift_tables(SPEC, k, t, valid=np.zeros(6, bool), network_from_source=p)])
    assert not lift(*random_inputs(SPEC, 1), tables, SPEC.map_shape).any()


@pytest.mark.parametrize('which', [0, 1])
def test_matrices_that_are_not_finite_are_named(which):
    matrices = list(rig()[:2])
    matrices[which] = matrices[which].copy()
    matrices[which][3, 0, 0] = np.nan
    with pytest.raises(ValueError, match='of camera 3 is not finite'):
        build_lift_tables(SPEC, *matrices)

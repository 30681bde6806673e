"""Pictures are fitted and lift tables built on a device exactly as on the host."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from occ_perception.catalogue import ImagePreprocessing, entry
from occ_perception.engines.device_fit import fit_on_device
from occ_perception.engines.device_lift import DeviceLift, host_tables
from occ_perception.engines.example_inputs import example_rig
from occ_perception.geometry.camera_vector import published_source
from occ_perception.geometry.column_lift import LiftCapacityError, LiftCaps, LiftTables, build_lift_tables
from occ_perception.runtime.intake.image import fit

CPU = torch.device('cpu')


@pytest.mark.parametrize(('height', 'width', 'resample'), [
    (900, 1600, 'bicubic'), (480, 640, 'bicubic'), (150, 1200, 'bicubic'), (300, 301, 'bilinear'), (129, 352, 'bicubic')])
def test_fitted_pixels_are_those_of_pillow(height, width, resample):
    preprocessing = ImagePreprocessing(128, 352, resample)
    random = np.random.default_rng(height)
    images = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    images[1] = (images[1] > 128) * 255  # hard edges: bicubic sums go below 0 and above 255
    expected = np.stack([fit(image, np.eye(3), preprocessing)[0] for image in images])
    assert np.array_equal(fit_on_device(torch.from_numpy(images), preprocessing).numpy(), expected)


def rig(name: str, turned: float, seed: int):
    row = entry(name)
    intrinsics, poses = example_rig(row)
    random = np.random.default_rng(seed)
    poses[:, :3, :3] = poses[:, :3, :3] @ Rotation.from_rotvec(random.normal(0, turned, (6, 3))).as_matrix()
    poses[:, :3, 3] += random.normal(0, turned, (6, 3))
    source, post = published_source(intrinsics, row.frustum.input_height, row.frustum.input_width)
    return row.frustum, (source, poses, np.arange(6) != seed % 6, post)


@pytest.mark.parametrize(('name', 'turned', 'seed'), [
    ('scocc_sample', 0.0, 0), ('scocc_sample', 0.02, 1), ('scocc_sample', 0.5, 2), ('scocc_sample', 1.5, 3),
    ('flashocc-r50-M0', 0.1, 4), ('bevdet-occ-r50', 0.02, 5)])
def test_tables_of_the_device_are_those_of_the_host(name, turned, seed):
    lift, (intrinsics, poses, valid, post) = rig(name, turned, seed)
    caps = lift.default_caps(6)
    expected = build_lift_tables(lift, intrinsics, poses, caps, valid, post)
    device = DeviceLift(lift, 6, caps, CPU)
    found = host_tables(device.tables(torch.from_numpy(device.upload(intrinsics, poses, valid, post))), caps)
    for table in LiftTables.NAMES:
        here, there = getattr(expected, table), getattr(found, table)
        assert here.dtype == there.dtype
        assert np.array_equal(here, there), table


def test_no_valid_camera_lifts_nothing():
    lift, (intrinsics, poses, _, post) = rig('scocc_sample', 0.0, 0)
    caps = lift.default_caps(6)
    device = DeviceLift(lift, 6, caps, CPU)
    found = host_tables(device.tables(torch.from_numpy(device.upload(intrinsics, poses, np.zeros(6, bool), post))), caps)
    assert (found.slot == 255).all()
    assert (found.cell == caps.rows[0] - 1).all()


@pytest.mark.parametrize('small', [LiftCaps(3, (1 << 15, 1 << 13, 512)), LiftCaps(16, (4096, 1 << 13, 512)),
                                   LiftCaps(16, (1 << 15, 256, 512)), LiftCaps(16, (1 << 15, 1 << 13, 2))])
def test_tables_too_small_are_told_with_the_sizes_that_the_host_names(small):
    lift, (intrinsics, poses, valid, post) = rig('scocc_sample', 0.5, 2)
    with pytest.raises(LiftCapacityError) as there:
        build_lift_tables(lift, intrinsics, poses, small, valid, post)
    device = DeviceLift(lift, 6, small, CPU)
    with pytest.raises(LiftCapacityError) as here:
        host_tables(device.tables(torch.from_numpy(device.upload(intrinsics, poses, valid, post))), small)
    if small.rows[0] > 4096:  # a first level that was cut hides what the next ones would have needed
        assert here.value.needed.slots == there.value.needed.slots
        assert here.value.needed.rows[0] == there.value.needed.rows[0]


def test_matrices_that_are_not_finite_are_named():
    lift, (intrinsics, poses, valid, post) = rig('scocc_sample', 0.0, 0)
    poses[3, 0, 3] = np.nan
    with pytest.raises(ValueError, match='reference_from_camera of camera 3 is not finite'):
        DeviceLift(lift, 6, lift.default_caps(6), CPU).upload(intrinsics, poses, valid, post)

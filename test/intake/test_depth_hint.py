"""LiDAR depth pictures: a point in the right pixel, the nearest of several, and what the published code made of a whole cloud."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from occ_perception.runtime.intake.depth_hint import depth_hints

FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 1.5], [1, 0, 0, 0], [0, 0, 0, 1]], float)
"""camera_from_reference of a camera 1.5 m above the ground that looks along x."""
INTRINSICS = np.array([[10.0, 0, 16], [0, 10, 8], [0, 0, 1]])


def hints(points: list[tuple[float, ...]], **more) -> np.ndarray:
    arguments = {'size': (16, 32), 'depth_range': (1, 45), **more}
    return depth_hints(np.array(points, np.float32), INTRINSICS[None], FORWARD[None], **arguments)[0]


def test_a_point_lies_in_the_pixel_that_its_place_rounds_to():
    # u = 16 - 10 y / x, v = 8 - 10 (z - 1.5) / x
    found = hints([(10, 4.4, 1.5), (20, -3, 0.5)])
    assert found.shape == (16, 32) and found.dtype == np.float32
    assert [tuple(map(int, place)) for place in np.argwhere(found)] == [(8, 12), (8, 18)]  # 11.6 -> 12; 17.5 -> 18 (even)
    assert found[8, 12] == 10 and found[8, 18] == 20


def test_the_nearest_point_of_a_pixel_and_of_a_square_wins():
    points = [(30, 0, 1.5), (10, 0, 1.5), (20, 0, 1.5), (5, -0.5, 1.5)]
    found = hints(points)
    assert found[8, 16] == 10 and found[8, 17] == 5
    squares = hints(points, stride=4)
    assert squares.shape == (4, 8) and squares[2, 4] == 5 and (squares > 0).sum() == 1


def test_points_outside_the_depth_range_the_picture_and_behind_are_left_out():
    outside = [(0.99, 0, 1.5), (45, 0, 1.5), (-10, 0, 1.5), (0, 0, 1.5), (10, 17, 1.5), (10, 0, 12.5)]
    assert not hints(outside).any()
    assert np.count_nonzero(hints([*outside, (1, 0, 1.5)])) == 1


def test_cameras_that_are_not_there_get_no_hint():
    pair = np.stack([INTRINSICS] * 2), np.stack([FORWARD] * 2)
    found = depth_hints(np.array([[10.0, 0, 1.5]]), *pair, (16, 32), (1, 45), valid=np.array([False, True]))
    assert not found[0].any() and found[1].any()


def test_no_point_gives_an_empty_picture():
    assert not hints(np.zeros((0, 3))).any()


@pytest.mark.parametrize(('points', 'more', 'message'), [
    (np.zeros((3, 2)), {}, r'points have shape \(3, 2\)'), (np.zeros((3, 3)), {'stride': 5}, '16x32 cannot be cut')])
def test_shapes_that_do_not_fit_are_refused(points, more, message):
    with pytest.raises(ValueError, match=message):
        hints(points, **more)


def test_a_whole_cloud_gives_the_published_pictures(shared):
    sys.path.insert(0, str(shared / 'conformance'))
    import deterministic
    import deterministic_fusion

    golden = np.load(shared / 'conformance' / 'golden' / 'fusionocc' / 'fusion_occ.npz')
    ego_from_camera, global_from_ego, intrinsics, posts, shifts = (
        golden[f'input/{name}'][0, :6].astype(float) for name in ('sensor2ego', 'ego2global', 'intrins', 'post_rots', 'post_trans'))
    posts[:, :2, 2] += shifts[:, :2]
    camera_from_reference = np.linalg.inv(global_from_ego @ ego_from_camera) @ deterministic.ego2global(0.0)
    found = depth_hints(deterministic_fusion.fusionocc_points()[1], posts @ intrinsics, camera_from_reference, (512, 1408), (1, 45))
    expected = np.zeros(found.size, np.float32)
    expected[golden['input/sparse_depth_nz_idx']] = golden['input/sparse_depth_nz_val']
    # pixels of points on a pixel's border and, by its float32 sort, the winner in a pixel are arbitrary in the published code
    assert (np.abs(found.reshape(-1) - expected) > 1e-3).sum() < 0.003 * np.count_nonzero(expected)

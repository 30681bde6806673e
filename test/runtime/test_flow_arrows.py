"""Voxel flow over the wire and as arrows: unit and axes, held against the sample world's own objects."""

from __future__ import annotations

import numpy as np
import pytest
from fake_predictor import FakePredictor

from occ_perception.datasets.sample_world.frame import scene_of
from occ_perception.datasets.sample_world.layout import make_street
from occ_perception.datasets.sample_world.truth import occupancy_truth
from occ_perception.geometry.transforms import inverse
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import THINGS
from occ_perception.runtime.flow_arrows import flow_arrows
from occ_perception.runtime.frames import OccupancyPrediction, SensorFrame

STAMP = 1_600_000_000_123_456_789


def true_prediction(time_s: float = 2.0):
    """The truth of a street as a prediction, and its moving objects with their places 0.05 s before and after time_s, ego frame."""
    street = make_street(300_001, 6.0)
    truth = occupancy_truth(scene_of(street), time_s, [], None)
    ego_from_world = inverse(street.ego_pose(time_s))
    moved = {mover.id: [(ego_from_world @ mover.track.pose(when))[:2, 3] for when in (time_s - 0.05, time_s + 0.05)]
             for mover in scene_of(street).movers}
    prediction = OccupancyPrediction(STAMP, 'truth', OCC3D_GRID, truth.semantics, truth.instances, (), {},
                                     flow=truth.flow.astype(np.float32))
    return prediction, moved


def test_arrows_point_where_the_objects_of_the_sample_world_go() -> None:
    """Unit and axes: each arrow is ten times the way that its object really goes in a tenth of a second."""
    prediction, moved = true_prediction()
    starts, velocities = flow_arrows(prediction.flow, OCC3D_GRID)
    assert len(starts) > 10
    _, inside = OCC3D_GRID.indices(starts)
    assert inside.all()
    checked = 0
    for start, velocity in zip(starts, velocities, strict=True):
        near = np.abs(np.indices(OCC3D_GRID.shape[:2]).transpose(1, 2, 0) * 0.4 - 39.8 - start[:2]).max(-1) <= 2.4
        owners = np.unique(prediction.instance_ids[near])
        owners = [owner for owner in owners if owner in moved]
        if len(owners) != 1:
            continue
        before, after = moved[owners[0]]
        np.testing.assert_allclose(velocity, (after - before) / 0.1, rtol=0.1, atol=0.35)  # it may turn or brake meanwhile
        checked += 1
    assert checked > 5


def test_what_hardly_moves_gets_no_arrow_and_blocks_get_one() -> None:
    flow = np.zeros((*OCC3D_GRID.shape, 2), np.float32)
    flow[:, :, 0] = 0.1
    flow[100:104, 100:104, 3] = 2, 0
    flow[100:104, 100:104, 5] = 4, 0
    starts, velocities = flow_arrows(flow, OCC3D_GRID)
    np.testing.assert_allclose(velocities, [[3, 0]])
    np.testing.assert_allclose(starts, [[0.8, 0.8, -1 + 0.4 * 5.5]], atol=1e-6)
    assert flow_arrows(np.zeros_like(flow), OCC3D_GRID)[0].shape == (0, 3)


@pytest.mark.parametrize('compress', [True, False])
def test_flow_comes_back_as_it_went(compress: bool) -> None:
    conversions = pytest.importorskip('occ_perception.nodes.conversions')
    prediction, _ = true_prediction()
    grid = conversions.voxel_grid_message(prediction, 'base_link', (), compress)
    message = conversions.voxel_flow_message(prediction, grid, THINGS)
    assert message.header == grid.header and message.network == 'truth'
    if compress:
        assert len(message.velocities) < 30_000  # 2.56 MB before
    received = conversions.flow_of(message)
    np.testing.assert_allclose(received, prediction.flow, atol=0.0051)
    assert conversions.grid_spec_of(message) == conversions.grid_spec_of(grid)
    message.size_x = 100
    with pytest.raises(ValueError, match='velocities'):
        conversions.flow_of(message)


def test_only_things_keep_their_velocity() -> None:
    conversions = pytest.importorskip('occ_perception.nodes.conversions')
    prediction = FakePredictor().predict(SensorFrame(STAMP, np.eye(4), {}))
    prediction.flow[:] = 1.0
    grid = conversions.voxel_grid_message(prediction, 'base_link', ())
    received = conversions.flow_of(conversions.voxel_flow_message(prediction, grid, THINGS))
    assert (received.any(axis=-1) == np.isin(prediction.labels, THINGS)).all()

"""PanoOcc's panoptic form in the live nodes: points, objects and a turned grid as the offline Predictor has them, exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from replays import replayed
from small_bag import START_NS, turning, write_bag
from tf_frames import TfFrames
from tiny_panoocc import RECURRENT, tiny_panoocc  # noqa: F401 - a fixture

from occ_perception.nodes.conversions import (
    grid_spec_of,
    grid_turn_of,
    instance_array_message,
    labels_of,
    point_labels_of,
)
from occ_perception.runtime.predictor import Predictor

SECOND = 1_000_000_000
STAMPS = [START_NS, START_NS + SECOND // 2, START_NS + SECOND]


@pytest.mark.parametrize('published_motion', [False, True])
def test_point_labels_live_are_those_of_the_offline_predictor(
        published_motion: bool, tiny_panoocc, tmp_path: Path) -> None:  # noqa: F811
    def drive(topic: str, message, seconds: float):
        unwanted = topic == '/LIDAR_TOP/points' and round(20 * seconds) % 10
        return None if unwanted else turning(topic, message, seconds)

    bag = write_bag(tmp_path / 'drive', 1.2, change=drive)
    weights = tiny_panoocc[RECURRENT]
    heard = replayed(bag, RECURRENT, str(weights), 'torch', {'max_rate': 2.0, 'published_motion': published_motion})
    assert list(heard.voxels) == list(heard.instances) == list(heard.points) == STAMPS
    frames, offline = TfFrames(bag), Predictor(RECURRENT, 'torch', weights, published_motion=published_motion)
    for number, stamp in enumerate(STAMPS):
        expected = offline.predict(frames.frame(stamp))
        assert expected.past_stamps_ns == ((STAMPS[number - 1],) if number else (0,))
        message, grid = heard.points[stamp], heard.voxels[stamp]
        assert message.header == grid.header and message.header.frame_id == 'base_link'
        assert [field.name for field in message.fields] == ['x', 'y', 'z', 'label', 'instance']
        found = point_labels_of(message)
        assert len(found.points) == 200
        np.testing.assert_array_equal(found.points, expected.points.points)
        np.testing.assert_array_equal(found.labels, expected.points.labels)
        np.testing.assert_array_equal(found.instance_ids, expected.points.instance_ids)
        labels, ids = labels_of(grid)
        np.testing.assert_array_equal(labels, expected.labels)
        np.testing.assert_array_equal(ids, expected.instance_ids)
        np.testing.assert_allclose(grid_turn_of(grid), expected.ego_from_grid[:3, :3], atol=1e-9)
        corner = grid_turn_of(grid) @ grid_spec_of(grid).origin_m
        np.testing.assert_allclose(corner, (0.9 - 51.2, 51.2, 1.8 - 5.0), atol=1e-9)
        assert len(heard.instances[stamp].instances) == len(instance_array_message(expected, 'base_link').instances)
    assert len(np.unique(np.concatenate([point_labels_of(each).labels for each in heard.points.values()]))) > 1

"""The shipped network of cameras and LiDAR through the live nodes: sweeps, velocities, and either sensor pulled out on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from replays import replayed
from small_bag import START_NS, write_bag

from occ_perception.catalogue import NUSCENES_CAMERAS, entry
from occ_perception.engines.select import shipped_file
from occ_perception.labels import UNKNOWN
from occ_perception.nodes.conversions import labels_of
from occ_perception.runtime.fallback import NO_CAMERAS, NO_LIDAR

SECOND = 1_000_000_000
NETWORK = 'effocc_sample'

pytestmark = pytest.mark.skipif(not (shipped_file(f'{NETWORK}.onnx').is_file() or shipped_file(f'{NETWORK}.safetensors').is_file()),
                                reason=f'{NETWORK} is not shipped')


def pulled(words: tuple[str, ...], begin: float, end: float):
    def change(topic: str, message, seconds: float):
        return None if topic.startswith(words) and begin <= seconds < end else message

    return change


def at(stamp: int) -> float:
    return (stamp - START_NS) / SECOND


def test_it_serves_with_all_sweeps_and_with_either_sensor_alone(tmp_path: Path) -> None:
    if not shipped_file(f'{NETWORK}.onnx').is_file():
        pytest.importorskip('torch')
    lidar_out, cameras_out = pulled(('/LIDAR',), 1.0, 2.2), pulled(('/CAM',), 3.5, 4.5)
    bag = write_bag(tmp_path / 'bag', 5.6, change=lambda *given: None if lidar_out(*given) is None else cameras_out(*given))
    heard = replayed(bag, NETWORK)
    assert not heard.tally.dropped and heard.tally.stood_in >= 2
    modes = [grid.fallback for grid in heard.voxels.values()]
    changes = [mode for number, mode in enumerate(modes) if number == 0 or mode != modes[number - 1]]
    assert changes == ['', NO_LIDAR, '', NO_CAMERAS, '']
    for (stamp, grid), prediction in zip(heard.voxels.items(), heard.predictions[-len(modes):], strict=True):
        labels, ids = labels_of(grid)
        np.testing.assert_array_equal(labels, prediction.labels)
        assert {one.id for one in heard.instances[stamp].instances} == set(np.unique(ids)) - {0}
        valid = {sensor.name: sensor.readings for sensor in grid.sensors if sensor.valid}
        assert (grid.network, grid.intended_network) == ('scocc_sample' if grid.fallback == NO_LIDAR else NETWORK, NETWORK)
        if grid.fallback == NO_LIDAR:
            assert set(valid) == set(NUSCENES_CAMERAS) and (labels == UNKNOWN).any()
        elif grid.fallback == NO_CAMERAS:
            assert set(valid) == {'lidar'} and not (labels == UNKNOWN).all()
        else:
            assert set(valid) == {*NUSCENES_CAMERAS, 'lidar'}
        if 'lidar' in valid:
            seconds = at(stamp)
            known = [age for age in (0.0, *entry(NETWORK).lidar.ages_s)
                     if any(begin <= round(seconds - age, 3) < end for begin, end in ((0, 1.0), (2.2, 5.6)))]
            assert valid['lidar'] == len(known)
    assert heard.diagnostics[-1][f'fallback.{NO_LIDAR}'] == str(modes.count(NO_LIDAR))

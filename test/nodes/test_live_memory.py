"""Past frames in the live nodes, with a real network: the grids are those of the offline Predictor, at any rate of the sensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from replays import Heard, replayed
from small_bag import START_NS, turning, write_bag
from tf_frames import TfFrames

from occ_perception.catalogue import NUSCENES_CAMERAS
from occ_perception.engines.select import shipped_file
from occ_perception.labels import THINGS
from occ_perception.nodes.conversions import instance_array_message, labels_of, voxel_grid_message
from occ_perception.runtime.frames import OccupancyPrediction
from occ_perception.runtime.predictor import Predictor

pytest.importorskip('torch')
NETWORK = 'scocc_sample_2f'
SECOND = 1_000_000_000
READINGS = (0, 1, 2, 8, 9, 10, 11, 12, 18, 19, 20)
KEY_STAMPS = [START_NS, START_NS + SECOND // 2, START_NS + SECOND]


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of a vehicle that turns: readings of the LiDAR at 20 Hz around three key frames."""
    def drive(topic: str, message, seconds: float):
        unwanted = topic == '/LIDAR_TOP/points' and round(20 * seconds) not in READINGS
        return None if unwanted else turning(topic, message, seconds)

    return write_bag(tmp_path_factory.mktemp('bags') / 'drive', 1.2, change=drive)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    from sample_weights import write_two_frame_weights

    return str(write_two_frame_weights(tmp_path_factory.mktemp('weights') / 'two_frames.safetensors'))


@pytest.fixture(scope='module')
def at_key_frames(bag: Path, weights: str) -> Heard:
    return replayed(bag, NETWORK, weights, 'torch', {'max_rate': 2.0})


def sent(message):
    """A message as it comes out at the other end: some fields are float32."""
    return deserialize_message(serialize_message(message), type(message))


def offline(heard: Heard, predictor: Predictor, frames: TfFrames) -> list[OccupancyPrediction]:
    """Predictions at the key frames, after seeing that they are what was heard: voxels, instance ids, boxes, velocities."""
    assert list(heard.voxels) == list(heard.instances) == KEY_STAMPS
    predictions = [predictor.predict(frames.frame(stamp)) for stamp in KEY_STAMPS]
    for stamp, prediction in zip(KEY_STAMPS, predictions, strict=True):
        assert prediction.past_stamps_ns == ((stamp - SECOND // 2,) if stamp > START_NS else (0,))
        grid = heard.voxels[stamp]
        assert {sensor.name: np.float32(sensor.age) for sensor in grid.sensors} == {
            name: np.float32(age) for name, age in prediction.cameras_used.items()}
        labels, ids = labels_of(grid)
        np.testing.assert_array_equal(labels, prediction.labels)
        np.testing.assert_array_equal(ids, prediction.instance_ids)
        assert grid == sent(voxel_grid_message(prediction, 'base_link', NUSCENES_CAMERAS))
        assert heard.instances[stamp] == sent(instance_array_message(prediction, 'base_link'))
    return predictions


def test_live_grids_are_those_of_the_offline_predictor(bag: Path, weights: str, at_key_frames: Heard) -> None:
    """Bit for bit; and the past frame matters."""
    predictor, frames = Predictor(NETWORK, 'torch', weights), TfFrames(bag)
    last = offline(at_key_frames, predictor, frames)[-1]
    assert len(last.instances) >= 5
    assert np.isin(last.labels, THINGS).sum() > 500
    predictor.reset()
    alone = predictor.predict(frames.frame(KEY_STAMPS[-1]))
    assert (alone.labels != last.labels).sum() > 1000


@pytest.mark.skipif(not shipped_file(f'{NETWORK}.onnx').is_file(), reason='the shipped network is not there')
def test_the_shipped_network_gives_the_same_live_and_offline(bag: Path) -> None:
    offline(replayed(bag, NETWORK, occupancy={'max_rate': 2.0}), Predictor(NETWORK), TfFrames(bag))


def test_every_reading_gives_the_same_grids_at_key_frames(bag: Path, weights: str, at_key_frames: Heard) -> None:
    """20 Hz: each grid looks at the frame half a second before, not at the one before it."""
    every = replayed(bag, NETWORK, weights, 'torch', {'max_rate': 0.0})
    assert list(every.voxels) == [START_NS + i * SECOND // 20 for i in READINGS]
    for stamp in KEY_STAMPS:
        np.testing.assert_array_equal(labels_of(every.voxels[stamp])[0], labels_of(at_key_frames.voxels[stamp])[0])
    assert [past - START_NS for past, in every.past[5:]] == [i * SECOND // 20 for i in (0, 1, 2, 8, 9, 10)]

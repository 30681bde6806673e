"""When the live nodes forget, what never gets into the memory, and how they tell; a light engine stands in for the network."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
from replays import Heard, replayed
from small_bag import START_NS, camera_info, transform, write_bag

from occ_msgs.srv import ResetMemory, SwitchNetwork
from occ_perception.catalogue import HistorySpec, entry, key_frames
from occ_perception.engines.protocol import FrameMemory, Inference
from occ_perception.labels import FREE
from occ_perception.nodes.pace import missed_ages, pace_warning
from occ_perception.nodes.predictors import blank_frame
from occ_perception.runtime import predictor as module
from occ_perception.runtime.predictor import Predictor

NETWORK = 'scocc_sample_2f'
SECOND = 1_000_000_000
PERIOD = SECOND // 4


class LightEngine:
    """One object everywhere; remembers that it was there."""

    description = 'light'

    def infer(self, images, frames, lidar=None):
        labels = np.full((200, 200, 16), FREE, np.uint8)
        labels[140:146, 98:102, 3:6] = 4
        return Inference(labels, None, FrameMemory(prepared=images.sum()))


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'open_engine', lambda *_: LightEngine())


def call(node, kind, name: str, request):
    client = node.create_client(kind, name)
    assert client.wait_for_service(10)
    done = threading.Event()
    future = client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    assert done.wait(10)
    return future.result()


def ages(heard: Heard) -> list[float | None]:
    """Age in seconds of the past frame of each prediction, None where none was known."""
    return [(prediction.stamp_ns - past) / SECOND if past else None
            for prediction in heard.predictions for past in prediction.past_stamps_ns]


def test_memory_fills_and_is_told_in_diagnostics(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    heard = replayed(write_bag(tmp_path / 'bag', 1.6), NETWORK)
    assert ages(heard) == [None, None, 0.5, 0.5, 0.5, 0.5, 0.5]
    last = heard.diagnostics[-1]
    assert (last['memory'], last['memory.ages_s'], last['memory.incomplete']) == ('1/1', '0.50', '2')
    assert not {'memory.reset', 'memory.time_jump', 'memory.gap'} & set(last)
    assert heard.tally.incomplete == 2
    assert 'will be missing' not in capfd.readouterr().err


def test_a_network_without_history_tells_of_none(tmp_path: Path) -> None:
    heard = replayed(write_bag(tmp_path / 'bag', 0.6), 'scocc_sample')
    assert heard.past == [()] * 3
    assert not any(key.startswith('memory') for key in heard.diagnostics[-1])
    assert 'engine' not in heard.diagnostics[-1]


def test_diagnostics_tell_how_far_an_engine_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, 'news', 'building, 25 %: Timing tactics, 3 s; light serves')
    heard = replayed(write_bag(tmp_path / 'bag', 0.6), 'scocc_sample')
    assert heard.diagnostics[-1]['engine'] == 'building, 25 %: Timing tactics, 3 s; light serves'


def test_reset_service_empties_the_memory(tmp_path: Path) -> None:
    def during(_, ear) -> None:
        assert ear.wait(lambda got: len(got['voxels']) >= 4)
        assert call(ear, ResetMemory, 'occupancy/reset_memory', ResetMemory.Request()).success

    heard = replayed(write_bag(tmp_path / 'bag', 4.0), NETWORK, during=during)
    found = ages(heard)
    assert found[:2] == [None, None]
    again = found.index(None, 2)
    assert again >= 4
    assert found == [None, None, *[0.5] * (again - 2), None, None, *[0.5] * (len(found) - again - 2)]
    assert heard.diagnostics[-1]['memory.reset'] == '1'


def test_switching_networks_keeps_serving_and_begins_without_memory(tmp_path: Path) -> None:
    answers = []

    def during(_, ear) -> None:
        for network, count in (('scocc_sample', 4), (NETWORK, 7)):
            assert ear.wait(lambda got, count=count: len(got['voxels']) >= count)
            answers.append(call(ear, SwitchNetwork, 'occupancy/switch_network', SwitchNetwork.Request(network=network)))

    heard = replayed(write_bag(tmp_path / 'bag', 5.0), NETWORK, during=during)
    assert [answer.success for answer in answers] == [True, True], answers
    names = [grid.network for grid in heard.voxels.values()]
    other, back = names.index('scocc_sample'), len(names) - names[::-1].index('scocc_sample')
    assert set(names[:other]) == set(names[back:]) == {NETWORK}
    assert set(names[other:back]) == {'scocc_sample'}
    past = [prediction.past_stamps_ns for prediction in heard.predictions if prediction.stamp_ns in heard.voxels]
    assert past[other:back] == [()] * (back - other)
    assert past[back:back + 2] == [(0,), (0,)]
    assert all(stamp for stamp, in past[back + 2:])
    assert heard.tally.published == heard.tally.due


def test_a_frame_without_pose_never_enters_the_memory(tmp_path: Path) -> None:
    """No pose for the sets at 0.75 s and 1 s: they get no grid, and nothing looks back at them."""
    def change(topic: str, message, seconds: float):
        return None if topic == '/tf' and 0.74 < seconds < 1.24 else message

    # Poses on both sides of a gap would be interpolated: 0.1 s after a reference its grid is waited for, the far side is not there.
    heard = replayed(write_bag(tmp_path / 'bag', 2.1, change=change), NETWORK, occupancy={'tf_timeout': 0.2})
    lost = {START_NS + 3 * PERIOD, START_NS + 4 * PERIOD}
    assert heard.tally.dropped['no_pose'] == 2
    assert not lost & set(heard.voxels)
    assert not lost & {past for past, in heard.past}
    by_stamp = {prediction.stamp_ns: prediction.past_stamps_ns for prediction in heard.predictions}
    assert by_stamp[START_NS + 5 * PERIOD] == by_stamp[START_NS + 6 * PERIOD] == (0,)
    assert by_stamp[START_NS + 7 * PERIOD] == (START_NS + 5 * PERIOD,)


def test_a_camera_without_pose_leaves_the_memory_without_it(tmp_path: Path) -> None:
    def change(topic: str, message, seconds: float):
        if topic == '/CAM_BACK/image_rect/compressed':
            return dataclasses.replace(message, header=dataclasses.replace(message.header, frame_id='nowhere'))
        return message

    heard = replayed(write_bag(tmp_path / 'bag', 1.1, change=change), NETWORK)
    assert ages(heard)[-1] == 0.5
    assert all('CAM_BACK' not in prediction.cameras_used and len(prediction.cameras_used) == 5 for prediction in heard.predictions)


def test_a_loop_of_the_bag_begins_without_memory(tmp_path: Path) -> None:
    def during(system_, ear) -> None:
        assert ear.wait(lambda got: len(got['voxels']) >= 9)
        system_.nodes['player']._stop.set()

    heard = replayed(write_bag(tmp_path / 'bag', 1.1), NETWORK, during=during, loop=True)
    stamps = [prediction.stamp_ns for prediction in heard.predictions]
    again = stamps.index(START_NS, 1)
    assert ages(heard)[:again] == [None, None, *[0.5] * (again - 2)]
    assert ages(heard)[again:again + 3] == [None, None, 0.5]
    assert heard.diagnostics[-1]['memory.time_jump'] == '1'


def _pause(topic: str, message, seconds: float):
    return None if topic.startswith(('/LIDAR_TOP/', '/CAM_')) and 0.8 < seconds < 1.7 else message


def _teleport(topic: str, message, seconds: float):
    if topic == '/tf' and seconds > 0.87:
        (moved,) = message
        stamp = START_NS + round(seconds * SECOND)
        return [transform(stamp, moved.header.frame_id, moved.child_frame_id, (1000 + 5 * seconds, 0, 0))]
    return message


def _zoom(topic: str, message, seconds: float):
    if topic == '/CAM_FRONT/camera_info' and seconds > 0.87:
        return camera_info(START_NS + round(seconds * SECOND), message.header.frame_id, focal=150.0)
    return message


@pytest.mark.parametrize(('change', 'reason'), [(_pause, 'gap'), (_teleport, 'pose_jump'), (_zoom, 'calibration')])
def test_what_does_not_belong_together_is_forgotten_counted_and_told(tmp_path: Path, capfd: pytest.CaptureFixture, change,
                                                                    reason: str) -> None:
    heard = replayed(write_bag(tmp_path / 'bag', 2.3, change=change), NETWORK, occupancy={'memory_max_gap': 0.7})
    found = ages(heard)
    again = found.index(None, 2)
    assert found == [None, None, *[0.5] * (again - 2), None, None, *[0.5] * (len(found) - again - 2)]
    assert [prediction.forgotten for prediction in heard.predictions] == [
        reason if i == again else '' for i in range(len(heard.predictions))]
    assert heard.diagnostics[-1][f'memory.{reason}'] == '1'
    assert f'[{reason}]' in capfd.readouterr().err


def test_warming_up_leaves_no_trace() -> None:
    predictor = Predictor(NETWORK)
    warm = predictor.predict(blank_frame(predictor.entry))
    assert (warm.labels == 255).all()
    assert warm.instances == ()


@pytest.mark.parametrize(('rate', 'missed'), [
    (0, ()), (2, ()), (4, ()), (5, ()), (20, ()), (1, (0.5,)), (3, (0.5,)), (1.5, (0.5,))])
def test_rates_that_starve_the_memory_are_known(rate: float, missed: tuple[float, ...]) -> None:
    assert missed_ages(key_frames(1), rate) == missed


def test_a_rate_that_starves_the_memory_is_told_with_one_that_does_not() -> None:
    row = entry('panoptic-flashocc-r50-depth4d-longterm8f-pano')
    assert missed_ages(row.history, 1) == (0.5, 1.5, 2.5, 3.5)
    assert pace_warning(row, 1) == (
        'max_rate 1 gives a set every 1 s, but panoptic-flashocc-r50-depth4d-longterm8f-pano looks at frames 0.5, 1.5, 2.5, 3.5 s '
        'old (within 0.15 s): they will be missing; set max_rate to 2 or a multiple of it')
    assert pace_warning(row, row.rate_hz) == pace_warning(entry('flashocc-r50-M0'), 1) == ''
    assert missed_ages(HistorySpec((0.3,), 0.01), 10) == ()


def test_an_unfit_rate_is_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    heard = replayed(write_bag(tmp_path / 'bag', 1.1), NETWORK, occupancy={'max_rate': 3.0})
    assert len(heard.voxels) == 4
    assert 'max_rate 3 gives a set every 0.333 s, but scocc_sample_2f looks at frames 0.5 s old' in capfd.readouterr().err

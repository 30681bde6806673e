"""Pictures decoded on a device: handed over as they are in one process, and what is asked of the node for that."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
from fake_predictor import FakePredictor
from fake_torchvision import fake_torchvision  # noqa: F401 - a fixture
from live import Ear, ros, running, until
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from small_bag import write_bag

from occ_perception.nodes import qos, system
from occ_perception.nodes.cameras import CamerasNode
from occ_perception.nodes.exchange import Exchange
from occ_perception.nodes.parameters import ParameterError
from occ_perception.runtime.frames import PendingPrediction, SensorFrame
from occ_perception.runtime.intake.device_decode import DeviceDecoder

torch = pytest.importorskip('torch')


class Keeps(FakePredictor):
    """Keeps the frames as they came, and answers as if they had come from the host."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[SensorFrame] = []

    def submit(self, frame: SensorFrame) -> PendingPrediction:
        self.came.append(frame)
        cameras = {name: dataclasses.replace(camera, image=camera.image.numpy()) for name, camera in frame.cameras.items()}
        return super().submit(dataclasses.replace(frame, cameras=cameras))


@pytest.mark.parametrize(('exchange', 'reduced', 'words'), [
    (None, False, 'run cameras and occupancy in one, or set decoder to cpu'),
    (Exchange(), True, 'set reduced_decoding to false, or decoder to cpu'),
    (Exchange(), False, r'pictures cannot be decoded on the GPU: torch .* finds none')])
def test_a_decoder_that_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch, fake_torchvision, exchange,  # noqa: F811
                                               reduced: bool, words: str) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    overrides = [Parameter('decoder', value='gpu'), Parameter('reduced_decoding', value=reduced)]
    with ros() as context, pytest.raises(ParameterError, match=words):
        CamerasNode(exchange, context=context, parameter_overrides=overrides)


def test_tensors_reach_the_predictor_as_they_were_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                          fake_torchvision) -> None:  # noqa: F811
    """The device is the CPU here; who subscribes to occ/image gets network size all the same."""
    monkeypatch.setattr('occ_perception.nodes.cameras.DeviceDecoder', lambda: DeviceDecoder('cpu'))
    made, bag = Keeps(), write_bag(tmp_path / 'bag', 0.6)
    specs = system.nodes('scocc_sample', system.sources_of(str(bag)), replay=system.Replay(str(bag), lockstep=True))
    next(spec for spec in specs if spec.name == 'cameras').parameters['decoder'] = 'gpu'
    with ros() as context, running(specs, context, lambda *_: made) as system_, contextlib.closing(
            Ear(context, pictures=(Image, 'CAM_FRONT/occ/image', qos.SENSOR))) as ear:
        assert system_.start()
        assert system_.finished.wait(30)
        assert until(lambda: system_.tally().published == 3, 5), system_.tally()
        assert ear.wait(lambda heard: heard['pictures'])
    assert len(made.came) == 3
    for frame in made.came:
        assert len(frame.cameras) >= 5
        for camera in frame.cameras.values():
            assert isinstance(camera.image, torch.Tensor) and camera.image.shape == (90, 160, 3) and camera.intrinsics[0, 0] == 120
    assert {(picture.height, picture.width) for picture in ear.heard['pictures']} == {(128, 352)}

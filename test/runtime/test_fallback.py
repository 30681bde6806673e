"""What serves while an input is dead, and the way back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_predictor import FakePredictor

from occ_perception.catalogue import LidarSpec, entry
from occ_perception.runtime.fallback import (
    MASK,
    NO_CAMERAS,
    NO_LIDAR,
    FallbackPredictor,
    InputMissing,
    InputWatch,
    check_stand_in,
)
from occ_perception.runtime.frames import CameraImage, LidarSweep, SensorFrame

FUSION = replace(entry('scocc_sample'), name='fusion', lidar=LidarSpec())
SWEEP = LidarSweep(0, np.zeros((1, 6), np.float32), np.eye(4))


def frame(tenths: int, lidar: bool = True, cameras: bool = True) -> SensorFrame:
    picture = CameraImage('CAM_FRONT', 0, np.zeros((128, 352, 3), np.uint8), np.eye(3), np.eye(4), np.eye(4))
    return SensorFrame(tenths * 100_000_000, np.eye(4), {'CAM_FRONT': picture} if cameras else {}, (SWEEP,) if lidar else ())


def test_an_input_counts_as_lost_until_it_has_been_back_for_a_while() -> None:
    watch = InputWatch(0.5)
    there = [True, False, True, False, True, True, True, True, True, True, True]
    said = [watch.lacking(number * 100_000_000, lidar, True) for number, lidar in enumerate(there)]
    assert said == ['', *[NO_LIDAR] * 7, '', '', '']  # flickering does not make the networks alternate
    assert watch.lacking(1_200_000_000, True, False) == NO_CAMERAS
    assert watch.lacking(1_300_000_000, False, True) == NO_LIDAR
    assert watch.lacking(0, True, True) == ''  # time went back: what was lost then says nothing
    with pytest.raises(ValueError, match='neither pictures nor LiDAR'):
        watch.lacking(100_000_000, False, False)


def test_each_frame_goes_to_what_can_serve_it_and_says_so() -> None:
    whole, camera_only = FakePredictor(), FakePredictor()
    whole.entry = FUSION
    served = FallbackPredictor(whole, {NO_LIDAR: camera_only, NO_CAMERAS: whole}, hold_s=0.15)
    told = [served.predict(frame(*which)) for which in ((0,), (1, False), (2,), (3,), (4, True, False), (5,), (6,))]
    assert [(one.network, one.intended, one.fallback) for one in told] == [
        ('fusion', '', ''), ('scocc_sample', 'fusion', NO_LIDAR), ('scocc_sample', 'fusion', NO_LIDAR), ('fusion', '', ''),
        ('fusion', 'fusion', NO_CAMERAS), ('fusion', 'fusion', NO_CAMERAS), ('fusion', '', '')]
    assert all(not given.sweeps for given in camera_only.frames)  # also where the LiDAR is just back
    assert [bool(given.cameras) for given in whole.frames] == [True, True, False, False, True]
    served.reset()
    assert (whole.resets, camera_only.resets) == (1, 1)


def test_without_a_stand_in_the_frame_is_refused_by_name() -> None:
    whole = FakePredictor()
    whole.entry = FUSION
    with pytest.raises(InputMissing, match='fusion needs LiDAR, and no network is named in fallback_without_lidar') as caught:
        FallbackPredictor(whole, {}).predict(frame(0, lidar=False))
    assert caught.value.lacking == NO_LIDAR


def test_stand_ins_must_do_without_and_fit() -> None:
    check_stand_in(FUSION, NO_LIDAR, 'scocc_sample')
    check_stand_in(replace(FUSION, maskable=True), NO_CAMERAS, MASK)
    for row, lacking, name, words in ((FUSION, NO_LIDAR, MASK, 'was not trained with masked inputs'),
                                      (FUSION, NO_CAMERAS, 'scocc_sample', 'needs what is lacking'),
                                      (FUSION, NO_LIDAR, 'scocc-r50', r'prepared otherwise \(256x704, fusion 128x352\)'),
                                      (FUSION, NO_LIDAR, 'nothing', 'no network is called'),
                                      (entry('scocc_sample'), NO_LIDAR, MASK, 'does not take both')):
        with pytest.raises(ValueError, match=words):
            check_stand_in(row, lacking, name)

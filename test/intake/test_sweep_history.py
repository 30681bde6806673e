from __future__ import annotations

import random

import numpy as np
import pytest

from occ_perception.runtime.intake.sweep_history import (
    DUPLICATE,
    LATE,
    OUT_OF_ORDER,
    OVERFLOW,
    TIME_JUMP,
    SweepHistory,
    sweeps_by_age,
)

MS = 1_000_000
AGES = (0.25, 0.5)


def test_the_nearest_sweep_of_each_age_is_taken_once_whatever_the_order_of_arrival() -> None:
    stamps = [1000 * MS - k * 50 * MS for k in range(1, 20)]
    assert sweeps_by_age(stamps, 1000 * MS, AGES, 0.03) == [750 * MS, 500 * MS]
    for seed in range(5):
        assert sweeps_by_age(random.Random(seed).sample(stamps, len(stamps)), 1000 * MS, AGES, 0.03) == [750 * MS, 500 * MS]
    assert sweeps_by_age([730 * MS, 770 * MS], 1000 * MS, AGES, 0.03) == [730 * MS, None]
    assert sweeps_by_age([700 * MS], 1000 * MS, AGES, 0.03) == [None, None]
    assert sweeps_by_age([750 * MS], 1000 * MS, (0.24, 0.26), 0.03) == [750 * MS, None]
    assert sweeps_by_age([1000 * MS, 1250 * MS], 1000 * MS, (0.01,), 0.3) == [None]


@pytest.mark.parametrize('rate_hz', [10, 20])
def test_key_frames_are_found_at_any_rate(rate_hz: int) -> None:
    """FusionOcc looks at the seven key frames before: the same stamps at 2, 10 and 20 Hz."""
    stamps = np.arange(0, 4 * 10**9 + 1, 10**9 // rate_hz)
    found = sweeps_by_age(stamps[:-1].tolist(), 4 * 10**9, [0.5 * k for k in range(1, 8)], 0.03)
    assert found == [4 * 10**9 - k * 500 * MS for k in range(1, 8)]


def test_what_comes_otherwise_than_in_order_is_counted() -> None:
    history = SweepHistory(0.5)
    assert [history.add(stamp * MS, stamp) for stamp in (100, 200, 400)] == ['', '', '']
    assert history.add(200 * MS, 'again') == DUPLICATE
    assert history.add(300 * MS, 300) == OUT_OF_ORDER
    assert history.earlier(400 * MS, (0.1, 0.2, 0.3), 0.01) == [300, 200, 100]
    assert history.add(800 * MS, 800) == ''
    assert history.add(350 * MS, 350) == OUT_OF_ORDER
    assert history.add(299 * MS, 299) == TIME_JUMP
    assert history.earlier(300 * MS, (0.001,), 0.001) == [299] and len(history) == 1
    assert history.counts == {DUPLICATE: 1, OUT_OF_ORDER: 2, TIME_JUMP: 1}
    short = SweepHistory(0.0)
    short.add(100 * MS, 'a')
    assert short.add(90 * MS, 'b') == LATE and len(short) == 1


def test_memory_is_bounded_by_age_and_by_number() -> None:
    history = SweepHistory(0.5, most=40)
    for number in range(1000):
        history.add(number * 50 * MS, number)
        assert len(history) <= 11
    for number in range(100):
        history.add(1000 * 50 * MS + number * MS, number)
    assert len(history) == 40
    assert history.counts[OVERFLOW] == 69

"""Class offsets undo a bias that costs score, and leave good logits alone."""

import numpy as np
import pytest

pytest.importorskip('torch')

from occ_perception.metrics.miou import ConfusionMatrix
from occ_perception.training.calibrate import choose_offsets, figure


def _score(logits, labels):
    confusion = ConfusionMatrix()
    confusion.add(logits.argmax(axis=1), labels)
    return figure(confusion)


def test_a_bias_towards_one_class_is_found_and_undone():
    random = np.random.default_rng(0)
    labels = random.choice(18, 20_000, p=[0.02] * 17 + [0.66])
    logits = random.normal(size=(20_000, 18)) + 3.0 * (np.arange(18) == labels[:, None])
    biased = logits.copy()
    biased[:, 4] += 1.6
    offsets = choose_offsets(biased, labels, np.ones(len(labels)))
    assert offsets[4] < -0.8
    assert _score(biased + offsets, labels) > _score(biased, labels) + 0.02
    assert _score(biased + offsets, labels) > _score(logits, labels) - 0.01


def test_perfect_logits_keep_their_offsets():
    labels = np.arange(18).repeat(5)
    offsets = choose_offsets(20.0 * (np.arange(18) == labels[:, None]), labels, np.ones(len(labels)))
    assert not offsets.any()

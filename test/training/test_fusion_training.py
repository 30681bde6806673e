"""Training of a network of cameras and LiDAR: batches of clouds, masked inputs, velocities, a start from a camera network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from training_samples import make_sample  # noqa: E402

from occ_perception.catalogue import entry  # noqa: E402
from occ_perception.checkpoints import read_state  # noqa: E402
from occ_perception.engines.select import shipped_file  # noqa: E402
from occ_perception.training.inputs import (  # noqa: E402
    CAMERAS,
    LIDAR,
    NOTHING,
    build_trainable,
    encode,
    network_inputs,
    sweeps_of,
)
from occ_perception.training.loop import Trainer, TrainingPlan, collate  # noqa: E402
from occ_perception.training.losses import flow_error  # noqa: E402
from occ_perception.training.samples import augment  # noqa: E402

ROW = entry('effocc_sample')
SHIPPED = shipped_file('scocc_sample.safetensors')


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return build_trainable('effocc_sample').eval()


@torch.no_grad()
def test_a_batch_of_clouds_gives_what_each_gives_alone(network) -> None:
    samples = [make_sample(1), make_sample(2), make_sample(3)]
    masked = [NOTHING, LIDAR, CAMERAS]
    together = encode(network, network_inputs(ROW, samples, masked))[0]
    for number, (sample, mask) in enumerate(zip(samples, masked, strict=True)):
        alone = encode(network, network_inputs(ROW, [sample], [mask]))[0]
        torch.testing.assert_close(together[number:number + 1], alone, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_masked_input_says_nothing(network) -> None:
    one, other = make_sample(4), make_sample(5)
    mixed = replace(one, images=other.images, points=other.points, sweep=other.sweep)
    for mask, same in ((CAMERAS, replace(mixed, points=one.points, sweep=one.sweep)), (LIDAR, replace(mixed, images=one.images))):
        masked, changed, unmasked = (encode(network, network_inputs(ROW, [sample], [kind]))[0]
                                     for sample, kind in ((one, mask), (same, mask), (same, NOTHING)))
        torch.testing.assert_close(masked, changed)
        assert not torch.allclose(masked, unmasked)


def test_points_and_velocities_are_flipped_with_the_labels() -> None:
    sample = make_sample(6)
    seen = set()
    for seed in range(24):
        changed = augment(sample, np.random.default_rng(seed))
        signs = np.sign((changed.points[:, :2] * sample.points[:, :2]).sum(axis=0))
        np.testing.assert_array_equal(changed.points[:, :2], signs * sample.points[:, :2])
        np.testing.assert_array_equal(changed.points[:, 2:], sample.points[:, 2:])
        np.testing.assert_array_equal(changed.flow, signs * sample.flow)
        np.testing.assert_array_equal(changed.labels.ravel()[changed.moving], sample.labels.ravel()[sample.moving])
        index = np.floor((changed.points[:, :3] + (40, 40, 1)) / 0.4).astype(int)
        assert (changed.labels[tuple(index.T)] != 17).mean() > 0.99
        seen.add(tuple(signs))
    assert len(seen) == 4


def test_targets_carry_velocities_and_masks_come_at_random() -> None:
    samples = [make_sample(7), make_sample(8)]
    batch = collate(ROW, samples, np.random.default_rng(0), 0.2)
    moving = batch.flow.abs().sum(1) > 0
    truth = sum(int(sample.visible.ravel()[sample.moving].sum()) for sample in samples)
    assert int(moving.sum()) == truth > 0
    assert (batch.flow[moving] == torch.tensor([3.0, -1.0])).all()
    counts = [len(collate(ROW, samples, np.random.default_rng(seed), 0.2).inputs.lidar.voxels) for seed in range(8)]
    assert min(counts) > 0 and len(set(counts)) > 1
    everything = len(collate(ROW, samples, np.random.default_rng(0), 0.0).inputs.lidar.voxels)
    assert max(counts) == everything


def test_velocity_errors_weigh_what_moves_as_much_as_what_stands() -> None:
    truth = torch.zeros(10, 2)
    truth[0, 0] = 4.0
    assert flow_error(torch.zeros(10, 2), truth) == pytest.approx((4.0 - 0.25) / 2)
    assert flow_error(truth, truth) == 0
    assert flow_error(torch.zeros(0, 2), torch.zeros(0, 2)) == 0


@pytest.mark.skipif(not SHIPPED.is_file(), reason='needs the shipped scocc_sample')
def test_it_begins_with_the_pictures_of_a_camera_network_and_leaves_them(tmp_path) -> None:
    plan = TrainingPlan('effocc_sample', 4, 2, warmup_steps=2, start=str(SHIPPED), frozen_pictures=True)
    trainer = Trainer(plan, np.ones(18), bf16=False)
    batch = collate(trainer.row, [make_sample(9), make_sample(10)], np.random.default_rng(1), 0.2)
    first = trainer.train_step(batch)
    for _ in range(3):
        last = trainer.train_step(batch)
    assert {'occupancy', 'jaccard', 'depth', 'pixel_class', 'flow'} == set(first)
    assert last['occupancy'] < first['occupancy']
    state, given = trainer.network.state_dict(), read_state(SHIPPED)
    for key, value in state.items():
        if key.startswith(('img_backbone.', 'img_neck.')):
            torch.testing.assert_close(value, given[key].to(value.dtype))
    trainer.save(tmp_path / 'checkpoint.pt')
    Trainer(plan, np.ones(18), bf16=False).resume(tmp_path / 'checkpoint.pt')


def test_a_sample_with_too_few_sweeps_is_refused() -> None:
    sample = make_sample(11)
    present = sample.sweep == 0
    with pytest.raises(ValueError, match='fewer LiDAR sweeps than effocc_sample takes'):
        sweeps_of(ROW, replace(sample, points=sample.points[present], sweep=sample.sweep[present]))

"""Training samples: augmentation keeps pictures, geometry and truth together; batches are reproducible."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from training_samples import make_sample  # noqa: E402

from occ_perception.catalogue import entry  # noqa: E402
from occ_perception.geometry.column_lift import build_lift_tables  # noqa: E402
from occ_perception.networks.build import build_network  # noqa: E402
from occ_perception.training.loader import batches  # noqa: E402
from occ_perception.training.loop import Trainer, TrainingPlan, class_weights, collate  # noqa: E402
from occ_perception.training.losses import masked_cross_entropy, soft_jaccard  # noqa: E402
from occ_perception.training.samples import (  # noqa: E402
    augment,
    class_histogram,
    depth_histogram,
    load_sample,
    save_sample,
)
from occ_perception.training.start import start_from  # noqa: E402


def test_samples_survive_the_disk(tmp_path):
    sample = make_sample(0)
    save_sample(tmp_path / 'a.npz', sample)
    loaded = load_sample(tmp_path / 'a.npz')
    for name, value in vars(sample).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)


def test_mirrored_pictures_still_look_at_the_same_world():
    """The frustum points of an augmented sample are those of the original, mirrored and flipped like its labels."""
    lift, sample = entry('scocc_sample').lift, make_sample(1)
    original = lift.points(sample.intrinsics, sample.reference_ego_from_camera)
    seen = set()
    for seed in range(64):
        changed = augment(sample, np.random.default_rng(seed))
        points = lift.points(changed.intrinsics, changed.reference_ego_from_camera)
        if np.array_equal(changed.pixel_class, sample.pixel_class[:, :, ::-1]):
            points = [axis[..., ::-1] for axis in points]
            mirrored = True
        else:
            np.testing.assert_array_equal(changed.pixel_class, sample.pixel_class)
            mirrored = False
        flips = []
        labels = sample.labels
        for axis in (0, 1):
            sign = np.sign((points[axis] * original[axis]).sum())
            np.testing.assert_allclose(points[axis], sign * original[axis], atol=1e-3)
            flips.append(sign < 0)
            labels = np.flip(labels, axis) if sign < 0 else labels
        np.testing.assert_array_equal(changed.labels, labels)
        seen.add((mirrored, *flips))
    assert len(seen) == 8


def test_past_frames_are_augmented_along():
    sample = make_sample(6)
    for seed in range(16):
        changed = augment(sample, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed.past_reference_ego_from_camera[0], changed.reference_ego_from_camera)
        mirrored = changed.intrinsics[0, 0, 2] != sample.intrinsics[0, 0, 2]
        halves = sample.past_images[:, :, :, ::-1] if mirrored else sample.past_images
        assert np.corrcoef(changed.past_images.ravel(), halves.ravel())[0, 1] > 0.9


def test_a_sample_without_the_past_that_a_network_needs_is_refused():
    sample = make_sample(7)
    bare = replace(sample, past_images=sample.past_images[:0])
    with pytest.raises(ValueError, match='scocc_sample_2f takes 1'):
        collate(entry('scocc_sample_2f'), [bare], np.random.default_rng(0))


def test_a_network_of_two_frames_begins_as_the_one_it_came_from():
    torch.manual_seed(3)
    one, two = build_network('scocc_sample').eval(), build_network('scocc_sample_2f').eval()
    start_from(two, one.state_dict())
    random = np.random.default_rng(0)
    single, double = (collate(entry(name), [make_sample(8)], random) for name in ('scocc_sample', 'scocc_sample_2f'))
    with torch.no_grad():
        torch.testing.assert_close(two(double.inputs.images, double.inputs.tables).logits,
                                   one(single.inputs.images, single.inputs.tables).logits)
        two.img_bev_encoder_backbone.layers[0][0].conv1.weight[:, 32:] = 5.0
        assert not torch.equal(two(double.inputs.images, double.inputs.tables).logits,
                               one(single.inputs.images, single.inputs.tables).logits)


def test_histograms_hold_each_cells_pixels():
    depth = np.zeros((1, 1, 1, 16), np.float16)
    depth[..., :4], depth[..., 4:12] = 1.0, 3.4
    histogram = depth_histogram(depth, 1.0, 1.0, 44)
    assert histogram.shape == (1, 44, 1, 1)
    assert histogram[0, 0, 0, 0] == 0.25
    assert histogram[0, 2, 0, 0] == 0.5
    assert histogram.sum() == 0.75
    assert class_histogram(np.full((1, 1, 1, 16), 7, np.uint8))[0, 7, 0, 0] == 1


def test_batches_do_not_depend_on_where_a_run_was_stopped(tmp_path):
    files = []
    for seed in range(5):
        files.append(tmp_path / f'{seed}.npz')
        save_sample(files[-1], make_sample(seed))

    def run(first, last):
        return [np.stack([s.labels for s in batch]) for batch in batches(files, 2, 3, first, last, lambda samples, random: samples)]
    whole = run(0, 4)
    resumed = run(2, 4)
    np.testing.assert_array_equal(whole[2], resumed[0])
    np.testing.assert_array_equal(whole[3], resumed[1])


def test_targets_of_a_batch_stand_for_all_visible_voxels():
    samples = [make_sample(2), make_sample(3)]
    batch = collate(entry('scocc_sample'), samples, np.random.default_rng(0))
    height = 16
    truth = np.stack([s.labels for s in samples]).reshape(-1, height)
    visible = np.stack([s.visible for s in samples]).reshape(-1, height)
    column, z = batch.columns.numpy()[batch.voxels.numpy() // height], batch.voxels.numpy() % height
    labels, weights = batch.labels.numpy(), batch.weights.numpy()
    assert visible[column, z].all()
    assert len(set(zip(column, z, strict=True))) == len(column)
    np.testing.assert_array_equal(truth[column, z], labels)
    assert (labels != 17).sum() == (visible & (truth != 17)).sum()
    assert (weights[labels != 17] == 1).all()
    assert weights.sum() == pytest.approx(visible.sum(), rel=0.01)


def test_losses_of_weighted_voxels_are_those_of_repeated_ones():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 18), torch.tensor([0, 3, 3, 17, 17, 5])
    repeats = torch.tensor([1, 2, 1, 4, 1, 3])
    class_weights_ = torch.rand(18) + 0.5
    many = logits.repeat_interleave(repeats, 0), labels.repeat_interleave(repeats)
    ones = torch.ones(len(many[1]))
    for few, all_ in ((masked_cross_entropy(logits, labels, class_weights_, repeats.float()),
                       masked_cross_entropy(*many, class_weights_, ones)),
                      (soft_jaccard(logits, labels, repeats.float()), soft_jaccard(*many, ones))):
        torch.testing.assert_close(few, all_)
    perfect = torch.nn.functional.one_hot(labels, 18) * 50.0
    assert soft_jaccard(perfect, labels, torch.ones(6)) == pytest.approx(0, abs=1e-6)
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=class_weights_)
    torch.testing.assert_close(masked_cross_entropy(logits, labels, class_weights_, torch.ones(6)), expected)


def test_class_weights_rise_with_rarity_and_average_to_one():
    counts = np.array([10, 1000, 100_000])
    weights = class_weights(counts).numpy()
    assert weights[0] >= weights[1] > weights[2]
    assert class_weights(np.array([900, 1100])).numpy() @ (np.array([900, 1100]) / 2000) == pytest.approx(1.0)


def test_training_learns_resumes_and_lifts_what_evaluation_lifts(tmp_path):
    plan = TrainingPlan('scocc_sample', steps=6, batch_size=2, warmup_steps=2)
    batch = collate(entry('scocc_sample'), [make_sample(4), make_sample(5)], np.random.default_rng(0))
    trainer = Trainer(plan, np.ones(18), bf16=False)
    first = trainer.train_step(batch)
    for _ in range(2):
        trainer.train_step(batch)
    trainer.save(tmp_path / 'checkpoint.pt')
    last = trainer.train_step(batch)
    assert last['occupancy'] < first['occupancy']

    other = Trainer(plan, np.ones(18), bf16=False)
    other.resume(tmp_path / 'checkpoint.pt')
    assert other.step == 3
    assert other.train_step(batch)['occupancy'] == pytest.approx(last['occupancy'], rel=1e-4)
    with pytest.raises(ValueError, match='another plan'):
        Trainer(TrainingPlan('scocc_sample', steps=7), np.ones(18), bf16=False).resume(tmp_path / 'checkpoint.pt')

    with torch.no_grad():
        network = trainer.network.eval()
        logits = network(batch.inputs.images, batch.inputs.tables).logits.reshape(-1, 16, 18)
        bev = network.encoded_sequence(batch.inputs.images, batch.inputs.tables)[0]
        torch.testing.assert_close(network.occ_head.column_logits(bev, batch.columns), logits[batch.columns])


def test_tables_of_default_caps_fit_flipped_rigs():
    sample = make_sample(5)
    lift = entry('scocc_sample').lift
    for seed in range(4):
        changed = augment(sample, np.random.default_rng(seed))
        build_lift_tables(lift, changed.intrinsics, changed.reference_ego_from_camera, lift.default_caps(6))

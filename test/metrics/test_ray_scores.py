"""RayIoU, RayPQ and the occupancy flow score against the official numbers, and what must hold for any input."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest

from occ_perception.labels import FREE
from occ_perception.metrics.label_sets import OCC3D_SET, OPENOCC_SET, ScoredClasses
from occ_perception.metrics.occupancy_flow import OccupancyFlowScore
from occ_perception.metrics.ray_cast import RayHits, cast_rays
from occ_perception.metrics.ray_iou import RayIoU
from occ_perception.metrics.ray_pq import RayPQ

SETS = {'occ3d': OCC3D_SET, 'openocc': OPENOCC_SET}
FLAVOURS = {'repo_metric_float64_origins': (False, False), 'repo_metric_float32_origins': (False, True),
            'server_metric_float16_files': (True, True)}
"""Name of the golden: (server, single_precision)."""


def check_rays(iou: RayIoU, pq: RayPQ, golden: dict) -> None:
    """Counts exactly, ratios to rounding."""
    assert iou.truth.sum() == golden['n_valid_rays']
    np.testing.assert_allclose(iou.iou(), np.array(golden['rayiou_per_threshold_per_class'], float), rtol=1e-12)
    assert iou.scores() == pytest.approx(golden['rayiou'], rel=1e-12)
    for name in ('tp', 'fp', 'fn'):
        assert getattr(pq, name).tolist() == golden['raypq_counts'][name]
    np.testing.assert_allclose(pq.iou_sum, golden['raypq_counts']['iou'], rtol=1e-12)
    assert pq.scores() == pytest.approx(golden['raypq'], rel=1e-12)


def check_flow(score: OccupancyFlowScore, golden: dict, tolerance: float) -> None:
    """RayIoU to rounding, velocity errors and the score to `tolerance`."""
    np.testing.assert_allclose(score.iou(), np.array(golden['iou'], float), rtol=1e-12)
    np.testing.assert_allclose(score.ave(), np.array(golden['ave'], float), rtol=tolerance)
    assert score.scores()['mAVE'] == pytest.approx(golden['mave'], rel=tolerance)
    assert score.scores()['OccScore'] == pytest.approx(golden['occ_score'], rel=tolerance)


def stand_in(label: np.ndarray, distance: np.ndarray) -> RayHits:
    """Rays whose voxel is their own number, so that any array with one row per ray can be read."""
    return RayHits(label.astype(np.uint8), distance.astype(np.float32), np.arange(len(label), dtype=np.int32))


def compact_frame(table: np.ndarray) -> tuple[RayHits, RayHits, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Prediction, truth, predicted and true ids, predicted and true flow of compact rows, shaped as volumes."""
    prediction, truth, ids, true_ids, error = table[:, :5].T
    volumes = [column.reshape(-1, 1, 1) for column in (ids, true_ids)]
    flows = [np.ascontiguousarray(table[:, at:at + 2]).astype(np.int32).view(np.float32).reshape(-1, 1, 1, 2) for at in (5, 7)]
    hits = stand_in(prediction, 8 + np.array([0.5, 1.5, 3, 10])[error]), stand_in(truth, np.full(len(truth), 8.0))
    return *hits, volumes[0], volumes[1], flows[0], flows[1]


@pytest.mark.parametrize('layout', list(SETS))
def test_equals_the_official_code(cases, layout: str) -> None:
    golden = cases.expected(f'ray_{layout}')
    iou, pq = RayIoU(SETS[layout]), RayPQ(SETS[layout])
    for frame, origins in zip(cases.samples(golden), cases.origins(), strict=True):
        prediction, truth = (cast_rays(frame[key], origins, SETS[layout].free) for key in ('pred_sem', 'gt_sem'))
        iou.add(prediction, truth)
        pq.add(prediction, truth, frame['pred_inst'], frame['gt_inst'])
    check_rays(iou, pq, golden)


@pytest.mark.parametrize('flavour', list(FLAVOURS))
def test_flow_equals_the_official_code(cases, flavour: str) -> None:
    golden = cases.expected('occ_flow_score')
    server, single = FLAVOURS[flavour]
    score = OccupancyFlowScore(server=server)
    for frame, origins in zip(cases.samples(golden), cases.origins(), strict=True):
        prediction, truth = (cast_rays(frame[key], origins, OPENOCC_SET.free, single_precision=single)
                             for key in ('pred_sem', 'gt_sem'))
        score.add_flow(prediction, truth, frame['pred_flow'], frame['gt_flow'])
    check_flow(score, golden[flavour], 1e-12)


@pytest.mark.parametrize('layout', list(SETS))
def test_compact_rows_equal_the_official_code(rows: dict, expected: dict, layout: str) -> None:
    frames = []
    for index in range(2):
        prediction, truth, ids, true_ids, *_ = compact_frame(rows[f'ray_{layout}_{index}'])
        frames.append((RayIoU(SETS[layout]), RayPQ(SETS[layout])))
        frames[-1][0].add(prediction, truth)
        frames[-1][1].add(prediction, truth, ids, true_ids)
    check_rays(frames[0][0] + frames[1][0], frames[0][1] + frames[1][1], expected[f'ray_{layout}'])


@pytest.mark.parametrize(('flavour', 'table'), [('repo_metric_float64_origins', 'ray_openocc'),
                                                ('server_metric_float16_files', 'server')])
def test_compact_flow_rows_equal_the_official_code(rows: dict, expected: dict, flavour: str, table: str) -> None:
    frames = []
    for index in range(2):
        prediction, truth, _, _, flow, true_flow = compact_frame(rows[f'{table}_{index}'])
        frames.append(OccupancyFlowScore(server=FLAVOURS[flavour][0]))
        frames[-1].add_flow(prediction, truth, flow, true_flow)
    # the rows come in another order than the rays did, and the official sums are float32
    check_flow(frames[0] + frames[1], expected['occ_flow_score'][flavour], 2e-6)


def world(seed: int, label_set: ScoredClasses = OCC3D_SET) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, instance ids (each of one class) and flow of a floor, boxes and bushes."""
    rng = np.random.default_rng(seed)
    labels, ids = np.full((200, 200, 16), label_set.free, np.uint8), np.zeros((200, 200, 16), np.int32)
    labels[:, :, :2] = label_set.names.index('driveable_surface')
    for number in range(1, 30):
        x, y, height = *rng.integers(0, 190, 2), rng.integers(4, 9)
        labels[x:x + 8, y:y + 5, 2:height] = rng.choice(label_set.things)
        ids[x:x + 8, y:y + 5, 2:height] = number
    labels[rng.random(labels.shape) < 0.003] = label_set.names.index('vegetation')
    ids[labels == label_set.names.index('vegetation')] = 0
    return labels, ids, rng.normal(size=(200, 200, 16, 2)).astype(np.float32)


ORIGINS = np.array([[0.0, 0, 1.8], [12.0, -9, 1.8]])


@functools.cache
def scene(seed: int, shift: int = 0) -> tuple[RayHits, np.ndarray, np.ndarray]:
    """Hits, ids and flow of a world, moved along x by `shift` voxels."""
    labels, ids, flow = (np.roll(volume, shift, axis=0) for volume in world(seed))
    return cast_rays(labels, ORIGINS, FREE), ids, flow * (1 + 0.1 * shift)


def test_a_perfect_prediction_scores_one() -> None:
    hits, ids, flow = scene(0)
    iou, pq, velocity = RayIoU(), RayPQ(), OccupancyFlowScore(OCC3D_SET)
    iou.add(hits, hits)
    pq.add(hits, hits, ids, ids)
    velocity.add_flow(hits, hits, flow, flow)
    assert set(iou.scores().values()) == set(pq.scores().values()) == {1.0}
    assert velocity.scores()['mAVE'] == 0 and velocity.scores()['OccScore'] == pytest.approx(1)


def test_new_numbers_for_the_instances_change_nothing() -> None:
    (prediction, ids, _), (truth, true_ids, _) = scene(1, 2), scene(1)
    renumbered = np.random.default_rng(0).permutation(np.arange(1, 400))
    one, two = RayPQ(), RayPQ()
    one.add(prediction, truth, ids, true_ids)
    two.add(prediction, truth, renumbered[ids], np.where(true_ids, renumbered[true_ids], 0))
    assert one.scores() == two.scores() and 0 < one.scores()['RayPQ'] < 1


def test_adding_up_equals_one_accumulator_in_any_order() -> None:
    frames = [(scene(seed, 1), scene(seed)) for seed in range(3)]

    def scored(pairs: list) -> list:
        accumulators = [RayIoU(), RayPQ(), OccupancyFlowScore(OCC3D_SET)]
        for (prediction, ids, flow), (truth, true_ids, true_flow) in pairs:
            accumulators[0].add(prediction, truth)
            accumulators[1].add(prediction, truth, ids, true_ids)
            accumulators[2].add_flow(prediction, truth, flow, true_flow)
        return accumulators

    whole = scored(frames)
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        parts = [scored([frames[index]]) for index in order]
        for at, one in enumerate(whole):
            total = functools.reduce(operator.add, [part[at] for part in parts])
            assert total.scores() == one.scores()  # to the last bit
            assert parts[0][at].scores() != one.scores()


def test_free_truth_costs_nothing_and_free_prediction_is_a_miss() -> None:
    truth = stand_in(np.array([4, 4, FREE]), np.array([5.0, 5, 5]))
    score = RayIoU()
    score.add(stand_in(np.array([4, FREE, 4]), np.array([5.0, 5, 5])), truth)
    assert score.iou()[:, 4].tolist() == [0.5] * 3 and score.predicted[4] == 1


def test_depth_errors_are_judged_strictly() -> None:
    score = RayIoU()
    score.add(stand_in(np.full(4, 4), np.array([5.0, 6, 7, 9])), stand_in(np.full(4, 4), np.full(4, 5.0)))
    assert score.tp[:, 4].tolist() == [1, 2, 3]


def test_small_segments_are_neither_missed_nor_false() -> None:
    pq = RayPQ()
    ids = np.repeat([1, 2], [9, 10]).reshape(-1, 1, 1)
    truth, nothing = stand_in(np.full(19, 4), np.full(19, 5.0)), stand_in(np.full(19, FREE), np.full(19, 5.0))
    pq.add(nothing, truth, ids, ids)
    assert pq.fn[0, 4] == 1 and pq.fp.sum() == 0
    false = RayPQ()
    false.add(stand_in(np.full(19, 3), np.full(19, 5.0)), truth, ids, ids)
    assert false.fp[0, 3] == 1


def test_ids_shared_between_classes_and_id_0_are_one_segment_of_their_class() -> None:
    labels = np.repeat([4, 4, 3, 4], [20, 20, 5, 30])
    ids = np.repeat([0, 7, 7, 8], [20, 20, 5, 30]).reshape(-1, 1, 1)
    hits = stand_in(labels, np.full(75, 5.0))
    pq = RayPQ()
    pq.add(hits, hits, np.repeat([1, 1, 2, 3], [20, 20, 5, 30]).reshape(-1, 1, 1), ids)
    assert pq.tp[:, 4].tolist() == [2] * 3 and pq.fp.sum() == pq.fn.sum() == 0


def test_barriers_are_stuff_and_split_stuff_is_several_segments() -> None:
    hits = stand_in(np.full(40, 1), np.full(40, 5.0))
    two = np.repeat([1, 2], 20).reshape(-1, 1, 1)
    pq = RayPQ()
    pq.add(hits, hits, two, two)
    assert (pq.tp[0, 1], pq.fp[0, 1], pq.fn[0, 1]) == (0, 2, 1)


def test_the_server_counts_every_ray_of_a_frame_with_a_hit() -> None:
    truth = stand_in(np.array([0, 0, 10, 16]), np.full(4, 5.0))
    prediction = stand_in(np.array([0, 1, 10, 0]), np.full(4, 5.0))
    flow, true_flow = np.zeros((4, 1, 1, 2)), np.zeros((4, 1, 1, 2))
    flow[:, 0, 0, 0] = 1, 3, 5, 100
    scores = []
    for server in (False, True):
        score = OccupancyFlowScore(server=server)
        score.add_flow(prediction, truth, flow, true_flow)
        scores.append(score.ave()[0])
    assert scores == [1, 3]


def test_nothing_to_score_is_nan() -> None:
    for score in (RayIoU(), RayPQ(), OccupancyFlowScore()):
        assert all(np.isnan(value) for value in score.scores().values())


def test_wrong_input_is_named() -> None:
    one, two = stand_in(np.array([4]), np.array([5.0])), stand_in(np.array([4, 4]), np.array([5.0, 5]))
    with pytest.raises(ValueError, match='1 predicted rays, 2 true ones'):
        RayIoU().add(one, two)
    with pytest.raises(ValueError, match=r'predicted label 17 is not in 0\.\.16'):
        RayPQ(OPENOCC_SET).add(stand_in(np.array([17]), np.array([5.0])), one, np.ones((1, 1, 1)), np.ones((1, 1, 1)))
    with pytest.raises(ValueError, match='same flavour'):
        OccupancyFlowScore() + OccupancyFlowScore(server=True)

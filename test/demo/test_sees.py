"""Does the shipped network see? On new streets it beats what needs no cameras, and loses that lead when they are spoilt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.engines.select import shipped_file
from occ_perception.geometry.transforms import inverse
from occ_perception.runtime.frames import LidarSweep, SensorFrame
from occ_perception.runtime.live_score import Score, score_labels

NETWORK = 'scocc_sample'
STREETS, TIMES_S = (200_900, 200_901, 200_902), (1.5, 5.0, 8.5)
MARGIN = 0.10
LOSS = 0.30
LIDAR_RANGE_M = 69.9

pytest.importorskip('embreex', reason='the sample world needs embreex')
needs_weights = pytest.mark.skipif(
    not (shipped_file(f'{NETWORK}.onnx').is_file() and shipped_file(f'{NETWORK}_prior.npz').is_file()),
    reason=f'occ_perception/weights/{NETWORK}.onnx and {NETWORK}_prior.npz are not there: train and export them first')
pytestmark = needs_weights


@pytest.fixture(scope='module')
def frames() -> tuple[list[SensorFrame], list[OccupancyTruth]]:
    """Frames with truth of streets that neither training nor the demo draws."""
    from occ_perception.datasets.sample_world import make_street, render_frame, sensor_frame

    sensors, truths = [], []
    for seed in STREETS:
        street = make_street(seed)
        for time_s in TIMES_S:
            world = render_frame(street, time_s)
            beams = world.sweep
            points = np.zeros((len(beams.ends), 6), np.float32)
            points[:, :3] = beams.ends
            points = points[np.linalg.norm(beams.ends - beams.origins, axis=1) < LIDAR_RANGE_M]
            frame = sensor_frame(world)
            sensors.append(replace(frame, sweeps=(LidarSweep(frame.stamp_ns, points, np.eye(4)),)))
            truth = world.truth
            truths.append(OccupancyTruth(truth.semantics, truth.mask_camera.astype(bool), truth.mask_lidar.astype(bool)))
    return sensors, truths


@pytest.fixture(scope='module')
def score(frames: tuple[list[SensorFrame], list[OccupancyTruth]]) -> Callable[..., Score]:
    """Score of the shipped network when every frame is changed in some way first."""
    from occ_perception.runtime.predictor import Predictor

    predictor = Predictor(NETWORK)
    sensors, truths = frames

    def of(change: Callable[[SensorFrame], SensorFrame] = lambda frame: frame) -> Score:
        predictor.reset()
        return score_labels((predictor.predict(change(frame)).labels for frame in sensors), truths)

    return of


@pytest.fixture(scope='module')
def seeing(score: Callable[..., Score]) -> Score:
    return score()


@pytest.fixture(scope='module')
def baselines(frames: tuple[list[SensorFrame], list[OccupancyTruth]]) -> tuple[Score, Score]:
    """(a) best constant per voxel, (b) LiDAR hits."""
    from occ_perception.training.baselines import Prior

    prior = Prior.load(shipped_file(f'{NETWORK}_prior.npz'))
    sensors, truths = frames
    constant = score_labels([prior.constant] * len(truths), truths)
    geometry = score_labels([prior.geometry] * len(truths), truths)
    hits = score_labels([prior.label_points(frame.sweeps[0].points) for frame in sensors], truths)
    return replace(constant, geometric_iou=max(constant.geometric_iou, geometry.geometric_iou)), hits


def black(frame: SensorFrame) -> SensorFrame:
    """Every camera dark."""
    return replace(frame, cameras={name: replace(c, image=np.zeros_like(c.image)) for name, c in frame.cameras.items()})


def permuted(frame: SensorFrame) -> SensorFrame:
    """Every camera shows what the next one sees."""
    names = list(frame.cameras)
    shifted = names[1:] + names[:1]
    return replace(frame, cameras={name: replace(frame.cameras[name], image=frame.cameras[other].image)
                                   for name, other in zip(names, shifted, strict=True)})


def inverted(frame: SensorFrame) -> SensorFrame:
    """Extrinsics the wrong way round: camera from ego where ego from camera belongs."""
    return replace(frame, cameras={name: replace(camera, ego_from_camera=inverse(camera.ego_from_camera))
                                   for name, camera in frame.cameras.items()})


def test_beats_what_needs_no_cameras(seeing: Score, baselines: tuple[Score, Score]) -> None:
    for name, baseline in zip(('constant per voxel', 'LiDAR hits'), baselines, strict=True):
        assert seeing.miou >= baseline.miou + MARGIN, f'{name}: mIoU {seeing.miou:.3f} against {baseline.miou:.3f}'
        assert seeing.geometric_iou > baseline.geometric_iou, name


@pytest.mark.parametrize('spoil', [black, permuted, inverted])
def test_spoilt_input_costs_the_score(spoil: Callable[[SensorFrame], SensorFrame], seeing: Score, score: Callable[..., Score],
                                      baselines: tuple[Score, Score]) -> None:
    above = seeing.miou - baselines[0].miou
    left = score(spoil).miou - baselines[0].miou
    assert above > 0
    assert left <= (1 - LOSS) * above, f'{spoil.__name__}: {100 * left:.1f} of {100 * above:.1f} points above the baseline are left'

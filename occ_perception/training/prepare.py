"""Renders sample-world streets into training samples, a street per process, skipping what is there already."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.datasets.sample_world.frame import DEFAULT_IMAGE_SIZE, WorldFrame, training_frames
from occ_perception.geometry.column_lift import LiftSpec
from occ_perception.geometry.transforms import inverse
from occ_perception.runtime.intake.image import fit
from occ_perception.training.samples import TrainingSample, cell_pixels, load_sample, save_sample

TRAINING_IMAGE_SIZE = (480, 270)
"""Size that training pictures are rendered at: a third of the pixels of the demo's 800 x 450, still above network size."""

FIRST_TRAINING_STREET = 100_000
FIRST_CALIBRATION_STREET = 150_000
FIRST_HELD_OUT_STREET = 200_000
FIRST_DEMO_STREET = 300_000
"""Street seeds: training, class offsets, evaluation for the card, and the demo draw from ranges that do not meet."""


def make_sample(frame: WorldFrame, row: NetworkEntry, past: Sequence[WorldFrame] = ()) -> TrainingSample:
    """Training sample of a rendered frame and the frames before it, for the network of a catalogue row; cameras in its order."""
    lift = row.frustum
    truth = frame.truth
    assert truth is not None
    hits = np.zeros(truth.semantics.shape, bool)
    if frame.sweep is not None:
        index, inside = row.grid.indices(frame.sweep.ends)
        hits[tuple(index[inside].T)] = True
    views = [[each.cameras[name] for name in row.cameras] for each in (frame, *past)]
    cameras = views[0]
    fitted = [fit(camera.image, camera.intrinsics, row.preprocessing) for camera in cameras]
    lattice = [_cell_lattice(lift, camera.intrinsics, intrinsics) for camera, (_, intrinsics) in zip(cameras, fitted, strict=True)]
    ego_from_fixed = inverse(frame.fixed_from_ego)
    images = np.array([[fit(c.image, c.intrinsics, row.preprocessing)[0] for c in each] for each in views[1:]], np.uint8)
    poses = np.array([[ego_from_fixed @ c.fixed_from_ego @ c.ego_from_camera for c in each] for each in views])
    present = np.stack([image for image, _ in fitted])
    moving = np.flatnonzero(truth.flow.any(axis=-1))
    return TrainingSample(
        images=present, intrinsics=np.stack([intrinsics for _, intrinsics in fitted]), reference_ego_from_camera=poses[0],
        past_images=images.reshape(-1, *present.shape), past_reference_ego_from_camera=poses[1:],
        labels=truth.semantics, visible=truth.mask_camera.astype(bool), lidar_hits=hits,
        depth_m=np.stack([cell_pixels(np.where(np.isfinite(c.depth), c.depth, 0), *at)
                          for c, at in zip(cameras, lattice, strict=True)]).astype(np.float16),
        pixel_class=np.stack([cell_pixels(c.label, *at) for c, at in zip(cameras, lattice, strict=True)]).astype(np.uint8),
        points=np.concatenate([np.zeros((0, 6), np.float32), *frame.points]),
        sweep=np.repeat(np.arange(len(frame.points), dtype=np.uint8), [len(each) for each in frame.points]),
        moving=moving.astype(np.int32), flow=truth.flow.reshape(-1, 2)[moving])


def _cell_lattice(lift: LiftSpec, source: np.ndarray, network: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Source pixel rows (h, 4) and columns (w, 4) under each feature cell, from the two intrinsic matrices of one camera."""
    within = (np.arange(4) + 0.5) / 4 * lift.stride
    rows = np.arange(lift.feature_height)[:, None] * lift.stride + within
    columns = np.arange(lift.feature_width)[:, None] * lift.stride + within
    return ((rows - network[1, 2]) * source[1, 1] / network[1, 1] + source[1, 2],
            (columns - network[0, 2]) * source[0, 0] / network[0, 0] + source[0, 2])


def _prepare_street(seed: int, frames: int, folder: Path, network: str, held_out: bool) -> None:
    row = entry(network)
    size = DEFAULT_IMAGE_SIZE if held_out else TRAINING_IMAGE_SIZE
    ages_s = () if row.lidar is None else row.lidar.ages_s
    rendered = training_frames(seed, frames, image_size=size, sweep=held_out or row.lidar is not None,
                               past_s=row.history.offsets_s, sweep_ages_s=ages_s)
    for number, (frame, past) in enumerate(rendered):
        save_sample(folder / f'{seed}-{number:02d}.npz', make_sample(frame, row, past))


def prepare(seeds: Sequence[int], frames: int, folder: Path, network: str, jobs: int, held_out: bool = False) -> list[Path]:
    """Sample files of `frames` frames of each street, in the order of seeds; renders those that are missing.

    held_out: with the demo's picture size and with a LiDAR sweep, as evaluation needs it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {seed: [folder / f'{seed}-{number:02d}.npz' for number in range(frames)] for seed in seeds}
    missing = [seed for seed in seeds if not all(path.is_file() for path in files[seed])]
    if missing:
        with ProcessPoolExecutor(jobs, mp_context=get_context('spawn')) as pool, \
                tqdm(total=len(missing) * frames, unit='frame', desc=f'rendering {len(missing)} streets') as progress:
            for done in as_completed([pool.submit(_prepare_street, seed, frames, folder, network, held_out) for seed in missing]):
                done.result()
                progress.update(frames)
    return [path for seed in seeds for path in files[seed]]


def count_classes(files: Sequence[Path], classes: int = 18) -> np.ndarray:
    """Visible voxels per class over the samples, (classes,) int64."""
    total = np.zeros(classes, np.int64)
    for path in tqdm(files, unit='frame', desc='counting classes', disable=len(files) < 100):
        sample = load_sample(path)
        total += np.bincount(sample.labels[sample.visible], minlength=classes)[:classes]
    return total

"""Occ3D label files: `labels.npz` with semantics and visibility masks, and folders of them named by stamp."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.datasets.files import CorruptFileError, read_arrays
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import FREE, UNKNOWN


@dataclass(frozen=True)
class OccupancyTruth:
    """What is really there, on the Occ3D grid in the ego frame of the reference stamp; all arrays (200, 200, 16[, 2]).

    labels: uint8 Occ3D ids. mask_camera, mask_lidar: bool, observed by the cameras, by the LiDAR. instances: uint16,
    0 = none, or None. flow: float16 (vx, vy) in m/s, ego axes, or None. others: whether class 0 is annotated at all (OpenOcc has it
    not; there a prediction of it counts as free).
    """

    labels: np.ndarray
    mask_camera: np.ndarray
    mask_lidar: np.ndarray
    instances: np.ndarray | None = None
    flow: np.ndarray | None = None
    others: bool = True


SOURCE = ('Occ3D-nuScenes labels (gts/) are at https://github.com/Tsinghua-MARS-Lab/Occ3D, those of generated streets come from '
          '`occ world`')


def read_truth(path: Path | str) -> OccupancyTruth:
    """Read one `labels.npz` (Occ3D's keys; `instances` and `flow` when there).

    Raises FileNotFoundError when it is absent, CorruptFileError (a ValueError) when it is no npz, lacks a key, has another shape or
    holds labels that are none.
    """
    path = Path(path)
    arrays = read_arrays(path, ('semantics', 'mask_camera', 'mask_lidar'), ('instances', 'flow'), SOURCE)
    for key, array in arrays.items():
        if array.shape[:3] != OCC3D_GRID.shape:
            raise CorruptFileError(f'{path}: {key} has shape {array.shape}, not {OCC3D_GRID.shape}: it is on another grid')
    foreign = (arrays['semantics'] > FREE) & (arrays['semantics'] != UNKNOWN)
    if foreign.any():
        raise CorruptFileError(f'{path}: semantics {np.unique(arrays["semantics"][foreign])[:8].tolist()} are no Occ3D labels')
    return OccupancyTruth(arrays['semantics'].astype(np.uint8), arrays['mask_camera'].astype(bool),
                          arrays['mask_lidar'].astype(bool), arrays.get('instances'), arrays.get('flow'))


def write_truth(path: Path | str, truth: OccupancyTruth) -> None:
    """Write one `labels.npz` as Occ3D has it (masks as uint8), making its folder; `instances` and `flow` when given."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {'semantics': truth.labels.astype(np.uint8), 'mask_lidar': truth.mask_lidar.astype(np.uint8),
              'mask_camera': truth.mask_camera.astype(np.uint8)}
    if truth.instances is not None:
        arrays['instances'] = truth.instances.astype(np.uint16)
    if truth.flow is not None:
        arrays['flow'] = truth.flow.astype(np.float16)
    with path.open('wb') as file:
        np.savez_compressed(file, **arrays)


def truth_by_stamp(folder: Path | str) -> dict[int, Path]:
    """Truth files of a folder `<stamp_ns>.npz` (or of its scene folders), by stamp, in time order.

    Raises FileNotFoundError when there are none.
    """
    folder = Path(folder)
    files = {int(path.stem): path for path in sorted(folder.rglob('*.npz')) if path.stem.isdigit()}
    if not files:
        raise FileNotFoundError(f'{folder} holds no truth files <stamp in ns>.npz: give a folder that `occ world` wrote')
    return dict(sorted(files.items()))

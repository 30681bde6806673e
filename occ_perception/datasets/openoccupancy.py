"""OpenOccupancy labels (nuScenes-Occupancy v0.1): dense semantic occupancy in the LiDAR frame, 512 x 512 x 40 voxels of 0.2 m.

Source: Wang et al., "OpenOccupancy: A Large Scale Benchmark for Surrounding Semantic Occupancy Perception" (ICCV 2023).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occ_perception.datasets.files import CorruptFileError
from occ_perception.geometry.voxel_grid import OPENOCCUPANCY_GRID

GRID = OPENOCCUPANCY_GRID
"""In the frame of the LIDAR_TOP key frame, not the ego frame."""
FOLDER = 'nuScenes-Occupancy'
NOISE = 255
"""Label of voxels that are left out of every score; 0 = empty, 1..16 the lidarseg classes."""
SOURCE = 'OpenOccupancy labels (nuScenes-Occupancy/) are at https://github.com/JeffWang987/OpenOccupancy'


def label_path(root: Path, scene_token: str, lidar_token: str) -> Path:
    """Label file of a key frame, by the tokens of its scene and of its LIDAR_TOP reading."""
    return root / FOLDER / f'scene_{scene_token}' / 'occupancy' / f'{lidar_token}.npy'


def read_openoccupancy(path: Path | str) -> np.ndarray:
    """(512, 512, 40) uint8, [x, y, z]: 0 empty, 1..16, 255 noise. Where rows share a voxel the commonest label wins, the lower of
    equals.

    Files are rows z, y, x, class (or z, y, x, vx, vy, vz, class). Raises FileNotFoundError, CorruptFileError.
    """
    path = Path(path)
    try:
        rows = np.load(path)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: no such file. {SOURCE}') from None
    except (EOFError, OSError, ValueError) as error:
        raise CorruptFileError(f'{path} is not a readable npy file ({error}): download it again') from error
    if rows.ndim != 2 or rows.shape[1] not in (4, 7):
        raise CorruptFileError(f'{path}: shape {rows.shape}; rows of 4 or 7 numbers are expected (z, y, x, ... class)')
    index, classes = rows[:, 2::-1].astype(np.int64), rows[:, -1].astype(np.int64)
    if ((index < 0) | (index >= GRID.shape)).any() or ((classes < 0) | (classes > 16)).any():
        raise CorruptFileError(f'{path}: voxels outside {GRID.shape} or classes outside 0..16')
    classes[classes == 0] = NOISE
    # per voxel the commonest label: sorted by voxel, then by count, then by label downwards, the last one written stays
    voxel = np.ravel_multi_index(tuple(index.T), GRID.shape)
    pairs, counts = np.unique(voxel * 256 + classes, return_counts=True)
    order = np.lexsort((-(pairs % 256), counts, pairs // 256))
    labels = np.zeros(int(np.prod(GRID.shape)), np.uint8)
    last = np.append(np.diff(pairs[order] // 256) != 0, True) if len(order) else np.zeros(0, bool)
    labels[pairs[order][last] // 256] = pairs[order][last] % 256
    return labels.reshape(GRID.shape)

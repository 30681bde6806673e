"""Occ3D-Waymo labels: 15 classes and free on the Occ3D grid, ten frames a second, three visibility masks.

Source: Tian et al., "Occ3D" (NeurIPS 2023). Pictures and poses are Waymo's own and come in records that are not read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occ_perception.datasets.files import CorruptFileError, read_arrays
from occ_perception.geometry.voxel_grid import OCC3D_GRID

CLASSES = ('general_object', 'vehicle', 'pedestrian', 'sign', 'cyclist', 'traffic_light', 'pole', 'construction_cone', 'bicycle',
           'motorcycle', 'building', 'vegetation', 'tree_trunk', 'road', 'walkable', 'free')
"""Names in label order, free last."""
FREE, RAW_FREE = 15, 23
"""Free as it is here, and as the files have it."""
SOURCE = 'Occ3D-Waymo labels (<split>/<scene>/<frame>_04.npz) are at https://github.com/Tsinghua-MARS-Lab/Occ3D'


@dataclass(frozen=True)
class WaymoTruth:
    """Truth of one frame, all arrays (200, 200, 16). labels: uint8 0..15. mask_lidar, mask_camera, mask_fov: bool, observed by the
    LiDAR, by the cameras, within the five cameras' field of view. The benchmark scores mask_fov & mask_camera."""

    labels: np.ndarray
    mask_lidar: np.ndarray
    mask_camera: np.ndarray
    mask_fov: np.ndarray


def scenes(root: Path | str, split: str) -> dict[str, list[Path]]:
    """Label files (0.4 m voxels) of a split ('training', 'validation', 'test') by scene, in the order of their frames.

    Raises FileNotFoundError when there are none.
    """
    folder = Path(root) / split
    found = {path.name: sorted(path.glob('*_04.npz')) for path in sorted(folder.glob('*')) if path.is_dir()}
    found = {name: files for name, files in found.items() if files}
    if not found:
        raise FileNotFoundError(f'{folder} holds no label files. {SOURCE}')
    return found


def read_waymo(path: Path | str) -> WaymoTruth:
    """Read one label file. Raises FileNotFoundError, CorruptFileError for missing arrays, another grid or unknown labels."""
    path = Path(path)
    names = ('voxel_label', 'origin_voxel_state', 'final_voxel_state', 'infov')
    arrays = read_arrays(path, names, (), SOURCE)
    for name, array in arrays.items():
        if array.shape != OCC3D_GRID.shape:
            raise CorruptFileError(f'{path}: {name} has shape {array.shape}, not {OCC3D_GRID.shape}: read the files named _04')
    labels = arrays['voxel_label'].astype(np.uint8)
    labels[labels == RAW_FREE] = FREE
    if labels.max() > FREE:
        raise CorruptFileError(f'{path}: labels up to {labels.max()}; Occ3D-Waymo has 0..14 and 23 (free)')
    return WaymoTruth(labels, *(arrays[name].astype(bool) for name in names[1:]))

"""Labels of LiDAR points: nuScenes-lidarseg and Panoptic nuScenes, from their 32 raw categories to the 16 classes of the benchmark.

Sources: Caesar et al., nuScenes-lidarseg (2020); Fong et al., "Panoptic nuScenes" (RA-L 2022).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occ_perception.datasets.files import CorruptFileError, read_arrays, read_bytes
from occ_perception.datasets.nuscenes import DOWNLOAD, NuScenes, SampleData

_RAW = {1: (9,), 2: (14,), 3: (15, 16), 4: (17,), 5: (18,), 6: (21,), 7: (2, 3, 4, 6), 8: (12,), 9: (22,), 10: (23,), 11: (24,),
        12: (25,), 13: (26,), 14: (27,), 15: (28,), 16: (30,)}
CLASS_OF_RAW = np.zeros(32, np.uint8)
"""(32,) uint8: raw category -> class 1..16 in the order of Occ3D, 0 = noise, which is not scored."""
for _label, _raws in _RAW.items():
    CLASS_OF_RAW[list(_raws)] = _label


def point_classes(tables: NuScenes, sweep: SampleData) -> np.ndarray:
    """(M,) uint8 class 0..16 of each point of a key frame's sweep, 0 = noise.

    Raises FileNotFoundError when the tree has no lidarseg or the file is absent, CorruptFileError for another number of points or
    a category above 31, ValueError for a sweep without labels (those between key frames have none).
    """
    path = _label_file(tables, 'lidarseg', sweep)
    raw = np.frombuffer(read_bytes(path, _source('lidarseg', tables)), np.uint8)
    _check(path, raw, sweep)
    return CLASS_OF_RAW[raw]


def point_panoptic(tables: NuScenes, sweep: SampleData) -> np.ndarray:
    """(M,) int64 of each point of a key frame's sweep: 1000 * class (0..16) + instance. The errors are those of point_classes."""
    path = _label_file(tables, 'panoptic', sweep)
    data = read_arrays(path, ('data',), (), _source('panoptic', tables))['data'].astype(np.int64)
    _check(path, data // 1000, sweep)
    return CLASS_OF_RAW[data // 1000].astype(np.int64) * 1000 + data % 1000


def _label_file(tables: NuScenes, table: str, sweep: SampleData) -> Path:
    path = tables.file_of(table, sweep.token)
    if path is None:
        raise ValueError(f'{tables.root} has no {table} labels of {sweep.path.name}: only key frames of {tables.version} have them')
    return path


def _source(table: str, tables: NuScenes) -> str:
    return f'Unpack the nuScenes-{table} archive from {DOWNLOAD} into {tables.root}'


def _check(path: Path, raw: np.ndarray, sweep: SampleData) -> None:
    if raw.ndim != 1 or raw.max(initial=0) >= len(CLASS_OF_RAW):
        raise CorruptFileError(f'{path}: labels of shape {raw.shape} up to {raw.max(initial=0)} are no list of categories 0..31')
    points = sweep.path.stat().st_size // 20 if sweep.path.is_file() else len(raw)
    if points != len(raw):
        raise CorruptFileError(f'{path}: {len(raw)} labels for the {points} points of {sweep.path}')

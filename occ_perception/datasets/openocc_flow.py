"""OpenOcc v2 labels (CVPR 2024 occupancy and flow challenge): 17 classes in their own order, velocities, no visibility masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occ_perception.datasets.files import CorruptFileError, read_arrays
from occ_perception.datasets.occ3d import OccupancyTruth
from occ_perception.geometry.voxel_grid import OCC3D_GRID
from occ_perception.labels import OCC3D
from occ_perception.metrics.label_sets import OPENOCC_SET

SOURCE = 'OpenOcc v2.1 labels (openocc_v2/) are at https://github.com/OpenDriveLab/OccNet'
_OCC3D_ID = {info.name: info.id for info in OCC3D}
OCC3D_OF_OPENOCC = np.array([_OCC3D_ID[name] for name in OPENOCC_SET.names], np.uint8)
"""(17,) OpenOcc label -> Occ3D label; Occ3D's others has no counterpart."""
OPENOCC_OF_OCC3D = np.full(len(OCC3D), OPENOCC_SET.free, np.uint8)
"""(18,) Occ3D label -> OpenOcc label; others becomes free."""
OPENOCC_OF_OCC3D[OCC3D_OF_OPENOCC] = np.arange(len(OPENOCC_SET.names))


def read_openocc(path: Path | str) -> OccupancyTruth:
    """Read one `labels.npz` of OpenOcc v2 as truth in Occ3D's labels: every voxel is scored, class 0 (others) is not annotated.

    flow is float32 (vx, vy) in m/s; instances where the file has them. Raises FileNotFoundError, CorruptFileError.
    """
    path = Path(path)
    arrays = read_arrays(path, ('semantics', 'flow'), ('instances',), SOURCE)
    labels, flow = arrays['semantics'], arrays['flow']
    if labels.shape != OCC3D_GRID.shape or flow.shape != (*OCC3D_GRID.shape, 2):
        raise CorruptFileError(f'{path}: semantics {labels.shape} and flow {flow.shape} are not on the grid {OCC3D_GRID.shape}')
    if labels.max() >= len(OCC3D_OF_OPENOCC):
        raise CorruptFileError(f'{path}: labels up to {labels.max()}, OpenOcc has 0..{OPENOCC_SET.free}')
    everywhere = np.ones(labels.shape, bool)
    return OccupancyTruth(OCC3D_OF_OPENOCC[labels], everywhere, everywhere, arrays.get('instances'), flow.astype(np.float32),
                          others=False)

"""Pictures of a frame as a network takes them, and the geometry of their cameras."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.runtime.frames import CameraImage
from occ_perception.runtime.intake.image import fit, fitted_intrinsics
from occ_perception.runtime.memory import CameraSet


def camera_input(cameras: Mapping[str, CameraImage], row: NetworkEntry, engine_fits: bool) -> tuple[np.ndarray, CameraSet]:
    """Pictures and geometry in the network's order; black pictures and identities for cameras that are not there.

    Pictures (N, H, W, 3) uint8 have network size, or, where the engine fits them itself and all have one size, the size that they
    come in; the intrinsics are those at network size either way.
    """
    wanted = row.preprocessing
    count, size = len(row.cameras), (wanted.input_height, wanted.input_width)
    sizes = {camera.image.shape[:2] for camera in cameras.values()}
    as_they_are = engine_fits and len(sizes) == 1
    images = np.zeros((count, *(sizes.pop() if as_they_are else size), 3), np.uint8)
    out = CameraSet(np.tile(np.eye(3), (count, 1, 1)), np.tile(np.eye(4), (count, 1, 1)), np.tile(np.eye(4), (count, 1, 1)),
                    np.zeros(count, bool))
    for index, name in enumerate(row.cameras):
        camera = cameras.get(name)
        if camera is None:
            continue
        if as_they_are:
            height, width = camera.image.shape[:2]
            images[index], out.intrinsics[index] = camera.image, fitted_intrinsics(height, width, camera.intrinsics, wanted)
        else:
            images[index], out.intrinsics[index] = fit(camera.image, camera.intrinsics, wanted)
        out.ego_from_camera[index] = camera.ego_from_camera
        out.fixed_from_camera[index] = camera.fixed_from_ego @ camera.ego_from_camera
        out.valid[index] = True
    return images, out

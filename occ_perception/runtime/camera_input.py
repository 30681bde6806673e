"""Pictures of a frame as a network takes them, and the geometry of their cameras."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.geometry.array_library import Array, filled, on_host
from occ_perception.runtime.frames import CameraImage
from occ_perception.runtime.intake.image import fit, fitted_intrinsics
from occ_perception.runtime.memory import CameraSet


def camera_input(cameras: Mapping[str, CameraImage], row: NetworkEntry, engine_fits: bool) -> tuple[Array, CameraSet]:
    """Pictures and geometry in the network's order; black pictures and identities for cameras that are not there.

    Pictures (N, H, W, 3) uint8 have network size, or, where the engine fits them itself and all have one size, the size that they
    come in; the intrinsics are those at network size either way. In the latter case they stay on the device where all of them are;
    else they come to the host.
    """
    wanted = row.preprocessing
    count, size = len(row.cameras), (wanted.input_height, wanted.input_width)
    sizes = {camera.image.shape[:2] for camera in cameras.values()}
    as_they_are = engine_fits and len(sizes) == 1
    pictures = {name: camera.image for name, camera in cameras.items()}
    if not as_they_are or any(isinstance(picture, np.ndarray) for picture in pictures.values()):
        pictures = {name: on_host(picture) for name, picture in pictures.items()}
    like = next(iter(pictures.values()), np.zeros(0))
    images = filled(like, (count, *(sizes.pop() if as_they_are else size), 3), 0, 'uint8')
    out = CameraSet(np.tile(np.eye(3), (count, 1, 1)), np.tile(np.eye(4), (count, 1, 1)), np.tile(np.eye(4), (count, 1, 1)),
                    np.zeros(count, bool))
    for index, name in enumerate(row.cameras):
        camera = cameras.get(name)
        if camera is None:
            continue
        if as_they_are:
            height, width = camera.image.shape[:2]
            images[index], out.intrinsics[index] = pictures[name], fitted_intrinsics(height, width, camera.intrinsics, wanted)
        else:
            images[index], out.intrinsics[index] = fit(pictures[name], camera.intrinsics, wanted)
        out.ego_from_camera[index] = camera.ego_from_camera
        out.fixed_from_camera[index] = camera.fixed_from_ego @ camera.ego_from_camera
        out.valid[index] = True
    return images, out

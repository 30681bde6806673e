"""The sequence of frames that an engine is given: the present one and what is remembered, placed by geometry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.protocol import EXACT, Match, PlacedFrame, TablesOf
from occ_perception.geometry.camera_vector import camera_vectors, plane_sweeps, published_source
from occ_perception.geometry.column_lift import build_lift_tables
from occ_perception.geometry.map_warp import map_warp
from occ_perception.runtime.memory import CameraSet, Remembered


def place_frames(row: NetworkEntry, camera_aware: bool, cameras: CameraSet, fixed_from_ego: np.ndarray,
                 past: Sequence[Remembered | None], form: str = EXACT,
                 tables_of: TablesOf | None = None) -> list[PlacedFrame]:
    """The present frame, then one place per age that the network looks at; none for networks without cameras.

    camera_aware: whether the depth net takes camera vectors. fixed_from_ego: (4, 4) at the present stamp, of the frame that the
    grid lies in. past: of TemporalMemory.recall; the present frame stands in where it is None, as the published code has it at the
    start of a scene. tables_of: of an engine that makes lift tables itself (Engine.tables_of), None to make them here.
    """
    if not row.cameras:
        return []
    stereo = row.history.stereo
    ego_from_fixed = np.linalg.inv(fixed_from_ego)
    reference_from_camera = ego_from_fixed @ cameras.fixed_from_camera
    size = row.preprocessing.input_height, row.preprocessing.input_width

    def geometry(of: CameraSet) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        source, post = published_source(of.intrinsics, *size)
        placed = ego_from_fixed @ of.fixed_from_camera
        if tables_of is not None:
            tables = tables_of(source, placed, of.valid, post)
        else:
            caps = row.frustum.default_caps(len(row.cameras))
            tables = build_lift_tables(row.frustum, source, placed, caps, of.valid, post).arrays()
        return tables, camera_vectors(source, post, reference_from_camera) if camera_aware else None

    def match(of: CameraSet, before: Remembered | None) -> Match:
        other = before.cameras if before is not None else cameras
        source, post = published_source(of.intrinsics, *size)
        sweeps = plane_sweeps(source, post, np.linalg.inv(other.fixed_from_camera) @ of.fixed_from_camera)
        sweeps[~(of.valid & other.valid)] = 0  # puts every point behind the camera: seen by nobody, all depths alike
        return Match(None if before is None else before.memory, sweeps)

    tables, vectors = geometry(cameras)
    newest = past[0] if past else None
    present = PlacedFrame(None, tables, vectors, match(cameras, newest) if stereo else None)
    stand_in = present
    if stereo and newest is not None and form == EXACT:
        stand_in = PlacedFrame(None, tables, vectors, match(cameras, None))
    places = [present]
    for frame in past:
        if frame is None:
            places.append(stand_in)
        elif form == EXACT:
            own_tables, own_vectors = geometry(frame.cameras)
            costs = match(frame.cameras, None) if stereo and not frame.matched else None
            places.append(PlacedFrame(frame.memory, own_tables, own_vectors, costs))
        else:
            places.append(PlacedFrame(frame.memory, warp=map_warp(np.linalg.inv(frame.fixed_from_ego) @ fixed_from_ego, row.grid)))
    return places

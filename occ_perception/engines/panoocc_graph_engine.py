"""An exported PanoOcc as an engine; imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from occ_perception.engines.graph_engine import MAP, PAST_MAPS, WARPS, Session
from occ_perception.engines.panoocc_tables import MOTION, POINT_INDEX, POINT_SHARE, WARP
from occ_perception.engines.protocol import BoxArrays, FrameMemory, Inference, LidarInput, PlacedFrame
from occ_perception.geometry.volume_lookup import AXES
from occ_perception.geometry.voxel_views import ViewCaps, padded

SCORES, CODES, CLASS_SCORES, KNOWN = 'box_scores', 'box_codes', 'class_scores', 'known'
"""Names in exported graphs, beside `images`, those of ViewTables and panoocc_tables, `labels` and graph_engine's of volumes."""
__all__ = ['CLASS_SCORES', 'CODES', 'KNOWN', 'MAP', 'PAST_MAPS', 'SCORES', 'WARPS', 'PanoOccGraphEngine']


class PanoOccGraphEngine:
    """See Engine; frames as runtime.voxel_places has them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.description = session.description
        self._caps = ViewCaps(session.shapes['seen'][1], session.shapes['slots'][1])

    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """See Engine.infer; past frames that are not known are left out of `frames`.

        Raises ViewCapacityError for a rig whose cameras see more voxels than the file was exported for.
        """
        tables = frames[0].tables
        assert tables is not None
        shapes = self._session.shapes
        feeds = {'images': images} | padded(tables, self._caps) | {name: tables[name] for name in (MOTION, *AXES) if name in shapes}
        if PAST_MAPS in shapes:
            past = np.zeros(shapes[PAST_MAPS], np.float32)
            warps = np.stack([np.eye(4, dtype=np.float32)] * len(past))
            known = np.zeros(len(past), np.float32)
            for age, frame in enumerate(frames[1:]):
                assert frame.memory is not None and frame.tables is not None
                past[age], warps[age], known[age] = frame.memory.map, frame.tables[WARP], 1
            feeds |= {PAST_MAPS: past, WARPS: warps, KNOWN: known}
        found = self._session.run(feeds)
        memory = FrameMemory(map=found[MAP]) if MAP in found else None
        if SCORES not in found:
            return Inference(found['labels'], None, memory)
        points = None
        if POINT_INDEX in tables:
            flat = found[CLASS_SCORES].reshape(len(found[CLASS_SCORES]), -1)
            points = (flat[:, tables[POINT_INDEX]] * tables[POINT_SHARE]).sum(-1).argmax(0).astype(np.uint8)
        return Inference(found['labels'], None, memory, boxes=BoxArrays(found[SCORES], found[CODES]), point_labels=points)

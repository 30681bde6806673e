"""What every inference backend is: a function from images, geometry and remembered frames to labels and one more memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from occ_perception.labels import UNKNOWN

EXACT, WARPED = 'exact', 'warped'
MEMORY_FORMS = EXACT, WARPED
"""How past frames enter: their features are lifted again from where they were seen, or their maps are moved as pictures are."""


TABLES, SPCONV = 'tables', 'spconv'
SPARSE_FORMS = TABLES, SPCONV
"""What finds the neighbours of LiDAR voxels: tables made on the host, or the package spconv (torch backend only)."""


class EngineUnavailable(ValueError):
    """A backend cannot run here; the message says what is missing and what to do."""


@dataclass(frozen=True)
class FrameMemory:
    """What an engine keeps of a frame, on its own device; nobody else looks inside.

    prepared: features to be lifted again. stereo: features that later frames are matched against. matched: its matching costs with
    the frame before it. map: its map in the ego frame of its own time. None where the network or the form of memory has no use for
    it.
    """

    prepared: Any = None
    stereo: Any = None
    matched: Any = None
    map: Any = None


@dataclass(frozen=True)
class Match:
    """Stereo matching of a frame with the one before it. before: None for the present frame; sweeps: (N, 3, 13) of plane_sweeps."""

    before: FrameMemory | None
    sweeps: np.ndarray


@dataclass(frozen=True, eq=False)
class PlacedFrame:
    """One place in a sequence, as seen from the present ego frame.

    memory: what the engine kept of a past frame, None for the present one. tables: its lift tables by name (LiftTables.arrays()),
    None with a warp. cameras: (N, 27) float32 camera vectors, for networks that take them. match: None where the remembered costs
    hold. warp: (2, 3) float32 of geometry.map_warp, moves the remembered map. PanoOcc's tables: see runtime.voxel_places.
    """

    memory: FrameMemory | None
    tables: dict[str, np.ndarray] | None = None
    cameras: np.ndarray | None = None
    match: Match | None = None
    warp: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class LidarInput:
    """Points of one frame as a network takes them.

    voxels: (V, C) float32 features. tables: neighbour tables by name (geometry.neighbour_tables), for engines that do not find
    neighbours themselves. coords: (V, 3) int32 cells of the voxels, for those that do. hints: (N, H, W) float32 depths
    [m] of points in the pictures, 0 where there is none; None for networks without.
    """

    voxels: np.ndarray
    tables: dict[str, np.ndarray]
    hints: np.ndarray | None = None
    coords: np.ndarray | None = None


class CenterArrays(NamedTuple):
    """Maps of instance centres over (Y, X) cells: reg (2, Y, X), height (1, Y, X), heatmap (10, Y, X) logits; float32."""

    reg: np.ndarray
    height: np.ndarray
    heatmap: np.ndarray


class BoxArrays(NamedTuple):
    """What a box decoder says of each of its queries, see runtime.boxes: scores (B, 10) logits, codes (B, 10); float32."""

    scores: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True)
class Inference:
    """labels: (nx, ny, nz) uint8. centers: None without a head for them. memory: of the present frame, None without history.
    flow: (nx, ny, nz, 2) float32 velocities along x and y of the grid's frame, m/s; None without a head for it.
    boxes: None without a decoder for them. point_labels: (M,) uint8 classes 0 (noise) ... 16 of LiDAR points, None without."""

    labels: np.ndarray
    centers: CenterArrays | None
    memory: FrameMemory | None
    flow: np.ndarray | None = None
    boxes: BoxArrays | None = None
    point_labels: np.ndarray | None = None


class Pending(NamedTuple):
    """A frame under way. memory: may be given to the next frame at once. result: waits for it; call it once, in any thread."""

    memory: FrameMemory | None
    result: Callable[[], Inference]


TablesOf = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]
"""(intrinsics, reference_from_camera, valid, network_from_source) of build_lift_tables -> PlacedFrame.tables for an engine."""


class Engine(Protocol):
    """One network with its weights, ready to run in the thread that calls it.

    description: backend, device, precision and threads, for the log. An engine on a device may have a method `tables_of` beside
    (TablesOf): it then makes lift tables itself, and takes images of any one size, which it fits. One that can begin with a frame
    while another is under way has a method `submit` beside, with the arguments of the function below. One of a static graph has
    `voxel_caps` beside: rows per level of the sparse encoder that LidarInput.tables are padded to, None without a LiDAR branch.
    """

    description: str

    def infer(self, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None) -> Inference:
        """Occupancy of images (N, H, W, 3) uint8 RGB at network size (N = 0 for networks without cameras).

        frames: the present one, then one per past frame of the network, youngest first; where the past is not known, the present
        frame stands in (the same object may stand in several places). lidar: for networks that take points.
        """
        ...


def submit(engine: Engine, images: np.ndarray, frames: Sequence[PlacedFrame], lidar: LidarInput | None = None,
           observed: np.ndarray | None = None) -> Pending:
    """Begin with a frame; an engine without a `submit` of its own computes it here and now. Arguments as for Engine.infer.

    observed: (nx, ny, nz) bool, voxels that some sensor can see, the others become UNKNOWN; None: all of them. An engine may keep a
    copy for as long as the same array comes: nobody may write to it. At most two frames may be under way.
    """
    own = getattr(engine, 'submit', None)
    if own is not None:
        return own(images, frames, lidar, observed)
    inference = engine.infer(images, frames, lidar)

    def result() -> Inference:
        if observed is not None:
            inference.labels[~observed] = UNKNOWN
        return inference
    return Pending(inference.memory, result)


def finds_neighbours(engine: Engine) -> bool:
    """Whether an engine takes the cells of voxels in place of neighbour tables."""
    return getattr(engine, 'finds_neighbours', False)


def voxel_caps(engine: Engine) -> tuple[int, ...] | None:
    """Rows per level that an engine has room for; None for one that takes any number, or no points."""
    return getattr(engine, 'voxel_caps', None)

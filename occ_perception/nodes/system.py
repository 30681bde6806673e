"""What is started with which parameters, said once: `occ up` and the launch files both read it from here. Imports no ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from occ_perception.catalogue import NETWORKS, entry
from occ_perception.datasets.bag_reader import Bag
from occ_perception.datasets.dialects import Sources, detect, live_sources
from occ_perception.engines.protocol import EXACT
from occ_perception.runtime.fallback import MASK
from occ_perception.runtime.intake.assembly import LIDAR

LAUNCHED = {'flashocc': 'flashocc-r50-M0', 'panoptic_flashocc': 'panoptic-flashocc-r50-depth4d-pano',
            'bevdet_occ': 'bevdet-occ-r50-4d-stereo', 'scocc': 'scocc_sample', 'effocc': 'effocc_sample',
            'fusionocc': 'fusionocc-swinb-512x1408-mask', 'panoocc': 'panoocc-small'}
"""Launch file (without .launch.py) -> the network that it starts by default."""
REPLAY_BACKLOG, REPLAY_DEADLINE_S, REPLAY_TF_TIMEOUT_S = 5, 0.5, 0.5
"""In a replay a late grid is better than none or one with a camera less."""


@dataclass(frozen=True)
class NodeSpec:
    """One node: its executable (also its name) and its parameters."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """A bag to be played: rate 1 is real time; lockstep waits for every output."""

    bag: str
    rate: float = 1.0
    loop: bool = False
    lockstep: bool = False
    start_offset_s: float = 0.0
    duration_s: float = 0.0


def sources_of(bag: str | None) -> Sources:
    """Sources of a bag, or of a live vehicle with our own topic names. Raises ValueError for a bag that will not do."""
    if not bag:
        return live_sources()
    with Bag(bag) as opened:
        return detect(opened.topics, f'bag {bag}')


def networks_of(launch_file: str) -> tuple[str, ...]:
    """Networks that a launch file of LAUNCHED offers: those of the catalogue whose names begin as it does."""
    return tuple(name for name in NETWORKS if name.startswith(launch_file.replace('_', '-')))


def nodes(network: str, sources: Sources, backend: str = 'auto', weights: str = '', replay: Replay | None = None,
          use_sim_time: bool | None = None, memory: str = EXACT, published_centers: bool = False,
          precision: str = 'auto', without_lidar: str | None = None, without_cameras: str | None = None) -> tuple[NodeSpec, ...]:
    """Every node to start, in the order of starting; the player last. use_sim_time: None means when a bag is played.

    memory, published_centers, precision: see Predictor. without_lidar, without_cameras: what serves while that input is dead, a
    network or MASK; '' for none, None for the network that the catalogue names, else MASK where the network was trained for it.
    """
    usual = MASK if entry(network).maskable else ''
    without_lidar = entry(network).stand_in or usual if without_lidar is None else without_lidar
    without_cameras = usual if without_cameras is None else without_cameras
    names = [camera.name for camera in sources.cameras]
    sim_time = {'use_sim_time': bool(replay) if use_sim_time is None else use_sim_time}
    frames = {'fixed_frame': sources.fixed_frame, 'base_frame': sources.base_frame}
    max_rate = entry(network).rate_hz
    cameras: dict[str, Any] = {**sim_time, 'network': network, 'cameras': names}
    occupancy: dict[str, Any] = {**sim_time, **frames, 'network': network, 'backend': backend, 'weights': weights, 'cameras': names,
                                 'reference': sources.reference, 'max_rate': max_rate, 'memory': memory,
                                 'published_centers': published_centers, 'precision': precision}
    for camera in sources.cameras:
        cameras[f'{camera.name}.image_topic'] = camera.image_topic
        cameras[f'{camera.name}.camera_info_topic'] = camera.info_topic
        cameras[f'{camera.name}.transport'] = camera.transport
        occupancy[f'{camera.name}.offset'] = camera.offset_s
    if sources.reference == LIDAR and names and entry(network).cameras:
        occupancy['stand_ins'] = sorted(names, key=lambda name: name != 'CAM_FRONT')
    for what, name in (('lidar', without_lidar), ('cameras', without_cameras)):
        if name:
            occupancy[f'fallback_without_{what}'] = name
    if without_cameras:
        occupancy['min_cameras'] = 0
    if replay is not None:
        occupancy |= {'backlog': REPLAY_BACKLOG, 'deadline': REPLAY_DEADLINE_S, 'tf_timeout': REPLAY_TF_TIMEOUT_S}
    specs = [NodeSpec('cameras', cameras)] if entry(network).cameras else []
    if sources.points_topic:
        lidar: dict[str, Any] = {**sim_time, **frames, 'points_topic': sources.points_topic}
        if entry(network).lidar is not None:
            lidar['network'] = network
        if replay is not None:
            lidar['tf_timeout'] = REPLAY_TF_TIMEOUT_S
        specs.append(NodeSpec('lidar', lidar))
    specs += [NodeSpec('occupancy', occupancy), NodeSpec('views', {**sim_time})]
    if replay is not None:
        reference = sources.points_topic or next(c.image_topic for c in sources.cameras if c.name == sources.reference)
        specs.append(NodeSpec('player', {
            'bag': replay.bag, 'rate': float(replay.rate), 'loop': replay.loop, 'lockstep': replay.lockstep,
            'start_offset': float(replay.start_offset_s), 'duration': float(replay.duration_s),
            'clock': bool(sim_time['use_sim_time']),
            'reference_topic': reference, 'max_rate': max_rate}))
    return tuple(specs)

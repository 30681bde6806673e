"""Parameters of the `occupancy` node, and the rules for sets that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from occ_perception.catalogue import NETWORKS, entry
from occ_perception.engines.precision import PRECISIONS
from occ_perception.engines.protocol import EXACT, MEMORY_FORMS, SPARSE_FORMS, TABLES
from occ_perception.engines.select import BACKENDS
from occ_perception.nodes.parameters import Parameter
from occ_perception.runtime.fallback import MASK
from occ_perception.runtime.intake.assembly import LIDAR, AssemblyRules, CameraRule

SECOND = 1_000_000_000

PARAMETERS = (
    Parameter('network', 'scocc_sample', 'catalogue name of the network', choices=tuple(NETWORKS)),
    Parameter('backend', 'auto', 'what runs the network', choices=BACKENDS),
    Parameter('precision', 'auto', 'what it is computed in; auto: the best that changes few labels', choices=PRECISIONS),
    Parameter('weights', '', 'checkpoint or ONNX file; empty for the weights that ship with the network'),
    Parameter('cameras', ['CAM_FRONT'], 'names of the cameras, as the network knows them'),
    Parameter('reference', LIDAR, 'what anchors a set: lidar, or the name of a camera'),
    Parameter('max_rate', 5.0, 'sets per second of sensor time at most; 0 for every reference', low=0.0, high=100.0,
              changeable=True),
    Parameter('tolerance', 0.05, 'largest distance of a picture from reference + offset [s]', low=0.0, high=1.0, changeable=True),
    Parameter('deadline', 0.1, 'a set goes out at the latest so long after its reference came [s]', low=0.0, high=10.0,
              changeable=True),
    Parameter('min_cameras', 1, 'sets with fewer cameras are dropped; 0: a set may be the LiDAR alone', low=0, high=64,
              changeable=True),
    Parameter('stand_ins', [''], 'cameras that anchor sets while the LiDAR is silent, each while those before it are silent too; '
              "[''] for none"),
    Parameter('fallback_without_lidar', '', f'network that serves while there are no LiDAR points; {MASK}: the same, where it was '
              'trained for it; empty: sets without are dropped (networks of cameras and LiDAR)'),
    Parameter('fallback_without_cameras', '', 'the same while there are no pictures; takes min_cameras 0'),
    Parameter('weights_without_lidar', '', 'weights of the network in fallback_without_lidar; empty for those that ship'),
    Parameter('weights_without_cameras', '', 'weights of the network in fallback_without_cameras'),
    Parameter('fallback_hold', 1.0, 'an input that was lost counts as lost until it has been back for so long [s]', low=0.0,
              high=60.0),
    Parameter('fixed_frame', 'odom', 'frame that does not move with the vehicle and never jumps'),
    Parameter('base_frame', 'base_link', 'frame of the vehicle; grids are in it'),
    Parameter('tf_timeout', 0.2, 'longest wait for the transforms of a set [s]', low=0.0, high=10.0),
    Parameter('backlog', 1, 'complete sets that may wait while two are under way; older ones are dropped', low=0, high=7),
    Parameter('memory', EXACT, 'how past frames enter: lifted again, or their maps moved (cheaper)', choices=MEMORY_FORMS),
    Parameter('sparse_convolution', TABLES, 'what finds the neighbours of LiDAR voxels: our tables, or the package spconv '
              'where it is installed (torch backend)', choices=SPARSE_FORMS),
    Parameter('memory_max_gap', 2.0, 'after a longer pause the past is forgotten [s]', low=0.1, high=60.0),
    Parameter('published_centers', False, 'share voxels among instance centres by the class table of the published code'),
    Parameter('published_motion', False, 'tell PanoOcc the ego motion of first frames in absolute coordinates, as its published '
              'test code does'),
    Parameter('compress', True, 'zstd-compress the grid: some 10 kB in place of 640 kB'),
    Parameter('max_processing_time', 0.2, 'processing slower than this is a warning in /diagnostics [s]', low=0.0, high=60.0,
              changeable=True),
    Parameter('cameras_node', 'cameras', 'node whose parameter network follows when the network is switched; empty for none'),
    Parameter('lidar_node', 'lidar', 'the same for networks that look at LiDAR points; empty for none'),
    Parameter('autostart', True, 'configure and activate at start'),
)


def camera_parameters(camera: str) -> tuple[Parameter, ...]:
    """The parameters of one camera."""
    return (Parameter(f'{camera}.offset', 0.0, f'when {camera} fires, relative to the reference [s]', low=-1.0, high=1.0),)


def assembly_rules(values: Mapping[str, Any], offsets_s: Mapping[str, float]) -> AssemblyRules:
    """Assembly rules of parameter values and the cameras' offsets; raises ValueError when they do not go together."""
    tolerance = round(values['tolerance'] * SECOND)
    names = values['cameras'] if entry(values['network']).cameras else []
    cameras = tuple(CameraRule(name, round(offsets_s[name] * SECOND), tolerance) for name in names)
    if values['reference'] != LIDAR and values['reference'] not in values['cameras']:
        raise ValueError(f'parameter reference is {values["reference"]!r}, must be {LIDAR} or one of '
                         f'{", ".join(values["cameras"])}')
    if values['reference'] != LIDAR and entry(values['network']).sees_by_lidar:
        raise ValueError(f'parameter reference is {values["reference"]!r}, but {values["network"]} looks at LiDAR points: only '
                         f'{LIDAR} gives them')
    stand_ins = tuple(filter(None, values['stand_ins'])) if values['reference'] == LIDAR and names else ()
    return AssemblyRules(cameras, values['reference'], stand_ins, max_rate_hz=values['max_rate'],
                         deadline_ns=round(values['deadline'] * SECOND), min_cameras=values['min_cameras'] if names else 0)

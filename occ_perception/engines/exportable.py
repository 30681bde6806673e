"""The graphs that any network of the catalogue is exported as, what they are traced with, and what their files say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from occ_perception.catalogue import NetworkEntry
from occ_perception.engines.example_inputs import Drive, ExampleDrive
from occ_perception.engines.graphs import ExportedGraph, graphs_of
from occ_perception.engines.lidar_graph import LidarDrive, LidarGraph
from occ_perception.engines.panoocc_graphs import PanoOccDrive, PanoOccGraph, default_view_caps
from occ_perception.engines.protocol import EXACT
from occ_perception.engines.select import check_memory
from occ_perception.geometry.column_lift import LiftCaps
from occ_perception.networks.build import Network
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.panoocc.network import PanoOcc


class Exportable(NamedTuple):
    """graphs: by the file of each, the one that gives labels last. drive: feeds them. facts: of the network and its inputs, as
    metadata_props hold them."""

    graphs: Mapping[Path, ExportedGraph]
    drive: Drive
    facts: dict[str, str]


def exportable(network: Network, row: NetworkEntry, path: Path, caps: LiftCaps | None = None,
               memory: str = EXACT) -> Exportable:
    """How a network in eval mode becomes `path` and the files beside it. caps, memory: see export_onnx.

    Raises ValueError for a form of memory that the network does not have.
    """
    check_memory(row, memory)
    facts = {'network': row.name, 'cameras': json.dumps(row.cameras), 'memory': memory,
             'preprocessing': json.dumps(asdict(row.preprocessing))}
    if isinstance(network, PanoOcc):
        facts['view_caps'] = json.dumps(asdict(default_view_caps(network)))
        return Exportable({path: PanoOccGraph(network)}, PanoOccDrive(network, row), facts)
    if row.lift is not None:
        caps = caps or row.frustum.default_caps(len(row.cameras))
        facts |= {'lift': json.dumps(asdict(row.lift)), 'lift_caps': json.dumps(asdict(caps))}
    if isinstance(network, FlashOcc):
        assert caps is not None
        return Exportable(graphs_of(network, path, caps.slots, memory), ExampleDrive(network, row, caps), facts)
    facts['voxel_caps'] = json.dumps(network.config.lidar.caps)
    graph = LidarGraph(network, None if caps is None else caps.slots)
    return Exportable({path: graph}, LidarDrive(network, row, caps), facts)

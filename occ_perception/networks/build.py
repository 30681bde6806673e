"""Builds any network of the catalogue by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeAlias

from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.networks.configs import config_of
from occ_perception.networks.effocc.config import EffOccConfig
from occ_perception.networks.effocc.network import EffOcc
from occ_perception.networks.flashocc.network import FlashOcc
from occ_perception.networks.fusionocc.config import FusionOccConfig
from occ_perception.networks.fusionocc.network import FusionOcc
from occ_perception.networks.panoocc.config import PanoOccConfig
from occ_perception.networks.panoocc.network import PanoOcc

LidarNetwork: TypeAlias = EffOcc | FusionOcc
Network: TypeAlias = FlashOcc | LidarNetwork | PanoOcc


def build_network(network: str | NetworkEntry, changes: Mapping[str, Any] | None = None) -> Network:
    """The network of a catalogue name, or of a row that imported weights have changed, freshly initialised, in train mode.

    changes: further fields of its configuration that are to be otherwise. Raises ValueError for an unknown name or field.
    """
    row = entry(network) if isinstance(network, str) else network
    config = config_of(row.name)
    changed = {**row.changes, **(changes or {})}
    unknown = sorted(set(changed) - {field.name for field in fields(config)})
    if unknown:
        raise ValueError(f'{row.name} has no {", ".join(unknown)} to change')
    config = replace(config, **changed)
    if isinstance(config, EffOccConfig):
        return EffOcc(config, row.preprocessing, row.lift, row.grid)
    if isinstance(config, FusionOccConfig):
        return FusionOcc(config, row.preprocessing, row.frustum)
    if isinstance(config, PanoOccConfig):
        return PanoOcc(config, row.preprocessing)
    return FlashOcc(config, row.preprocessing, row.frustum)


def build_camera_network(network: str | NetworkEntry, changes: Mapping[str, Any] | None = None) -> FlashOcc:
    """build_network for the BEVDet line of camera networks. Raises ValueError for another."""
    built = build_network(network, changes)
    if not isinstance(built, FlashOcc):
        name = network if isinstance(network, str) else network.name
        raise ValueError(f'{name} is no camera network of the BEVDet line, which this needs')
    return built

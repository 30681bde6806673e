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

LidarNetwork: TypeAlias = EffOcc | FusionOcc
Network: TypeAlias = FlashOcc | LidarNetwork


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
    return FlashOcc(config, row.preprocessing, row.frustum)


def build_camera_network(network: str | NetworkEntry, changes: Mapping[str, Any] | None = None) -> FlashOcc:
    """build_network for networks of cameras alone. Raises ValueError for one that takes LiDAR points."""
    built = build_network(network, changes)
    if not isinstance(built, FlashOcc):
        name = network if isinstance(network, str) else network.name
        raise ValueError(f'{name} takes LiDAR points: choose a network of cameras alone')
    return built

"""The configuration of any network of the catalogue; imports no torch."""

from __future__ import annotations

import importlib
from typing import TypeAlias

from occ_perception.catalogue import entry
from occ_perception.networks.effocc.config import EffOccConfig
from occ_perception.networks.flashocc.config import FlashOccConfig
from occ_perception.networks.fusionocc.config import FusionOccConfig
from occ_perception.networks.panoocc.config import PanoOccConfig

Config: TypeAlias = FlashOccConfig | EffOccConfig | FusionOccConfig | PanoOccConfig


def takes_camera_vectors(config: Config) -> bool:
    """Whether a network's depth net is told how its cameras stand."""
    return config.depth != 'plain' if isinstance(config, FlashOccConfig) else isinstance(config, FusionOccConfig)


def config_of(name: str) -> Config:
    """Configuration of a catalogue name. Raises ValueError for an unknown one."""
    row = entry(name)
    return importlib.import_module(f'occ_perception.networks.{row.family}.config').CONFIGS[row.name]

"""The configuration of any network of the catalogue; imports no torch."""

from __future__ import annotations

import importlib

from occ_perception.catalogue import entry
from occ_perception.networks.flashocc.config import FlashOccConfig


def config_of(name: str) -> FlashOccConfig:
    """Configuration of a catalogue name. Raises ValueError for an unknown one."""
    return importlib.import_module(f'occ_perception.networks.{entry(name).family}.config').CONFIGS[name]

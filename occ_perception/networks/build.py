"""Builds any network of the catalogue by name."""

from __future__ import annotations

import importlib

from occ_perception.catalogue import entry
from occ_perception.networks.flashocc.network import FlashOcc


def build_network(name: str) -> FlashOcc:
    """The network of a catalogue name, freshly initialised, in train mode. Raises ValueError for an unknown name."""
    row = entry(name)
    config = importlib.import_module(f'occ_perception.networks.{row.family}.config').CONFIGS[name]
    assert row.lift is not None
    return FlashOcc(config, row.preprocessing, row.lift)

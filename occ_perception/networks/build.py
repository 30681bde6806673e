"""Builds any network of the catalogue by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from occ_perception.catalogue import NetworkEntry, entry
from occ_perception.networks.configs import config_of
from occ_perception.networks.flashocc.network import FlashOcc


def build_network(network: str | NetworkEntry, changes: Mapping[str, Any] | None = None) -> FlashOcc:
    """The network of a catalogue name, or of a row that imported weights have changed, freshly initialised, in train mode.

    changes: further fields of its configuration that are to be otherwise. Raises ValueError for an unknown name or field.
    """
    row = entry(network) if isinstance(network, str) else network
    config = config_of(row.name)
    changed = {**row.changes, **(changes or {})}
    unknown = sorted(set(changed) - {field.name for field in fields(config)})
    if unknown:
        raise ValueError(f'{row.name} has no {", ".join(unknown)} to change')
    return FlashOcc(replace(config, **changed), row.preprocessing, row.frustum)

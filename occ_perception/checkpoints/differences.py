"""Says how the keys and shapes of a file differ from those of a network, in few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

_GROUPS = 8
_SINGLE = 2


class Shaped(Protocol):
    """Anything with a shape: tensors, and tensors that have not been read."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def describe_differences(found: Mapping[str, Shaped], wanted: Mapping[str, Shaped]) -> str:
    """Missing keys, unknown keys and other shapes, by module; '' when there are none."""
    sections = {
        'missing from the file': {key: f'{key} {_shape(wanted[key])}' for key in wanted if key not in found},
        'unknown to the network': {key: f'{key} {_shape(found[key])}' for key in found if key not in wanted},
        'of another shape': {key: f'{key}: {_shape(found[key])} in the file, {_shape(wanted[key])} in the network'
                             for key in wanted if key in found and tuple(found[key].shape) != tuple(wanted[key].shape)},
    }
    lines = []
    for title, items in sections.items():
        if items:
            lines += [f'  {len(items)} {title}:', *_grouped(items)]
    return '\n'.join(lines)


def _grouped(items: Mapping[str, str]) -> list[str]:
    """One line per key where a module has few, else one per module with its first key."""
    modules: dict[str, list[str]] = {}
    for key in items:
        modules.setdefault(_module(key), []).append(key)
    lines: list[str] = []
    for module, keys in modules.items():
        if len(keys) <= _SINGLE:
            lines += (f'    {items[key]}' for key in keys)
        else:
            lines.append(f'    {module}.* ({len(keys)}), such as {items[keys[0]]}')
    hidden = lines[_GROUPS:]
    return lines[:_GROUPS] + ([f'    ... and {len(hidden)} lines more'] if hidden else [])


def _module(key: str) -> str:
    """The first two parts of a key's name, or all but the last where there are fewer."""
    parts = key.split('.')
    return '.'.join(parts[:min(2, max(len(parts) - 1, 1))])


def _shape(value: Shaped) -> str:
    return str(tuple(value.shape))

"""NumPy or PyTorch, whichever an array belongs to: the few functions that one calculation needs to run on both."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""numpy.ndarray or torch.Tensor."""


def library_of(array: Array) -> Any:
    """The module whose functions take this array: numpy, or torch (which is imported only for its own tensors)."""
    return np if isinstance(array, np.ndarray) else importlib.import_module('torch')


def on_host(array: Array) -> np.ndarray:
    """The array as NumPy's, in the host's memory; itself where it is that already."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def cast(array: Array, dtype: str) -> Array:
    """The array in a dtype by name, on the device where it is; itself where it has that dtype already."""
    library = library_of(array)
    return library.asarray(array, dtype=getattr(library, dtype))


def filled(like: Array, shape: tuple[int, ...], value: int, dtype: str) -> Array:
    """A new array of one value, on the device where `like` is."""
    library = library_of(like)
    place = {} if library is np else {'device': like.device}
    return library.full(shape, value, dtype=getattr(library, dtype), **place)


def joined(parts: Sequence[Array]) -> Array:
    """Arrays one behind another."""
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else library_of(parts[0]).cat(list(parts))


def stacked(parts: Sequence[Array]) -> Array:
    """Arrays of one shape along a new first axis."""
    return np.stack(parts) if isinstance(parts[0], np.ndarray) else library_of(parts[0]).stack(list(parts))


def stable_argsort(keys: Array) -> Array:
    """Rows that sort the keys; equal ones keep their order."""
    return np.argsort(keys, kind='stable') if isinstance(keys, np.ndarray) else keys.argsort(stable=True)


def where_true(mask: Array) -> Array:
    """Indices (n,) of the True entries of a mask (m,)."""
    return np.flatnonzero(mask) if isinstance(mask, np.ndarray) else mask.nonzero()[:, 0]


def cell_keys(coords: Array, widths: Sequence[int]) -> Array:
    """One number per row of coordinates (V, 3), in the order of axis 0, then 1, then 2; int32 where the grid of `widths` allows."""
    coords = cast(coords, 'int32' if math.prod(widths) < 2 ** 31 else 'int64')
    return (coords[:, 0] * widths[1] + coords[:, 1]) * widths[2] + coords[:, 2]

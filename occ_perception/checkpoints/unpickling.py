"""Unpickles checkpoints without running code.

Tensors, NumPy values, containers and numbers come back as such. Whatever else a pickle asks for, class or function, is
replaced by a placeholder that only carries its name: nothing is imported and nothing is called. So metadata of programs that
are not installed, or that mean harm, stands beside the weights without effect.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

_STORAGES = {
    'DoubleStorage': torch.float64, 'FloatStorage': torch.float32, 'HalfStorage': torch.float16, 'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64, 'IntStorage': torch.int32, 'ShortStorage': torch.int16, 'CharStorage': torch.int8,
    'ByteStorage': torch.uint8, 'BoolStorage': torch.bool}
_NUMPY_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')


class Placeholder:
    """Stands for an object that was not made; takes the state that its pickle gives it and drops it."""

    name = ''
    __slots__ = ()

    def __new__(cls, *arguments: Any, **named: Any) -> Placeholder:
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __call__(self, *arguments: Any) -> Placeholder:
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass

    def add(self, item: Any) -> None:
        pass

    def __repr__(self) -> str:
        return f'<{self.name}, not loaded>'


class StorageType(NamedTuple):
    """What a pickle calls torch.FloatStorage and the like."""

    dtype: torch.dtype


class Storage(NamedTuple):
    """A run of numbers in a checkpoint file, not read yet.

    read: (first byte, bytes) -> those bytes of it. length: numbers of dtype in it.
    """

    dtype: torch.dtype
    length: int
    read: Callable[[int, int], bytearray]


class StoredTensor(NamedTuple):
    """A tensor in a checkpoint file, not read yet. offset and stride count numbers of the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    def load(self) -> Tensor:
        """Read it. Raises ValueError when the file does not hold it whole."""
        size, count = self.storage.dtype.itemsize, math.prod(self.shape)
        if not count:
            return torch.empty(self.shape, dtype=self.storage.dtype)
        span = 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        numbers = self.storage.read(self.offset * size, span * size)
        if len(numbers) != span * size:
            raise ValueError('its numbers are cut short')
        flat = torch.frombuffer(numbers, dtype=self.storage.dtype)
        return flat.as_strided(self.shape, self.stride).clone(memory_format=torch.contiguous_format)


class NumpyType:
    """A NumPy dtype of plain numbers; `dtype` is None for any other."""

    def __init__(self, code: Any = '', *_: Any) -> None:
        self.dtype = np.dtype(code) if isinstance(code, str) and re.fullmatch('b1|[iu][1248]|f[248]', code) else None

    def __setstate__(self, state: Any) -> None:
        if self.dtype is not None and len(state) > 1 and state[1] in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(state[1])


class NumpyArray:
    """A NumPy array of plain numbers; `shape` is () and loading fails for any other."""

    shape: tuple[int, ...] = ()
    values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        if isinstance(kind, NumpyType) and kind.dtype is not None:
            values = np.frombuffer(_bytes(raw), kind.dtype).reshape(shape, order='F' if fortran else 'C')
            self.values, self.shape = values, values.shape

    def load(self) -> Tensor:
        """The array as a tensor. Raises ValueError when it holds something else than numbers."""
        if self.values is None:
            raise ValueError('it is a NumPy array of something else than numbers')
        return torch.from_numpy(np.ascontiguousarray(self.values.astype(self.values.dtype.newbyteorder('='))).copy())


class _Mapping(dict):
    """Stands for OrderedDict; attributes that a pickle sets on it are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


class _Function(NamedTuple):
    """A function of ours that a pickle may call, but not set attributes on."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


class SafeUnpickler(pickle.Unpickler):
    """Unpickles one object of a checkpoint. `skipped` collects the names of all that placeholders stand for.

    open_storage: (dtype, key, count) -> the Storage of that key.
    """

    def __init__(self, file: _Readable, open_storage: Callable[[torch.dtype, str, int], Storage] | None = None) -> None:
        super().__init__(file, encoding='latin1')
        self._open_storage = open_storage
        self.skipped: set[str] = set()
        self._known: dict[tuple[str, str], Any] = {
            ('collections', 'OrderedDict'): _Mapping,
            ('torch._utils', '_rebuild_tensor'): _Function(_tensor),
            ('torch._utils', '_rebuild_tensor_v2'): _Function(_tensor),
            ('torch._utils', '_rebuild_parameter'): _Function(_parameter),
            ('torch._utils', '_rebuild_parameter_with_state'): _Function(_parameter),
            ('torch', 'Size'): _Function(_tuple),
            ('_codecs', 'encode'): _Function(_encode),
            ('numpy', 'dtype'): NumpyType,
            ('numpy', 'ndarray'): NumpyArray,
            **{(module, 'scalar'): _Function(_numpy_scalar) for module in _NUMPY_MODULES},
            **{(module, '_reconstruct'): _Function(_numpy_array) for module in _NUMPY_MODULES},
            **{(module, name): StorageType(dtype) for module in ('torch', 'torch.cuda') for name, dtype in _STORAGES.items()},
        }

    def find_class(self, module: str, name: str) -> Any:
        """Never imports: one of the few known names, else a placeholder class of its own."""
        key = (module, name)
        if key not in self._known:
            self._known[key] = type('Placeholder', (Placeholder,), {'name': f'{module}.{name}', '__slots__': ()})
        known = self._known[key]
        if isinstance(known, type) and issubclass(known, Placeholder):
            self.skipped.add(f'{module}.{name}')
        return known

    def persistent_load(self, identity: Any) -> Any:
        """Storage of ('storage', type, key, device, count, view); the class of old ('module', class, ...) entries."""
        if not isinstance(identity, tuple) or not identity:
            raise ValueError('it refers to something that is no storage')
        if identity[0] == 'module':
            return identity[1]
        if identity[0] != 'storage' or self._open_storage is None or not isinstance(identity[1], StorageType):
            raise ValueError(f'it refers to {identity[:2]}, which is no storage of numbers')
        kind, key, count = identity[1], identity[2], identity[4]
        if not isinstance(key, str) or not isinstance(count, int) or not isinstance(kind.dtype, torch.dtype):
            raise ValueError('it refers to a storage without name or size')
        if len(identity) > 5 and identity[5] is not None:
            return _part_of_storage(self._open_storage(kind.dtype, key, count), identity[5])
        return self._open_storage(kind.dtype, key, count)


def _part_of_storage(storage: Storage, view: Any) -> Storage:
    """Storage that lies within another one: (key of its own, first number, numbers)."""
    _, first, count = view
    start = first * storage.dtype.itemsize
    return Storage(storage.dtype, count, lambda offset, size: storage.read(start + offset, size))


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    whole = isinstance(storage, Storage) and all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *stride))
    if not whole or len(shape) != len(stride):
        raise ValueError('it describes a tensor that cannot be')
    if math.prod(shape) and offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) >= storage.length:
        raise ValueError('it describes a tensor that reaches beyond its numbers')
    if math.prod(shape) > storage.length:
        raise ValueError('it describes a tensor that repeats its numbers')
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _tuple(items: Any = ()) -> tuple:
    return tuple(items)


def _bytes(raw: Any) -> bytes:
    return raw.encode('latin1') if isinstance(raw, str) else bytes(raw)


def _encode(text: Any, encoding: Any = 'latin1') -> bytes:
    """Protocol 2 writes bytes as text to be encoded in latin1."""
    return _bytes(text)


def _numpy_scalar(kind: Any, raw: Any = b'') -> Any:
    if not isinstance(kind, NumpyType) or kind.dtype is None:
        return None
    return np.frombuffer(_bytes(raw), kind.dtype, 1)[0].item()


def _numpy_array(*_: Any) -> NumpyArray:
    return NumpyArray()

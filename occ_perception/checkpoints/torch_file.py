"""The two layouts of torch.save: zip archives (since PyTorch 1.6) and a pickle followed by raw numbers (before)."""

from __future__ import annotations

import mmap
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from occ_perception.checkpoints.unpickling import SafeUnpickler, Storage

_ZIP = b'PK\x03\x04'
_LEGACY_MAGIC = 0x1950a86a20f9469cfc6c


class TorchFile(NamedTuple):
    """What torch.save wrote, tensors as StoredTensor. skipped: names of the classes and functions that were not loaded."""

    content: Any
    skipped: tuple[str, ...]


def read_torch_file(path: Path) -> TorchFile:
    """Read a file of torch.save without running code; numbers stay in the file until they are asked for.

    Raises ValueError when it is none, or damaged.
    """
    with open(path, 'rb') as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ValueError(f'{path} is empty: copy it again')
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # stays open as long as a storage refers to it
    try:
        return _read_zip(path, memory) if memory[:4] == _ZIP else _read_legacy(memory)
    except Exception as error:  # a pickle from elsewhere can fail in any way
        raise ValueError(f'{path} is no whole PyTorch checkpoint ({error or type(error).__name__}): copy it again') from error


def _read_zip(path: Path, memory: mmap.mmap) -> TorchFile:
    archive = zipfile.ZipFile(path)
    names = set(archive.namelist())
    roots = [name.removesuffix('data.pkl') for name in names if name.count('/') == 1 and name.endswith('/data.pkl')]
    if len(roots) != 1:
        raise ValueError('a zip archive without data.pkl')
    root = roots[0]
    if f'{root}constants.pkl' in names:
        raise ValueError('a TorchScript program, not weights')
    if f'{root}byteorder' in names and archive.read(f'{root}byteorder') != b'little':
        raise ValueError('written on a machine of the other byte order')

    def open_storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        entry = archive.getinfo(f'{root}data/{key}')
        if entry.compress_type != zipfile.ZIP_STORED:
            return Storage(dtype, count, lambda offset, size: bytearray(archive.read(entry)[offset:offset + size]))
        header = entry.header_offset
        first = header + 30 + int.from_bytes(memory[header + 26:header + 28], 'little') + int.from_bytes(
            memory[header + 28:header + 30], 'little')
        return _stored(memory, first, entry.file_size, dtype, count)

    with archive.open(f'{root}data.pkl') as pickled:
        unpickler = SafeUnpickler(pickled, open_storage)
        content = unpickler.load()
    return TorchFile(content, tuple(sorted(unpickler.skipped)))


def _read_legacy(memory: mmap.mmap) -> TorchFile:
    memory.seek(0)
    if SafeUnpickler(memory).load() != _LEGACY_MAGIC:
        raise ValueError('it does not begin as one')
    SafeUnpickler(memory).load()  # version of the layout, the same ever since
    if SafeUnpickler(memory).load().get('little_endian') is not True:
        raise ValueError('written on a machine of the other byte order')
    places: dict[str, tuple[int, int]] = {}
    sizes: dict[str, int] = {}

    def open_storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        sizes[key] = dtype.itemsize

        def read(offset: int, size: int) -> bytearray:
            if key not in places:
                raise ValueError('its numbers are missing')
            first, length = places[key]
            return _stored(memory, first, length, dtype, count).read(offset, size)
        return Storage(dtype, count, read)

    unpickler = SafeUnpickler(memory, open_storage)
    content = unpickler.load()
    place = 0
    keys = SafeUnpickler(memory).load()
    place = memory.tell()
    for key in keys:
        length = int.from_bytes(memory[place:place + 8], 'little') * sizes[key]
        places[key] = (place + 8, length)
        place += 8 + length
    if place > len(memory):
        raise ValueError('its end is missing')
    return TorchFile(content, tuple(sorted(unpickler.skipped)))


def _stored(memory: mmap.mmap, first: int, length: int, dtype: torch.dtype, count: int) -> Storage:
    """Numbers that lie in the file as they are, from byte `first` on."""
    return Storage(dtype, count, lambda offset, size: bytearray(memory[first + offset:first + min(offset + size, length)]))

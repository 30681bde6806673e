"""What ONNX files say of themselves, read without the package onnx and without their graphs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO


def metadata_of(path: Path) -> dict[str, str]:
    """metadata_props of an ONNX file."""
    with open(path, 'rb') as file:
        return onnx_metadata(file)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def exported_from(files: Iterable[Path], checkpoint: Path) -> bool:
    """Whether all files are there and say that they were exported from this checkpoint."""
    files = list(files)
    if not all(file.is_file() for file in files):
        return False
    return {metadata_of(file).get('weights_sha256') for file in files} == {sha256_of(checkpoint)}


def onnx_metadata(file: BinaryIO) -> dict[str, str]:
    """metadata_props of an ONNX file (field 14 of ModelProto; 1 and 2 of each entry), without reading its graph. Raises ValueError
    for a file that is cut short."""
    size = os.fstat(file.fileno()).st_size
    found = {}
    while file.tell() < size:
        tag, length = _varint(file), _varint(file)
        if tag == 14 << 3 | 2:
            pair = BytesIO(file.read(length))
            texts = {}
            while pair.tell() < length:
                key = _varint(pair)
                texts[key >> 3] = pair.read(_varint(pair)).decode()
            found[texts.get(1, '')] = texts.get(2, '')
        elif tag & 7 == 2:
            file.seek(length, os.SEEK_CUR)
        elif tag & 7:
            raise ValueError(f'field of kind {tag & 7}')
    return found


def _varint(file: BinaryIO) -> int:
    """A number as protocol buffers write it: seven bits per byte, the lowest first."""
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte:
            raise ValueError('cut short')
        value |= (byte[0] & 0x7f) << shift
        shift += 7
        if byte[0] < 0x80:
            return value

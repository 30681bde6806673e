"""Files of a data set: absent ones are named with where they come from, broken ones are told apart from all other errors."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from occ_perception.runtime.intake.decode import DecodeError, decode_compressed


class CorruptFileError(ValueError):
    """A file that is there and cannot be used: cut short, of another format, shape or grid. The message names it."""


def read_bytes(path: Path, source: str) -> bytes:
    """A file's content. source: where the file comes from, for the FileNotFoundError when it is absent."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f'{path}: no such file. {source}') from None


def read_image(path: Path, source: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a JPEG or PNG. Raises FileNotFoundError (naming source), CorruptFileError."""
    try:
        return decode_compressed(read_bytes(path, source), str(path))
    except DecodeError as error:
        raise CorruptFileError(str(error)) from error


def read_table_of_floats(path: Path, columns: int, source: str) -> np.ndarray:
    """(M, columns) float32 of a file of little-endian rows, such as a nuScenes LiDAR sweep.

    Raises FileNotFoundError (naming source), CorruptFileError for an empty file, half a row or numbers that are not finite.
    """
    data = read_bytes(path, source)
    if not data or len(data) % (4 * columns):
        raise CorruptFileError(f'{path}: {len(data)} bytes are no rows of {columns} float32 numbers')
    rows = np.frombuffer(data, '<f4').reshape(-1, columns)
    if not np.isfinite(rows).all():
        raise CorruptFileError(f'{path}: holds numbers that are not finite')
    return rows


def read_arrays(path: Path, required: Sequence[str], optional: Sequence[str], source: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz file by name: the required ones, and the optional ones as far as they are there.

    Raises FileNotFoundError (naming source), CorruptFileError when it is no npz or lacks an array.
    """
    try:
        with np.load(path) as data:
            arrays = {key: data[key] for key in (*required, *optional) if key in data}
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f'{path}: no such file. {source}') from None
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, TypeError, AttributeError) as error:
        raise CorruptFileError(f'{path} is not a readable npz file ({error}): generate or download it again') from error
    missing = [key for key in required if key not in arrays]
    if missing:
        raise CorruptFileError(f'{path} lacks {", ".join(missing)}: a file of this kind has {", ".join(required)}')
    return arrays

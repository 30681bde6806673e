"""A nuScenes table on disk: its records are found by token and decoded when asked for, so that tables of a gigabyte stay there."""

from __future__ import annotations

import json
import mmap
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from occ_perception.engines.cache import cache_folder, cache_key

Record = dict[str, Any]

CHUNK = 16 << 20
"""Bytes decoded at a time; no record is longer."""
LARGE = 32 << 20
"""Bytes from which on what a scan found is kept in the user's cache: a gigabyte takes about half a minute."""
_BETWEEN = re.compile(r'[\s,\[\]]*')


class JsonTable:
    """The records of one JSON list of objects, in the file's order.

    The file is scanned once; of each record its place, its token and one other field are kept, about 100 bytes. owner: name of the
    field by which `owned` finds records ('sample_token'), or None. Raises ValueError for a file that is cut short or no such list.
    """

    def __init__(self, path: Path, owner: str | None = None) -> None:
        self.path = path
        with path.open('rb') as file:
            empty = not file.seek(0, 2)
            self._data: Any = b'' if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._stamp = os.fstat(file.fileno()).st_mtime_ns
        self._places, tokens, owners = self._found(owner)
        self._order = np.argsort(tokens, kind='stable')
        self._tokens = tokens[self._order]
        self._owner_order = np.argsort(owners, kind='stable')
        self._owners = owners[self._owner_order]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Record]:
        return (self._decode(row) for row in range(len(self)))

    def __contains__(self, token: str) -> bool:
        return self._find(token) is not None

    def record(self, token: str) -> Record:
        """The record of a token. Raises ValueError when the table has none."""
        row = self._find(token)
        if row is None:
            raise ValueError(f'{self.path} has no record {token!r}, which another table names: the tables do not belong together, '
                             'unpack the archives of one version into one folder again')
        return self._decode(row)

    def owned(self, key: str) -> list[Record]:
        """Records whose owner field is `key`, in the file's order."""
        wanted = np.bytes_(key.encode())
        first, last = (int(np.searchsorted(self._owners, wanted, side)) for side in ('left', 'right'))  # type: ignore[call-overload]
        return [self._decode(int(row)) for row in self._owner_order[first:last]]

    def _find(self, token: str) -> int | None:
        wanted = np.bytes_(token.encode())
        at = int(np.searchsorted(self._tokens, wanted))
        return int(self._order[at]) if at < len(self._tokens) and self._tokens[at] == wanted else None

    def _decode(self, row: int) -> Record:
        begin, end = self._places[row]
        return json.loads(self._data[begin:end])

    def _found(self, owner: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `_scan` gives, kept for large tables as long as the file is the same."""
        if len(self._data) < LARGE:
            return self._scan(owner)
        key = cache_key(str(self.path.resolve()), f'{len(self._data)} {self._stamp}', owner or '')
        kept = cache_folder() / f'table-{key[:32]}.npz'
        try:
            with np.load(kept) as arrays:
                return arrays['places'], arrays['tokens'], arrays['owners']
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            places, tokens, owners = self._scan(owner)
        partial = kept.with_name(f'.{kept.stem}.{os.getpid()}')
        with partial.open('wb') as file:
            np.savez(file, places=places, tokens=tokens, owners=owners)
        partial.replace(kept)
        return places, tokens, owners

    def _scan(self, owner: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places (n, 2) int64 in bytes, tokens and owners (n,) bytes."""
        size, at = len(self._data), 0
        if self._data[-64:].rstrip()[-1:] != b']':
            raise self._damaged('it does not end with "]"')
        decoder = json.JSONDecoder()
        places: list[tuple[int, int]] = []
        tokens: list[str] = []
        owners: list[str] = []
        while at < size:
            text = self._data[at:at + CHUNK].decode('latin-1')  # one character is one byte; values are decoded again when asked for
            done, begin = 0, 0
            while True:
                begin = _BETWEEN.match(text, done).end()  # type: ignore[union-attr]
                if begin == len(text):
                    done = begin
                    break
                try:
                    record, end = decoder.raw_decode(text, begin)
                    tokens.append(record['token'])
                    owners.append(record[owner] if owner else '')
                except json.JSONDecodeError:
                    break
                except (KeyError, TypeError) as error:
                    raise self._damaged(f'the record at byte {at + begin} lacks {error}') from error
                places.append((at + begin, at + end))
                done = end
            if not done:
                raise self._damaged(f'what begins at byte {at + begin} is no record')
            at += done
        return np.array(places, np.int64).reshape(-1, 2), _as_bytes(tokens), _as_bytes(owners)

    def _damaged(self, reason: str) -> ValueError:
        return ValueError(f'{self.path} is damaged: {reason}. Unpack its archive again')


def _as_bytes(texts: list[str]) -> np.ndarray:
    return np.array([text.encode('latin-1') for text in texts], np.bytes_)

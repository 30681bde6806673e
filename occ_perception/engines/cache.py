"""Private folder for built engines: keyed by content and hardware, written atomically, checked by hash on reading, locked."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOCK_POLL_S = 0.2


def cache_folder() -> Path:
    """Folder for files this user built: OCC_CACHE, else XDG_CACHE_HOME/occ_perception; made with mode 0700.

    Raises ValueError when it belongs to another user or others may write to it: an engine is executable code.
    """
    base = os.environ.get('OCC_CACHE')
    folder = Path(base) if base else Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'occ_perception'
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise ValueError(f'cache folder {folder} must belong to you and not be writable by others: chmod 700 {folder}, '
                         'or name another folder in OCC_CACHE')
    return folder


def cache_key(*parts: str | bytes) -> str:
    """Hex SHA-256 over parts; each is length-prefixed, so their borders count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, 'little') + data)
    return digest.hexdigest()


def write_checked(path: Path, content: bytes) -> None:
    """Write content behind its own SHA-256, to a temporary file that then takes path's place."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(hashlib.sha256(content).digest() + content)
    os.replace(file.name, path)


def read_checked(path: Path) -> bytes | None:
    """Content of a file that write_checked made; None where it is absent, cut short or altered."""
    if not path.is_file():
        return None
    data = path.read_bytes()
    content = data[32:]
    return content if data[:32] == hashlib.sha256(content).digest() else None


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock file against other processes; it ends with the process, however that ends.

    waiting: called again and again while another process holds it.
    """
    with path.open('w') as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(LOCK_POLL_S)
        yield

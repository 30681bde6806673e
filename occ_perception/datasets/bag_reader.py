"""ROS 2 bags (mcap or sqlite3, file or folder) read raw: serialised messages in order of time, no ROS needed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import Reader, ReaderError

SECOND = 1_000_000_000


@dataclass(frozen=True)
class RawMessage:
    """One recorded message: when it was recorded [ns], topic, its CDR bytes."""

    recorded_ns: int
    topic: str
    data: bytes


class BagError(ValueError):
    """A bag that cannot be used; the message names it and says why."""


class Bag:
    """A bag opened for reading. topics: name -> type such as sensor_msgs/msg/Image; latched: topics recorded as transient local.

    Names begin with a slash, also where the bag's do not (conversions of ROS 1 bags keep those as they were given).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise BagError(f'bag {self.path} does not exist')
        if self.path.suffix == '.bag':
            raise BagError(f'bag {self.path} is a ROS 1 bag; convert it first: rosbags-convert --src {self.path} '
                           f'--dst {self.path.with_suffix("")}')
        try:
            self._reader = Reader(self.path)
            self._reader.open()
        except (ReaderError, OSError, ValueError, KeyError, struct.error, AssertionError) as error:
            raise BagError(f'bag {self.path} cannot be read as a ROS 2 bag (mcap, sqlite3, or a folder with metadata.yaml): '
                           f'{error}') from error
        details = {absolute(c.topic): c.ext for c in self._reader.connections if isinstance(c.ext, ConnectionExtRosbag2)}
        foreign = {topic: ext.serialization_format for topic, ext in details.items() if ext.serialization_format != 'cdr'}
        if foreign:
            topic, kind = next(iter(foreign.items()))
            self.close()
            raise BagError(f'bag {self.path} holds {kind!r} messages ({topic} ...), not CDR: it was not written for ROS 2 '
                           '(Foxglove bags are such); convert it with a ROS 2 converter')
        self.topics = {absolute(connection.topic): connection.msgtype for connection in self._reader.connections}
        self.latched = {topic for topic, ext in details.items()
                        if any(q.durability.name == 'TRANSIENT_LOCAL' for q in ext.offered_qos_profiles)}
        if not self._reader.message_count:
            self.close()
            raise BagError(f'bag {self.path} is empty')
        self.start_ns: int = self._reader.start_time
        self.end_ns: int = self._reader.end_time

    @property
    def connections(self) -> list[Connection]:
        """The bag's connections as rosbags has them: types with their definitions, offered QoS."""
        return self._reader.connections

    def messages(self, topics: set[str] | None = None, start_ns: int | None = None,
                 stop_ns: int | None = None) -> Iterator[RawMessage]:
        """Messages recorded at start_ns <= t < stop_ns, in order of time; of some topics, or of all."""
        chosen = [c for c in self._reader.connections if topics is None or absolute(c.topic) in topics]
        if not chosen:
            return
        for connection, recorded_ns, data in self._reader.messages(chosen, start=start_ns, stop=stop_ns):
            yield RawMessage(recorded_ns, absolute(connection.topic), bytes(data))

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def absolute(topic: str) -> str:
    """A topic's name with its leading slash."""
    return topic if topic.startswith('/') else f'/{topic}'


def header_stamp_ns(data: bytes) -> int:
    """Stamp of a CDR-serialised message that begins with a std_msgs/Header. Raises ValueError when it is too short."""
    if len(data) < 12:
        raise ValueError(f'{len(data)} bytes hold no header')
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return seconds * SECOND + nanoseconds


def header_frame(data: bytes) -> str:
    """Frame id of a CDR-serialised message that begins with a std_msgs/Header. Raises ValueError when it is too short."""
    length = struct.unpack_from('<I' if data[1] & 1 else '>I', data, 12)[0] if len(data) >= 16 else 0
    if not 1 <= length <= len(data) - 16:
        raise ValueError(f'{len(data)} bytes hold no header')
    return data[16:16 + length - 1].decode()

"""Definitions of occ_msgs for bags that are written or read without ROS: found where the package is installed or checked out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore

PACKAGE = 'occ_msgs'


def message_folder() -> Path:
    """Folder with the .msg files of occ_msgs: of the sourced ROS workspace, of this Python environment, or of the checkout.

    Raises FileNotFoundError that names where it looked.
    """
    prefixes = [Path(prefix) for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if prefix]
    places = [prefix / 'share' / PACKAGE / 'msg' for prefix in (*prefixes, Path(sys.prefix))]
    places.append(Path(__file__).resolve().parents[2] / PACKAGE / 'msg')
    for place in places:
        if (place / 'VoxelGrid.msg').is_file():
            return place
    raise FileNotFoundError(f'the message definitions of {PACKAGE} are in none of {", ".join(map(str, places))}: build {PACKAGE} '
                            'and source its workspace')


def register_occ_messages(store: Typestore) -> None:
    """Make occ_msgs/msg/VoxelGrid and the other messages of occ_msgs known to a rosbags type store; once is enough."""
    if f'{PACKAGE}/msg/VoxelGrid' in store.types:
        return
    found = {}
    for path in sorted(message_folder().glob('*.msg')):
        found.update(get_types_from_msg(path.read_text(), f'{PACKAGE}/msg/{path.stem}'))
    store.register(found)

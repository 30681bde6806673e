"""The Fast DDS profile that lets messages of several MB through, used unless the user has chosen another."""

from __future__ import annotations

import os
from pathlib import Path

PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
"""Fast DDS 2 (Humble, Jazzy) reads the first, Fast DDS 3 (Kilted) the second."""
FAST_DDS_2 = ('', 'humble', 'iron', 'jazzy')
"""Distributions with Fast DDS 2; '' where none is named."""


def default_profile() -> Path | None:
    """The package's config/fastdds.xml in the source tree or in the installed share folder; None when it is in neither."""
    beside = Path(__file__).resolve().parents[2] / 'config' / 'fastdds.xml'
    if beside.is_file():
        return beside
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        installed = Path(get_package_share_directory('occ_perception')) / 'config' / 'fastdds.xml'
    except (PackageNotFoundError, LookupError):
        return None
    return installed if installed.is_file() else None


def use_default_profile() -> Path | None:
    """Choose the default profile for this process and its children; returns it, or None when there is a choice already.

    Call it before rclpy.init: Fast DDS reads the profile when the first participant is made. Other middlewares ignore it.
    """
    if any(os.environ.get(variable) for variable in PROFILE_VARIABLES):
        return None
    profile = default_profile()
    if profile is not None:
        older = os.environ.get('ROS_DISTRO', '') in FAST_DDS_2  # Fast DDS 3 warns about the older variable
        os.environ[PROFILE_VARIABLES[0 if older else 1]] = str(profile)
    return profile

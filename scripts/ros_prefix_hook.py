"""Makes each Python of an environment see that environment as a ROS prefix, with nothing sourced.

Copied into site-packages by setup_environment.py and imported by a .pth file before anything else, so it must be quick
and use the standard library only. The dynamic loader reads LD_LIBRARY_PATH at process start only: when this prefix is
missing from it, Python is started once more with the same arguments.
"""

from __future__ import annotations

import os
import sys

PREFIX_VARIABLES = ('AMENT_PREFIX_PATH', 'COLCON_PREFIX_PATH', 'CMAKE_PREFIX_PATH', 'LD_LIBRARY_PATH', 'PYTHONPATH')
WHEELS_GUARD = '_ROS_WHEELS_BOOTSTRAP_COMPLETE'
RESTART_GUARD = '_OCC_ROS_PREFIX_RESTARTED'


def entries(variable: str) -> list[str]:
    """The non-empty parts of a path variable."""
    return [entry for entry in os.environ.get(variable, '').split(os.pathsep) if entry]


def is_distribution(prefix: str) -> bool:
    """Whether a prefix holds rclpy itself, as an installed ROS distribution or another wheel environment does."""
    return os.path.exists(os.path.join(prefix, 'share', 'ament_index', 'resource_index', 'packages', 'rclpy'))


def restart() -> None:
    """Start this Python again with the same arguments and the present environment variables."""
    os.environ[RESTART_GUARD] = sys.prefix
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ)


def leave(foreign: str) -> None:
    """Take a foreign distribution's folders out of every path variable, and out of this process's module path."""
    inside = foreign.rstrip(os.sep) + os.sep
    for variable in PREFIX_VARIABLES:
        if variable in os.environ:
            os.environ[variable] = os.pathsep.join(entry for entry in entries(variable) if not (entry + os.sep).startswith(inside))
    sys.path[:] = [entry for entry in sys.path if not (entry + os.sep).startswith(inside)]


def activate(distribution: str) -> None:
    """Put sys.prefix into AMENT_PREFIX_PATH and have its libraries found.

    distribution: name of the ROS distribution whose wheels this environment holds; empty when the environment
    extends a sourced distribution instead. The wheels bring a bootstrap module of their own that sets
    LD_LIBRARY_PATH and restarts; its guard variable is inherited by children of another environment's Python, so it
    counts only while LD_LIBRARY_PATH names this prefix.
    """
    if distribution:
        for prefix in entries('AMENT_PREFIX_PATH'):
            if prefix != sys.prefix and is_distribution(prefix):
                leave(prefix)
        os.environ.update(ROS_DISTRO=distribution, ROS_VERSION='2', ROS_PYTHON_VERSION='3')
    prefixes = entries('AMENT_PREFIX_PATH')
    if sys.prefix not in prefixes:
        # Workspaces sourced on top of the wheels go before them; this environment goes before a distribution it extends.
        prefixes = [*prefixes, sys.prefix] if distribution else [sys.prefix, *prefixes]
        os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(prefixes)
    library = os.path.join(sys.prefix, 'lib')
    if library in entries('LD_LIBRARY_PATH'):
        return
    if distribution:
        os.environ.pop(WHEELS_GUARD, None)
    elif os.environ.get(RESTART_GUARD) != sys.prefix:
        os.environ['LD_LIBRARY_PATH'] = os.pathsep.join([library, *entries('LD_LIBRARY_PATH')])
        restart()

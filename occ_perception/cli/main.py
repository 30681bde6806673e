"""Entry point of `occ`: picks the subcommand and turns expected errors into one clear line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from keyword import iskeyword

SUBCOMMANDS = {
    'bag': 'write scenes of a nuScenes data set as ROS 2 bags; add CameraInfo to bags that lack it',
    'build': 'make the float16 or int8 files of a network, and TensorRT engines of them',
    'demo': 'generate a street, replay it through the live nodes, score and picture what comes out',
    'eval': 'score a network on a data set, or what the live nodes publish for a bag',
    'import': 'make a published checkpoint (.pth) into weights that the nodes run',
    'networks': 'list the catalogue of networks, describe one, print its weight table',
    'parity': 'hold the engines of a network against the network itself, layer by layer',
    'score': 'receive VoxelGrids of live nodes and score them against truth, matched by stamp',
    'track': 'follow the objects of generated streets and score the tracks',
    'train': 'train a network on the sample world',
    'export': 'write the ONNX file of a network with its weights',
    'up': 'start the nodes in one process, with a bag if you have one',
    'world': 'generate sample-world streets as a nuScenes data set and as ROS 2 bags',
}
"""name -> one-line summary; the code is in occ_perception/cli/<name>.py (import_.py for import, which Python keeps for itself)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `occ`; returns the exit status (2 for wrong usage or input, 130 when interrupted)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog='occ', description='Live 3D semantic occupancy from surround cameras and LiDAR.',
        epilog='First time here? Try: occ demo', formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    wanted = next((word for word in words if not word.startswith('-')), None)
    for name, summary in SUBCOMMANDS.items():
        child = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + '.',
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        if name == wanted:
            module = importlib.import_module(f'occ_perception.cli.{name}' + '_' * iskeyword(name))
            module.add_arguments(child)
            child.set_defaults(run=module.run)
    parsed = parser.parse_args(words)
    try:
        status = int(parsed.run(parsed) or 0)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        print(f'occ {parsed.command}: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())

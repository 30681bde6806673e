"""Every benchmark of a processor, one after another, and then the tables: `python -m benchmarks.all [--budget 30m]`.

For a quiet machine. Each is run as its own command with --save; what fails is told and left out. A benchmark that would begin
after the budget is spent is not begun; with --list nothing is run. The GPU has a suite of its own: `python -m benchmarks.gpu`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.gpu.suite import seconds_of

COMMANDS = (
    'instances --save', 'ray_metrics --save', 'sensor_path --save', 'stages --save', 'bag_to_topic --save',
    'bag_to_topic -p cameras.reduced_decoding:=true --save', 'view_transform --save', 'scaling --save', 'sample_network --save',
    'memory_forms --streets 2 --frames 8 --save', 'backends scocc_sample --save', 'backends flashocc-r50-M0 --save',
    'backends flashocc-r50 --save')


def main() -> int:
    """Run them; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--budget', type=seconds_of, default=None, metavar='TIME', help='such as 90s, 15m or 2h; default: none')
    parser.add_argument('--only', default='', metavar='WORD', help='only commands with this word')
    parser.add_argument('--list', action='store_true', help='print the commands')
    arguments = parser.parse_args()
    began, failed = time.monotonic(), []
    for command in (command for command in COMMANDS if arguments.only in command):
        print(f'python -m benchmarks.{command}', flush=True)
        if arguments.list:
            continue
        if arguments.budget is not None and time.monotonic() - began > arguments.budget:
            print('  not run: the budget is spent')
            continue
        done = subprocess.run([sys.executable, '-m', *f'benchmarks.{command}'.split()], capture_output=True, text=True, check=False)
        if done.returncode:
            failed.append(command)
            print('  failed:', *done.stderr.splitlines()[-5:], sep='\n  ', file=sys.stderr)
        print(f'  {time.monotonic() - began:.0f} s so far', flush=True)
    if arguments.list:
        return 0
    tables = subprocess.run([sys.executable, '-m', 'benchmarks.tables'], check=False)
    return int(bool(failed) or tables.returncode != 0)


if __name__ == '__main__':
    sys.exit(main())

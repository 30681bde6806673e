"""What this machine's processor is and can do, as Linux tells it."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def _cpuinfo() -> str:
    try:
        return Path('/proc/cpuinfo').read_text()
    except OSError:
        return ''


def processor() -> str:
    """Name of the processor."""
    lines = _cpuinfo().splitlines()
    named = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(named, platform.processor() or platform.machine())


def usable_cores(topology: Path = Path('/sys/devices/system/cpu')) -> int:
    """Physical cores that this process may run on: its affinity, with hyper-threads of one core counted once.

    topology: the kernel's folder of processors; those that it does not describe count as a core each.
    """
    cores = set()
    for number in os.sched_getaffinity(0):
        try:
            cores.add((topology / f'cpu{number}' / 'topology' / 'thread_siblings_list').read_text())
        except OSError:
            cores.add(str(number))
    return len(cores)


def multiplies_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices natively."""
    features = _cpuinfo()
    return 'avx512_bf16' in features or 'amx_bf16' in features


def multiplies_narrow() -> bool:
    """Whether the processor multiplies 8- or 16-bit matrices natively (AMX or VNNI)."""
    features = _cpuinfo()
    return 'vnni' in features or 'amx_' in features

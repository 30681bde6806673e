"""What this machine's processor is and can do, as Linux tells it."""

from __future__ import annotations

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


def multiplies_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices natively."""
    features = _cpuinfo()
    return 'avx512_bf16' in features or 'amx_bf16' in features


def multiplies_narrow() -> bool:
    """Whether the processor multiplies 8- or 16-bit matrices natively (AMX or VNNI)."""
    features = _cpuinfo()
    return 'vnni' in features or 'amx_' in features

"""Shared fixtures: the conformance material beside the checkout, when it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / 'shared'


@pytest.fixture(scope='session')
def shared() -> Path:
    """Folder with conformance tables, goldens and the real frame; skips the test where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f'no conformance material at {SHARED}')
    return SHARED

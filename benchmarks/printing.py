"""How benchmarks print their figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def print_result(result: Mapping[str, Any], as_json: bool) -> None:
    """One JSON object on one line, or a line per figure."""
    print(json.dumps(result) if as_json else '\n'.join(f'{name}: {value}' for name, value in result.items()), flush=True)

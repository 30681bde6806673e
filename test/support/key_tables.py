"""Key tables of network parts: {key: [shape, dtype]}, and their digests in test/golden/part_keys.json."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torch import nn

GOLDEN = Path(__file__).resolve().parents[1] / 'golden' / 'part_keys.json'


def module_table(module: nn.Module) -> dict[str, list]:
    """What a module's state_dict holds."""
    return {key: [list(value.shape), str(value.dtype).removeprefix('torch.')] for key, value in module.state_dict().items()}


def digest(table: dict[str, list]) -> list:
    """[number of entries, sha256 of the sorted table]."""
    return [len(table), hashlib.sha256(json.dumps(sorted(table.items())).encode()).hexdigest()]


def golden_digest(config: str, prefix: str) -> list:
    """Digest of the published table of `config` below `prefix`."""
    return json.loads(GOLDEN.read_text())[config][prefix]


def published_tables(shared: Path, prefix: str, has: str, dimensions: int) -> dict[str, dict[str, list]]:
    """Of every config of the BEVDet line whose entry prefix.has exists with so many dimensions: its table below prefix."""
    found = {}
    for family in ('effocc', 'flashocc', 'fusionocc', 'scocc'):
        for path in sorted((shared / 'conformance' / 'keys' / family).glob('[!_]*.json')):
            table = json.loads(path.read_text())
            if len(table.get(f'{prefix}.{has}', [[]])[0]) == dimensions:
                found[f'{family}/{path.stem}'] = {key.removeprefix(f'{prefix}.'): value for key, value in table.items()
                                                  if key.startswith(f'{prefix}.')}
    return found

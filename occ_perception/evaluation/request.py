"""What is to be evaluated, and the key under which its results are kept; whatever could change a number changes the key."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from occ_perception import __version__, catalogue
from occ_perception.datasets.nuscenes_sequence import FrameOptions
from occ_perception.datasets.opening import DataSource
from occ_perception.engines.onnx_metadata import sha256_of
from occ_perception.engines.precision import chosen_precision, existing_files
from occ_perception.engines.protocol import EXACT
from occ_perception.engines.select import RANDOM_WEIGHTS, chosen_backend, shipped_file

FORMAT = 1
"""Of the result files; counts up when they hold something else."""


@dataclass(frozen=True)
class Request:
    """A network on a data set; plain data that can be handed to another process.

    weights, backend, memory, published_centers, everywhere, precision, published_motion: as the Predictor takes them. rays:
    whether the ray metrics are counted. skip_corrupt: go on without frames that cannot be read. threads: of each process's
    backend, None for all cores.
    """

    network: str
    source: DataSource
    weights: str | None = None
    backend: str = 'auto'
    memory: str = EXACT
    published_centers: bool = False
    everywhere: bool = False
    rays: bool = True
    skip_corrupt: bool = False
    threads: int | None = None
    precision: str = 'auto'
    published_motion: bool = False

    @cached_property
    def weights_sha256(self) -> str:
        """Hash of the files that run; 'random' for random weights. Raises ValueError when one is missing."""
        if self.weights == RANDOM_WEIGHTS:
            return RANDOM_WEIGHTS
        path = Path(self.weights).expanduser() if self.weights else self._shipped()
        if not path.is_file():
            raise ValueError(f'weights file {path} does not exist')
        if path.suffix != '.onnx':
            return sha256_of(path)
        files = existing_files(path, catalogue.entry(self.network), self.chosen_precision)
        return hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()

    @property
    def chosen_precision(self) -> str:
        """The precision that it runs in, never 'auto'."""
        return chosen_precision(self.chosen_backend, self.precision)

    @cached_property
    def chosen_backend(self) -> str:
        """The backend that runs, never 'auto'."""
        return chosen_backend(catalogue.entry(self.network), self.backend, self.weights)

    def facts(self) -> dict[str, Any]:
        """What decides the numbers, as plain data for JSON."""
        options: FrameOptions = self.source.options
        return {'network': self.network, 'weights': self.weights or 'shipped', 'weights_sha256': self.weights_sha256,
                'backend': self.chosen_backend, 'precision': self.chosen_precision, 'memory': self.memory,
                'published_centers': self.published_centers, 'published_motion': self.published_motion,
                'everywhere': self.everywhere, 'data': str(self.source.root.resolve()), 'version': self.source.version,
                'labels': options.labels, 'make_instances': options.make_instances, 'rate_hz': options.rate_hz,
                'lidar': None if options.lidar is None else asdict(options.lidar), 'ego_pose_of': options.ego_pose_of,
                'rays': self.rays, 'skip_corrupt': self.skip_corrupt}

    @property
    def key(self) -> str:
        """16 hexadecimal digits over the facts and the version of this program; the split and the threads are not in it."""
        facts = {**self.facts(), 'format': FORMAT, 'program': __version__}
        facts.pop('weights')
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def _shipped(self) -> Path:
        row = catalogue.entry(self.network)
        if row.weights is None:
            raise ValueError(f'{self.network} ships no weights: give --weights FILE, or --weights {RANDOM_WEIGHTS} to see it run')
        suffixes = ('.safetensors',) if self.chosen_backend == 'torch' else ('.onnx',)
        found = [path for suffix in suffixes if (path := shipped_file(row.weights + suffix)).is_file()]
        if not found:
            raise ValueError(f'{shipped_file(row.weights)}{suffixes[0]} is missing from this installation')
        return found[0]

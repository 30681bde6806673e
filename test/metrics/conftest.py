"""The official metric cases: inputs made anew where the conformance material lies, compact copies of them elsewhere."""

from __future__ import annotations

import importlib.util
import json
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from occ_perception.geometry.transforms import matrix, rotation_from_quaternion

GOLDEN = Path(__file__).resolve().parents[1] / 'golden'


class MetricCases:
    """Seeded inputs and the official code's numbers for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spec = importlib.util.spec_from_file_location('gen_metric_cases', folder / 'gen_metric_cases.py')
        self.generator: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.generator)

    def expected(self, name: str) -> dict:
        """The official numbers of one case."""
        return json.loads((self.folder / f'{name}.json').read_text())

    def samples(self, expected: dict) -> list[dict[str, np.ndarray]]:
        """The voxel frames of a case; their checksums are compared where the case has them."""
        frames = [self.generator.sample(name, expected['layout']) for name in expected['samples']]
        for frame, sums in zip(frames, expected.get('crc32', [{}] * len(frames)), strict=True):
            for key, value in sums.items():
                assert zlib.crc32(np.ascontiguousarray(frame[key]).tobytes()) == value
        return frames

    def origins(self) -> list[np.ndarray]:
        """Ray origins of the two frames of the ray cases."""
        return [np.array(origins) for origins in self.expected('origins')['origins']]

    def scene_poses(self, index: int) -> tuple[list[np.ndarray], list[np.ndarray], int]:
        """fixed_from_ego and ego_from_lidar of the scene that the key frame `index` of the origins case is in, its place there."""
        frames = self.generator.infos(self.expected('origins')['infos'], tuple(self.expected('origins')['frames']))
        scene = [frame for frame in frames if frame['scene_name'] == frames[index]['scene_name']]

        def pose(frame: dict, name: str) -> np.ndarray:
            w, x, y, z = frame[f'{name}_rotation']
            return matrix(rotation_from_quaternion(x, y, z, w), np.array(frame[f'{name}_translation']))

        return [pose(f, 'ego2global') for f in scene], [pose(f, 'lidar2ego') for f in scene], scene.index(frames[index])


@pytest.fixture(scope='session')
def cases(shared: Path) -> MetricCases:
    """The official cases with their full inputs; skips the test where they are absent."""
    return MetricCases(shared / 'conformance' / 'metrics_cases')


@pytest.fixture(scope='session')
def expected() -> dict[str, dict]:
    """The official numbers by case, from the copy in test/golden."""
    return json.loads((GOLDEN / 'metrics_expected.json').read_text())


@pytest.fixture(scope='session')
def rows() -> dict[str, np.ndarray]:
    """Compact inputs: distinct rows of what one element (voxel, ray or point) carries, the last column how often each occurs."""
    with np.load(GOLDEN / 'metrics_rows.npz') as data:
        return {name: np.repeat(table[:, :-1], table[:, -1], axis=0) for name, table in data.items()}

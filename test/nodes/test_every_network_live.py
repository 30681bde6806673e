"""Every network of the catalogue through the live nodes, three key frames each; `-m heavy` runs them, `-k NAME` one of them.

Two of them, PanoOcc's small forms, are run always.
"""

from __future__ import annotations

import gc
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from replays import replayed

from occ_perception.catalogue import NETWORKS, NUSCENES_CAMERAS, NetworkEntry
from occ_perception.cli.main import main
from occ_perception.datasets.dialects import Sources
from occ_perception.engines.select import RANDOM_WEIGHTS, shipped_file
from occ_perception.labels import UNKNOWN
from occ_perception.nodes import system
from occ_perception.nodes.conversions import labels_of

pytest.importorskip('torch')
SECOND = 1_000_000_000
PATIENCE_S = 3600.0
MOST_MEMORY_GB = 20.0
ALWAYS = 'panoocc-small', 'panoocc-panoptic-small-4f'


@pytest.fixture(scope='module')
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The bag of a generated street and the stamps of its three key frames."""
    root = tmp_path_factory.mktemp('street')
    assert main(['world', '--out', str(root), '--scenes', '1', '--seed', '300003', '--keyframes', '3', '--bags']) == 0
    (bag,), (truth,) = (root / 'bags').iterdir(), (root / 'truth').iterdir()
    return bag, sorted(int(path.stem) for path in truth.glob('*.npz'))


WAYMO_FROM_NUSCENES = {'FRONT': 'CAM_FRONT', 'FRONT_LEFT': 'CAM_FRONT_LEFT', 'FRONT_RIGHT': 'CAM_FRONT_RIGHT',
                       'SIDE_LEFT': 'CAM_BACK_LEFT', 'SIDE_RIGHT': 'CAM_BACK_RIGHT'}


def sources_for(row: NetworkEntry, bag: Path) -> Sources:
    """The bag's cameras under the names that the network knows."""
    found = system.sources_of(str(bag))
    if not row.cameras or set(row.cameras) == set(NUSCENES_CAMERAS):
        return found
    cameras = {camera.name: camera for camera in found.cameras}
    return replace(found, cameras=tuple(replace(cameras[WAYMO_FROM_NUSCENES[name]], name=name) for name in row.cameras))


@pytest.mark.parametrize('name', [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.heavy) for name in NETWORKS])
def test_network_serves_every_set_with_its_history(name: str, street: tuple[Path, list[int]],
                                                   capsys: pytest.CaptureFixture) -> None:
    """Shipped weights where there are any, else seeded random ones."""
    row, (bag, stamps) = NETWORKS[name], street
    ships = row.weights is not None and any(shipped_file(f'{row.weights}.{kind}').is_file() for kind in ('onnx', 'safetensors'))
    heard = replayed(bag, name, '' if ships else RANDOM_WEIGHTS, occupancy={'max_rate': 2.0},
                     player={'lockstep_timeout': PATIENCE_S}, timeout_s=PATIENCE_S, sources=sources_for(row, bag))
    assert (heard.tally.due, heard.tally.published, sum(heard.tally.dropped.values())) == (3, 3, 0)
    assert list(heard.voxels) == list(heard.instances) == stamps
    for number, stamp in enumerate(stamps):
        grid, instances = heard.voxels[stamp], heard.instances[stamp]
        assert grid.network == instances.network == grid.intended_network == name
        assert grid.fallback == ''
        assert grid.header.frame_id == 'base_link'
        assert instances.header == grid.header
        readings = {sensor.name: sensor.readings for sensor in grid.sensors if sensor.valid}
        assert sorted(readings) == sorted([*row.cameras, *(('lidar',) if row.lidar is not None else ())])
        if row.lidar is not None:
            elapsed_s = (stamp - stamps[0]) / SECOND
            assert readings['lidar'] == 1 + sum(age <= elapsed_s + 1e-6 for age in row.lidar.ages_s)
        labels, ids = labels_of(grid)
        assert labels.shape == row.grid.shape
        assert set(np.unique(labels)) <= {*(info.id for info in row.labels.classes), UNKNOWN}
        assert 0 < (labels == UNKNOWN).mean() < 0.5 or row.lidar is not None
        known = {one.id for one in instances.instances if one.voxel_count}
        assert known == set(np.unique(ids)) - {0}
        wanted = [stamp - round(age_s * SECOND) for age_s in row.history.offsets_s]
        assert heard.past[number] == tuple(past if past >= stamps[0] else 0 for past in wanted)
    seconds = [milliseconds / 1e3 for milliseconds in heard.tally.processing_ms]
    found = [len(instances.instances) for instances in heard.instances.values()]
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    with capsys.disabled():
        print(f'\n{name}: {", ".join(f"{one:.2f}" for one in seconds)} s a frame, {row.frames} frames fused, instances {found}, '
              f'{"shipped" if ships else "random"} weights, at most {peak_gb:.1f} GB so far')
    assert peak_gb < MOST_MEMORY_GB
    gc.collect()

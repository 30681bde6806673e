"""`occ eval` on generated streets: one process, several, ranks, broken off and gone on with; the live nodes score the same."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('embreex', reason='the sample world needs embreex')

from occ_perception.cli.eval import add_arguments, request_of
from occ_perception.cli.main import main
from occ_perception.datasets.sample_world.scene_writer import SceneOptions
from occ_perception.datasets.sample_world.world_writer import write_world
from occ_perception.engines.select import shipped_file

pytestmark = pytest.mark.skipif(not shipped_file('scocc_sample.onnx').is_file(), reason='no shipped weights')
SEEDS = (21, 22)
SCENES = tuple(f'scene-{seed:04d}' for seed in SEEDS)


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two streets of two key frames each, with bags."""
    root = tmp_path_factory.mktemp('world')
    write_world(root, SEEDS, SceneOptions(keyframes=2, image_size=(160, 90), sweeps=True, bags=True), jobs=1, progress=False)
    return root


def words(world: Path, out: Path, *more: str) -> list[str]:
    return ['eval', 'scocc_sample', '--data', str(world), '--split', 'all', '--out', str(out), '--threads', '1', *more,
            '--pictures', '0']


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: Any) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words(*arguments), '--json']) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope='module')
def alone(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Scores of one process and the folder of its results, with a page."""
    out = tmp_path_factory.mktemp('alone')
    done = subprocess.run([sys.executable, '-m', 'occ_perception.cli.main', *words(world, out)[:-1], '2', '--json'],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), out


def test_one_json_object_with_every_figure(alone: tuple[dict[str, Any], Path]) -> None:
    scores, out = alone
    assert {'ray_iou@1', 'ray_iou@2', 'ray_iou@4', 'ray_pq', 'mave', 'miou', 'weights_sha256'} <= set(scores)
    assert (scores['frames'], scores['sequences'], scores['left_out']) == (4, 2, 0)
    assert 10 < scores['miou_camera_mask'] < 60 and 10 < scores['ray_iou'] < 60
    assert scores == json.loads((out / 'score.json').read_text())
    known = [values['iou_camera_mask'] for values in scores['classes'].values() if values['iou_camera_mask'] is not None]
    assert scores['miou_camera_mask'] == pytest.approx(np.mean(known), abs=1e-5)


def test_page_shows_the_worst_frames(alone: tuple[dict[str, Any], Path]) -> None:
    page = (alone[1] / 'index.html').read_text()
    assert page.count('data:image/jpeg;base64') == 2 and 'http' not in page.replace('http-equiv', '')
    assert all(name in page for name in SCENES) and 'construction vehicle' in page


def test_processes_give_the_result_of_one(alone, world: Path, tmp_path: Path, capsys) -> None:
    assert evaluated(capsys, world, tmp_path, '--jobs', '2') == alone[0]


def test_ranks_give_the_result_of_one(alone, world: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '1')
    assert main(words(world, tmp_path, '--json')) == 0
    assert capsys.readouterr().out == ''
    assert [path.stem for path in tmp_path.glob('results-*/*.npz')] == [SCENES[1]]
    monkeypatch.setenv('RANK', '0')
    assert evaluated(capsys, world, tmp_path) == alone[0]
    monkeypatch.setenv('RANK', '2')
    assert main(words(world, tmp_path)) == 2
    assert 'RANK=2 WORLD_SIZE=2: ranks count from 0' in capsys.readouterr().err


def test_what_is_there_is_kept(alone, world: Path, tmp_path: Path, capsys) -> None:
    out = Path(shutil.copytree(alone[1], tmp_path / 'out'))
    first, second = sorted(out.glob('results-*/*.npz'))
    second.unlink()
    kept = first.stat().st_mtime_ns
    assert evaluated(capsys, world, out) == alone[0]
    assert first.stat().st_mtime_ns == kept and second.is_file()
    other = evaluated(capsys, world, out, '--no-rays')
    assert 'ray_iou' not in other and other['miou'] == alone[0]['miou']
    assert len(list(out.glob('results-*'))) == 2
    assert evaluated(capsys, world, out, '--fresh', '--limit-scenes', '1')['sequences'] == 1
    assert first.stat().st_mtime_ns > kept


def test_what_no_camera_sees_may_be_scored_too(alone, world: Path, tmp_path: Path, capsys) -> None:
    scores = evaluated(capsys, world, tmp_path, '--everywhere')
    assert scores['ray_iou'] != alone[0]['ray_iou'] and scores['miou'] > alone[0]['miou']


def test_the_published_ego_motion_is_part_of_what_was_asked(world: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    asked = [words(world, tmp_path, *more)[1:] for more in ([], ['--published-motion'])]
    usual, published = (request_of(parser.parse_args(each)) for each in asked)
    assert (usual.published_motion, published.published_motion) == (False, True) and usual.key != published.key


def test_text_is_a_table(alone, world: Path, capsys) -> None:
    assert main(words(world, alone[1])) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith('2 sequences, 4 frames')
    mean = next(line for line in lines if line.startswith('mean')).split()
    assert mean[1:5] == [f'{alone[0][name]:.2f}' for name in ('miou_camera_mask', 'miou', 'ray_iou', 'ray_pq')]


def test_live_nodes_score_as_the_predictor_offline(alone, world: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip('rclpy', reason='needs the ROS environment (make setup)')
    offline = evaluated(capsys, world, alone[1], '--split', SCENES[0])
    bag = world / 'bags' / SCENES[0]
    live = evaluated(capsys, world, tmp_path, '--live', str(bag), '--lockstep')
    assert (live['live']['due'], live['live']['dropped'], live['live']['rate_hz']) == (2, 0, 2.0)
    same = ('miou_camera_mask', 'miou', 'geometric_iou', 'ray_iou', 'ray_pq', 'frames')
    assert {name: live[name] for name in same} == {name: offline[name] for name in same}
    from_bag = evaluated(capsys, bag, tmp_path)
    assert {name: from_bag[name] for name in same} == {name: offline[name] for name in same}


@pytest.mark.parametrize(('more', 'message'), [
    (['--split', 'test'], "no split or scene 'test'"), (['--weights', 'absent.onnx'], 'absent.onnx'),
    (['--labels', 'elsewhere'], 'labels.npz: no such file'), (['--live', 'bags/scene-0099'], 'no split or scene'),
    (['--live', 'x', '--everywhere', '--scene', SCENES[0]], 'the nodes of --live have none'),
    (['--jobs', '0'], '0 is not 1 or more')])
def test_wrong_options_are_named(world: Path, tmp_path: Path, capsys, more: list[str], message: str) -> None:
    try:
        status = main(words(world, tmp_path, *more))
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert status == 2
    assert message in capsys.readouterr().err


def test_a_corrupt_file_is_named_or_left_out(world: Path, tmp_path: Path, capsys) -> None:
    root = Path(shutil.copytree(world, tmp_path / 'world', ignore=shutil.ignore_patterns('bags', 'truth', 'sweeps')))
    sorted((root / 'samples' / 'CAM_BACK').iterdir())[0].write_bytes(b'\xff\xd8')
    assert main(words(root, tmp_path, '--no-rays')) == 2
    assert 'broken JPEG' in capsys.readouterr().err
    scores = evaluated(capsys, root, tmp_path, '--no-rays', '--skip-corrupt')
    assert (scores['frames'], scores['left_out']) == (3, 1) and 'CAM_BACK' in scores['corrupt'][0]

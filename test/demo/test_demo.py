"""The demo's parts: which frames are due, what it prints, how it fails; and, marked heavy, the whole of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from occ_perception.cli.demo import BASELINES, default_rate_hz, due_truth, summary
from occ_perception.engines.select import shipped_file
from occ_perception.labels import OCC3D
from occ_perception.runtime.live_score import LiveScore, Score

MILLISECOND = 1_000_000
NAMES = [info.name for info in OCC3D[:-1]]


def test_due_frames_are_those_of_the_nodes() -> None:
    """Truth at 5 Hz and at every key frame (2 Hz); the nodes take the first stamp and then one per period."""
    stamps = sorted({200 * k for k in range(11)} | {500 * k for k in range(5)})
    files = {1_700_000_000_000_000_000 + ms * MILLISECOND: Path(str(ms)) for ms in stamps}
    assert [int(path.name) for path in due_truth(files, 5.0).values()] == [200 * k for k in range(11)]
    assert [int(path.name) for path in due_truth(files, 2.0).values()] == [500 * k for k in range(5)]
    assert [int(path.name) for path in due_truth(files, 1.0).values()] == [0, 1000, 2000]


def test_due_frames_agree_with_the_assembler() -> None:
    from occ_perception.runtime.intake.rate_thinner import RateThinner

    sweeps = [1_700_000_000_200_000_000 + 50 * MILLISECOND * k for k in range(100)]
    milliseconds = {stamp: (stamp - sweeps[0]) // MILLISECOND for stamp in sweeps}
    truth = {stamp: Path('x') for stamp, at in milliseconds.items() if at % 200 == 0 or at % 500 == 0}
    for rate in (1.0, 2.0, 2.5, 5.0):
        thinner = RateThinner(rate)
        assert list(due_truth(truth, rate)) == [stamp for stamp in sweeps if thinner.due(stamp)], rate


def test_summary_tells_score_baselines_drops_and_latency() -> None:
    def score(miou: float, geometric: float) -> Score:
        return Score(miou, geometric, {name: float('nan') if name == 'bus' else miou for name in NAMES})

    live = LiveScore('scocc_sample', 50, 48, 1, score(0.4712, 0.655), (100.0, 110.0, 300.0), (1, 2, 3))
    text = summary(live, {'scocc_sample, live': live.score, BASELINES[0]: score(0.11, 0.31), BASELINES[1]: score(0.21, 0.33)})
    for words in ('50 due, 48 received, 2 dropped', '1 with a stamp that has no truth', 'p50 110 ms', 'p95 281 ms', 'p99 296 ms'):
        assert words in text
    rows = {line[:36].strip(): line[36:].split() for line in text.splitlines()}
    assert rows['scocc_sample, live'] == ['47.1', '65.5']
    assert rows[BASELINES[1]] == ['21.0', '33.0']
    assert rows['traffic cone'] == ['47.1', '11.0', '21.0']
    assert rows['bus'] == ['-', '-', '-']


@pytest.mark.parametrize(('features', 'rate'), [('avx2 avx512_vnni', 5.0), ('amx_int8', 5.0), ('avx2', 1.0)])
def test_rate_follows_the_processor(features: str, rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, 'read_text', lambda self: features)
    assert default_rate_hz() == rate


def test_nothing_of_the_demo_needs_torch() -> None:
    """Also not at import: torch is no part of the demo's environment."""
    modules = ['occ_perception.cli.demo', 'occ_perception.pictures.gallery', 'occ_perception.training.prepare',
               'occ_perception.runtime.predictor', 'occ_perception.cli.up']
    code = f'import sys, importlib; sys.modules["torch"] = None; [importlib.import_module(name) for name in {modules!r}]'
    subprocess.run([sys.executable, '-c', code], check=True)


def test_nodes_that_fail_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip('rclpy', reason='needs the ROS environment (make setup)')
    from occ_perception.cli.live_run import replay

    (tmp_path / 'truth').mkdir()
    (tmp_path / 'truth' / '5.npz').touch()
    assert replay(['scocc_sample', '--bag', str(tmp_path / 'absent')], tmp_path / 'truth', 1, tmp_path) == 1
    said = capsys.readouterr().err
    assert 'the nodes failed' in said
    assert 'absent' in said


@pytest.mark.heavy
@pytest.mark.skipif(not shipped_file('scocc_sample.onnx').is_file(), reason='no shipped weights')
def test_whole_demo(tmp_path: Path) -> None:
    pytest.importorskip('rclpy', reason='needs the ROS environment (make setup)')
    command = [sys.executable, '-m', 'occ_perception.cli.main', 'demo', '--seed', '7', '--seconds', '3',
               '--data', str(tmp_path / 'data'), '--out', str(tmp_path / 'out')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    score = json.loads((tmp_path / 'out' / 'score.json').read_text())
    assert score['due'] >= 4
    assert score['received'] > 0
    assert score['unmatched'] == 0
    assert set(score['baselines']) == set(BASELINES)
    for name in ('index.html', 'occupancy.gif', 'frame.png', 'frames/001.jpg'):
        assert (tmp_path / 'out' / name).stat().st_size > 10_000, name
        assert str(tmp_path / 'out' / name.partition('/')[0]) in done.stdout
    assert (tmp_path / 'out' / 'occupancy.gif').stat().st_size < 8_000_000


def test_sensors_are_compared_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mode gets the frames with what it may see, earlier sweeps included; the sheet shows all of them and the truth."""
    from fake_predictor import FakePredictor
    from small_bag import START_NS, write_bag

    from occ_perception.cli.demo_modes import MODES, compare_modes
    from occ_perception.datasets.bag_frames import BagFrames

    made: list[FakePredictor] = []

    def predictor(name: str) -> FakePredictor:
        made.append(FakePredictor(name))
        return made[0]

    monkeypatch.setattr('occ_perception.runtime.predictor.Predictor', predictor)
    bag = BagFrames(write_bag(tmp_path / 'bag', 1.2))
    truth = {}
    for tenths in range(0, 10, 2):
        stamp = START_NS + tenths * 100 * MILLISECOND
        truth[stamp] = tmp_path / f'{stamp}.npz'
        labels = np.full((200, 200, 16), 17, np.uint8)
        labels[:, :, :2] = 11
        ones = np.ones(labels.shape, np.uint8)
        np.savez(truth[stamp], semantics=labels, mask_lidar=ones, mask_camera=ones)
    scores = compare_modes('effocc_sample', bag, truth, tmp_path / 'sensors.png')
    assert list(scores) == list(MODES)
    assert all(0.3 < score.geometric_iou < 1 for score in scores.values())
    kinds = [(bool(frame.cameras), len(frame.sweeps)) for frame in made[0].frames]
    assert kinds[-3:] == [(True, 0), (False, 3), (True, 3)] and kinds[:3] == [(True, 0), (False, 1), (True, 1)]
    ages = [round((frame.stamp_ns - sweep.stamp_ns) / 1e9, 3) for frame in made[0].frames[-1:] for sweep in frame.sweeps]
    assert ages == [0.0, 0.25, 0.5]
    assert (tmp_path / 'sensors.png').stat().st_size > 10_000


def test_without_a_backend_the_comparison_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    from occ_perception.cli.demo_modes import compare_modes
    from occ_perception.engines.protocol import EngineUnavailable

    def unavailable(name: str) -> None:
        raise EngineUnavailable("backend 'torch' needs PyTorch")

    monkeypatch.setattr('occ_perception.runtime.predictor.Predictor', unavailable)
    assert compare_modes('effocc_sample', None, {}, tmp_path / 'sensors.png') == {}
    assert "not compared: backend 'torch' needs PyTorch" in capsys.readouterr().out

"""`occ networks` lists and describes without PyTorch, and says so where it is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from occ_perception.catalogue import NETWORKS
from occ_perception.cli.main import main

WITHOUT_TORCH = """
import sys
for name in ('torch', 'onnx', 'onnxruntime'):
    sys.modules[name] = None
from occ_perception.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def without_torch(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', WITHOUT_TORCH, *words], capture_output=True, text=True, check=False)


def test_list_names_every_network(capsys):
    assert main(['networks']) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in NETWORKS)


@pytest.mark.parametrize('words', [('networks',), ('networks', 'scocc-r50')])
def test_listing_and_describing_need_no_torch(words):
    result = without_torch(*words)
    assert result.returncode == 0, result.stderr
    assert 'scocc-r50' in result.stdout


@pytest.mark.parametrize(('words', 'message'), [
    (('networks', 'scocc-r50', '--keys'), 'pip install torch'), (('export', 'scocc-r50'), 'pip install torch')])
def test_missing_torch_is_said_in_one_line(words, message):
    result = without_torch(*words)
    assert result.returncode == 2
    assert message in result.stderr
    assert 'Traceback' not in result.stderr


def test_description_states_the_preprocessing(capsys):
    assert main(['networks', 'scocc_sample']) == 0
    out = capsys.readouterr().out
    assert '128 x 352' in out
    assert '200 x 200 x 16 voxels of 0.4 m' in out


def test_keys_are_the_state_dict_as_json(capsys):
    assert main(['networks', 'flashocc-r50-M0', '--keys']) == 0
    table = json.loads(capsys.readouterr().out)
    assert len(table) == 430
    assert table['occ_head.predicter.2.weight'] == [[288, 256], 'float32']
    assert table['img_backbone.bn1.num_batches_tracked'] == [[], 'int64']


def test_unknown_network_lists_the_known_ones(capsys):
    assert main(['networks', 'flashocc-r51']) == 2
    assert 'flashocc-r50-M0' in capsys.readouterr().err


def test_export_of_a_network_without_weights_says_what_to_bring(capsys):
    assert main(['export', 'flashocc-r50-M0']) == 2
    assert 'flashocc-r50-M0' in capsys.readouterr().err

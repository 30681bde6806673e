"""Shares of the work: every sequence is exactly one rank's, and rank 0 does not wait for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from occ_perception.evaluation.result_files import ResultFolder
from occ_perception.evaluation.sequence_run import SequenceResult
from occ_perception.evaluation.sharing import Rank, wait_for_all

NAMES = [f'scene-{number:04d}' for number in range(11)]


@pytest.mark.parametrize('count', [1, 3, 11, 20])
def test_every_sequence_is_one_ranks(count: int) -> None:
    shares = [Rank(number, count).share(NAMES) for number in range(count)]
    assert sorted(name for share in shares for name in share) == NAMES
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(('rank', 'world'), [('1', '1'), ('-1', '2'), ('x', '2'), ('0', '')])
def test_impossible_ranks_are_named(rank: str, world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RANK', rank)
    monkeypatch.setenv('WORLD_SIZE', world)
    with pytest.raises(ValueError, match=f'RANK={rank} WORLD_SIZE={world}'):
        Rank.from_environment()


def test_rank_0_waits_for_what_comes_and_not_for_ever(tmp_path: Path) -> None:
    results = ResultFolder(tmp_path, 'key')
    results.save(SequenceResult(NAMES[0]))
    wait_for_all(NAMES[:1], results, longest_s=0.1)
    with pytest.raises(ValueError, match=r'no other rank.*lacks scene-0001\. Start the same command again'):
        wait_for_all(NAMES[:2], results, longest_s=0.1)

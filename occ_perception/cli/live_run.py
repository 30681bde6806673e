"""A live run as two processes: the nodes replay a bag, the scorer receives; neither sees the other but over DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from occ_perception.cli.score import ARRIVED, READY

START_TIMEOUT_S = 240
"""Longest wait for the first grid: the network may have to be compiled first."""
IDLE_TIMEOUT_S = 10
LAST_GRIDS_S = 3
"""How long grids may still be under way when the nodes have ended."""


def replay(up: Sequence[str], truth: Path, due: int, out: Path) -> int:
    """Run `occ score` and `occ up` as two processes until the bag is through; 0 when the scorer has written its results to out.

    up: the words after `occ up`, with --bag. due: how many grids there should be. The nodes' log goes to out/nodes.log.
    """
    environment = {**os.environ, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    environment.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    occ = [sys.executable, '-m', 'occ_perception.cli.main']
    scorer = subprocess.Popen([*occ, 'score', '--truth', str(truth), '--expect', str(due), '--out', str(out), '--json',
                               '--start-timeout', str(START_TIMEOUT_S), '--timeout', str(IDLE_TIMEOUT_S)],
                              env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    listening = threading.Event()
    said: list[str] = []
    with tqdm(total=due, unit='grid', desc='received') as progress:
        reader = threading.Thread(target=_follow, args=(scorer, listening, progress, said), daemon=True)
        reader.start()
        nodes = None
        try:
            while not listening.wait(0.1) and scorer.poll() is None:
                pass
            with (out / 'nodes.log').open('w') as log:
                nodes = subprocess.Popen([*occ, 'up', *up, '-p', 'player.listener:=scorer'], env=environment, stdout=log,
                                         stderr=subprocess.STDOUT)
            while scorer.poll() is None and nodes.poll() is None:
                reader.join(0.2)
            if nodes.poll() == 0 and scorer.poll() is None:
                reader.join(LAST_GRIDS_S)
        finally:
            failed = nodes is not None and nodes.poll() not in (None, 0)
            for process in (scorer, nodes):
                _stop(process)
            reader.join(5)
    if failed or scorer.returncode:
        tail = (out / 'nodes.log').read_text().splitlines()[-15:] if nodes is not None else []
        print('the nodes failed:' if failed else 'there is nothing to score:', *tail, *said, sep='\n  ',
              file=sys.stderr)
        return 1
    return 0


def _follow(scorer: subprocess.Popen[str], listening: threading.Event, progress: tqdm, said: list[str]) -> None:
    """Turn what the scorer says into progress; anything else it says is kept."""
    assert scorer.stderr is not None
    for line in scorer.stderr:
        if line.startswith(READY):
            listening.set()
        elif line.startswith(ARRIVED):
            progress.update(int(line.split()[1]) - progress.n)
        else:
            said.append(line.rstrip())
    listening.set()


def _stop(process: subprocess.Popen | None) -> None:
    """End a child gently, then for sure."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

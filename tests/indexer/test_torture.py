"""SIGKILL at random moments of building, adding and cleaning up: nothing inconsistent, lost or doubled, ever."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.snapshot import current_snapshot, names_of
from indexer.verify import find_damage

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, random, signal, sys
from pathlib import Path
from indexer import build_index, plan
from indexer.manage import collect_garbage
from tests.indexer.standin import StandInPair

plan.SHARD_ROWS.update(cells=400, tiles=30)
path, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
build = lambda r, t: build_index(path, pair=StandInPair(), cell_resolution=r, tile_resolution=t)


def round():
    # a finer index, then back: rows are added and dropped, and what stands is taken over
    build(2, 0)
    build(2, 1)
    collect_garbage(path)
    build(1, 1)


if seed:
    pid = os.fork()  # everything is imported already, so the kill falls into the work itself
    if pid:
        import time
        time.sleep(rng.random() ** 2 * float(sys.argv[3]))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os._exit(0)
round()
"""


def run(path: Path, seed: int, longest_s: float) -> None:
    """One process that does the work; with a seed it is killed at a random moment."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(path), str(seed), str(longest_s)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def assert_survives(tmp_path: Path, kills: int) -> None:
    """Kill, look, go on; at the end the result is that of an undisturbed run."""
    run(tmp_path / "calm", 0, 0)
    path = tmp_path / "world"
    for seed in range(1, kills + 1):
        run(path, seed, 1.5)
        for name in names_of(path) if path.is_dir() else []:
            assert find_damage(path, name) == [], f"after kill {seed}"
    run(path, 0, 0)
    assert find_damage(path) == []
    files = {entry.name for entry in current_snapshot(path).iterdir()} - {"manifest.json"}
    for name in files:
        assert (current_snapshot(path) / name).read_bytes() == (current_snapshot(tmp_path / "calm") / name).read_bytes()
    assert not (path / "building").exists()
    assert len(list(path.glob("snap-*"))) == 1
    assert not list(path.glob("gone-*"))


def test_fifty_kills(tmp_path: Path) -> None:
    random.seed(0)
    assert_survives(tmp_path, 50)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_thousand_kills(tmp_path: Path) -> None:
    assert_survives(tmp_path, 1000)


def test_the_child_is_really_killed(tmp_path: Path) -> None:
    """The harness itself: a kill at once leaves nothing or an unfinished build."""
    run(tmp_path / "world", 7, 0.0)
    assert not (tmp_path / "world" / "current").exists()
    assert signal.SIGKILL == 9

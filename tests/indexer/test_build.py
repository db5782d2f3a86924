"""Building: killed anywhere, resumed to the same bytes; one builder at a time; trouble leaves the old index alone."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import IndexStoreError
from data.geo import all_cells, cell_key, cell_parent
from data.land import land_cells
from indexer import SearchIndex, build_index, engines
from indexer import build as build_module
from indexer.plan import Shard, plan_shards
from indexer.progress import FINISH_S_PER_ROW, Clock, Progress
from indexer.shard import Made, commit_shard
from indexer.snapshot import DATA_FILES, Manifest, current_snapshot, index_status
from indexer.verify import find_damage
from tests.indexer.standin import StandInPair

ROOT = Path(__file__).parents[2]
build_small = functools.partial(build_index, cell_resolution=2, tile_resolution=0)

SCRIPT = """
import os, signal, sys
from pathlib import Path
from indexer import build_index, plan
from tests.indexer.standin import StandInPair

plan.SHARD_ROWS.update(cells=200, tiles=10)
path, moment = sys.argv[1], int(sys.argv[2])
renames = 0

def dying(name):
    real = getattr(Path, name)
    def rename(self, target):
        global renames
        renames += 1
        if renames == moment:  # just before the file gets its name
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, target)
    setattr(Path, name, rename)

if moment:
    dying("replace")
    dying("rename")
build_index(path, pair=StandInPair(), cell_resolution=2, tile_resolution=0)
print("renames", renames)
"""


def run_build(path: Path, moment: int) -> subprocess.CompletedProcess[str]:
    """Build in a process of its own that kills itself at its n-th rename; 0 for never."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), str(moment)], capture_output=True, text=True, env=environment
    )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Data files of a build that nobody disturbed."""
    path = tmp_path_factory.mktemp("unbroken") / "world"
    done = run_build(path, 0)
    assert done.returncode == 0, done.stderr
    return data_files(path)


def data_files(path: Path) -> dict[str, bytes]:
    """Names and bytes of what must not depend on the course of the build."""
    directory = current_snapshot(path)
    return {name: (directory / name).read_bytes() for name in DATA_FILES}


def shards_of(path: Path) -> dict[str, int]:
    """Finished shards of an unfinished build and when each was written."""
    return {file.name: file.stat().st_mtime_ns for file in (path / "building" / "shards").glob("*.parquet")}


@pytest.mark.parametrize("moment", [1, 2, 7, 13, -6, -4, -2, -1])
def test_a_killed_build_resumes_to_the_same_bytes_redoing_one_shard(
    tmp_path: Path, unbroken: dict[str, bytes], moment: int
) -> None:
    """Moments count renames: the job, each shard, then six data files, the manifest, the snapshot, the pointer."""
    path = tmp_path / "world"
    ids = {r: land_cells(r) for r in (0, 2)}
    sizes = (("cells", 2, 200), ("tiles", 0, 10))
    shards = sum(len(plan_shards(kind, "x", ids[r], cell_key(ids[r]), rows=n)) for kind, r, n in sizes)
    total = 1 + shards + 6 + 3
    killed = run_build(path, moment if moment > 0 else total + 1 + moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(IndexStoreError, match="samewhere index build"):
        SearchIndex.open(path, pair=StandInPair())
    kept = shards_of(path)
    assert len(kept) == (min(shards, max(0, moment - 2)) if moment > 0 else shards)  # the one in the making is lost
    made: list[str] = []

    def counting(folder: Path, shard: Shard, *made_of: Any) -> Made:
        made.append(shard.file_name)
        return commit_shard(folder, shard, *made_of)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "commit_shard", counting)
        patch.setattr(build_module, "SHARD_ROWS", {"cells": 200, "tiles": 10})
        build_small(path, pair=StandInPair())
    assert shards - len(kept) <= len(made) <= shards - len(kept) + 1  # one may stand without its line in the ledger
    assert len(set(made) & set(kept)) <= 1
    assert data_files(path) == unbroken
    assert find_damage(path) == []
    assert sorted(entry.name for entry in path.iterdir()) == sorted(
        ["build.lock", "current", current_snapshot(path).name]
    )


def test_a_sigkill_from_outside_at_any_time(tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    path = tmp_path / "world"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), "0"], env=environment)
    while not list(path.glob("building/shards/*.parquet")) and child.poll() is None:
        pass
    child.kill()
    child.wait()
    assert run_build(path, 0).returncode == 0
    assert data_files(path) == unbroken


def test_the_fingerprint_is_that_of_what_was_built(tmp_path: Path, pair: StandInPair) -> None:
    first = build_small(tmp_path / "a", pair=pair)
    assert build_small(tmp_path / "b", pair=pair).fingerprint == first.fingerprint
    assert build_small(tmp_path / "c", pair=pair, antarctica=False).fingerprint != first.fingerprint


def test_a_complete_index_is_not_built_again_unless_forced(tmp_path: Path, pair: StandInPair) -> None:
    first = build_small(tmp_path / "a", pair=pair)
    seen: list[Progress] = []
    assert build_small(tmp_path / "a", pair=pair, progress=seen.append) == first
    assert seen == []
    (tmp_path / "a" / "building" / "shards").mkdir(parents=True)  # a kill between the switch and the cleaning up
    (tmp_path / "a" / "snap-00000").mkdir()
    assert build_small(tmp_path / "a", pair=pair) == first
    assert sorted(entry.name for entry in (tmp_path / "a").iterdir()) == ["build.lock", "current", "snap-00001"]
    forced = build_small(tmp_path / "a", pair=pair, progress=seen.append, force=True)
    assert forced.fingerprint == first.fingerprint
    assert current_snapshot(tmp_path / "a").name == "snap-00002"


def test_a_second_builder_is_told_who_the_first_is(tmp_path: Path, pair: StandInPair) -> None:
    refusals: list[str] = []

    def meanwhile(_: Progress) -> None:
        script = f"""
            from indexer import build_index
            from data.errors import IndexStoreError
            from tests.indexer.standin import StandInPair
            try:
                build_index({str(tmp_path / "a")!r}, pair=StandInPair())
            except IndexStoreError as error:
                print(error)
        """
        if not refusals:
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-c", textwrap.dedent(script)]
            refusals.append(subprocess.run(command, capture_output=True, text=True, env=environment).stdout)

    build_small(tmp_path / "a", pair=pair, progress=meanwhile)
    assert re.search(rf"Another build of .* is running \(process {os.getpid()} on ", refusals[0])
    assert find_damage(tmp_path / "a") == []


def test_unfinished_work_of_another_checkpoint_is_thrown_away(tmp_path: Path, pair: StandInPair) -> None:
    path = tmp_path / "a"

    def stop(now: Progress) -> None:
        if now.stage == "finish":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_small(path, pair=StandInPair("old", "d" * 64), progress=stop)
    status = index_status(path)
    assert status["state"] == "building"
    assert status["building"]["shards_done"] == status["building"]["shards"] > 1
    resumed: list[Progress] = []
    manifest = build_small(path, pair=pair, progress=resumed.append)
    assert resumed[0].done == 0
    assert manifest.checkpoint["name"] == "stand-in"


def test_a_damaged_shard_is_made_again(tmp_path: Path, pair: StandInPair) -> None:
    path = tmp_path / "a"

    def stop(now: Progress) -> None:
        if now.stage == "finish":
            for shard in (path / "building" / "shards").glob("cells-*"):
                shard.write_bytes(shard.read_bytes()[:-100])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_small(path, pair=pair, progress=stop)
    build_small(path, pair=pair)
    assert find_damage(path) == []


def test_a_failed_build_leaves_the_old_index_in_service(tmp_path: Path, pair: StandInPair) -> None:
    path = tmp_path / "a"
    old = build_small(path, pair=pair)
    script = f"""
        import resource, signal
        from indexer import build_index
        from tests.indexer.standin import StandInPair
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))  # a disk that takes only small files
        try:
            build_index({str(path)!r}, pair=StandInPair("new", "e" * 64), cell_resolution=2, tile_resolution=0)
        except Exception as error:
            print(type(error).__name__, error)
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    said = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    assert re.match(r"IndexStoreError Building the index at .* failed: File too large\. .*run it again\.\n$", said), (
        said
    )
    assert SearchIndex.open(path, pair=pair).manifest == old
    assert find_damage(path) == []


def test_a_full_disk_and_an_impossible_place_are_sentences(
    tmp_path: Path, pair: StandInPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexStoreError, match="Not a directory"):
        build_small(tmp_path / "file" / "index", pair=pair)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IndexStoreError, match=r"No space left on device.*Free some space"):
        build_small(tmp_path / "a", pair=pair)
    assert not list((tmp_path / "a").rglob("*.part"))


def test_progress_goes_up_and_ends_at_the_end(tmp_path: Path, pair: StandInPair) -> None:
    seen: list[Progress] = []
    build_small(tmp_path / "a", pair=pair, progress=seen.append)
    assert seen[0].stage == "prepare"
    assert [now.done for now in seen] == sorted(now.done for now in seen)
    assert seen[0].remaining_s is None
    assert (seen[-1].done, seen[-1].remaining_s, seen[-1].fraction) == (seen[-1].total, 0.0, 1.0)


def test_the_time_left_is_the_measured_rate_of_each_stage() -> None:
    clock = Clock({"cells": 1000, "tiles": 100}, resumed={"cells": 500, "tiles": 0})
    clock.record("cells", 100, 2.0)
    assert clock.progress("cells").remaining_s is None  # nobody knows yet what a tile costs
    clock.record("tiles", 10, 5.0)
    now = clock.progress("tiles")
    finish_s = 1100 * FINISH_S_PER_ROW
    assert now.remaining_s == pytest.approx(400 * 0.02 + 90 * 0.5 + finish_s)
    assert now.fraction == pytest.approx(1 - (8 + 45 + finish_s) / (20 + 50 + finish_s))
    assert now.done == 610


@settings(deadline=None)
@given(rows=st.integers(20, 3000), share=st.floats(0.01, 1), resolution=st.integers(0, 3), seed=st.integers(0, 9))
def test_shards_are_whole_parents_in_order(rows: int, share: float, resolution: int, seed: int) -> None:
    every = all_cells(resolution)
    ids = every[np.random.default_rng(seed).random(len(every)) < share]
    shards = plan_shards("cells", "cells", ids, cell_key(ids), rows=rows)
    np.testing.assert_array_equal(np.concatenate([ids[:0], *(shard.ids for shard in shards)]), ids)
    assert all(0 < len(shard.ids) < 2 * rows for shard in shards)
    coarse = [set(cell_parent(shard.ids, 0).tolist()) for shard in shards]
    if rows >= 7**resolution:
        assert sum(map(len, coarse)) == len(set().union(*coarse))  # no parent in two shards


def test_a_snapshot_itself_cannot_be_built_into(tmp_path: Path, pair: StandInPair) -> None:
    build_small(tmp_path / "a", pair=pair)
    snapshot = current_snapshot(tmp_path / "a")
    with pytest.raises(IndexStoreError, match="one snapshot"):
        build_small(snapshot, pair=pair)
    assert SearchIndex.open(snapshot, pair=pair).manifest == Manifest.read(snapshot, index=snapshot)

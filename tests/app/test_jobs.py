"""Jobs: a process of its own makes the index; it pauses, goes on, is deleted, and tells all that it knows in files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import indexer.encoder
from app import jobs, worker
from app.cli import app as cli
from data.errors import IndexStoreError, QueryError
from data.geo import BBox
from indexer.build import build_index
from indexer.job import PAUSE, JobPaused, is_running, only_writer, read_state
from indexer.snapshot import index_status
from tests.app.standin import StandInPair

ORDER = jobs.Order("stand-in", ("blue-marble",), cell_resolution=2, tile_resolution=1, bbox=BBox(-20, -40, 60, 70))


@pytest.fixture
def no_process(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Workers are noted, not started; a test does their work in this process."""
    spawned: list[Path] = []
    monkeypatch.setattr(jobs, "_spawn", spawned.append)
    monkeypatch.setattr(indexer.encoder, "load_encoder", lambda *_: StandInPair())
    return spawned


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    for _ in range(int(seconds / 0.1)):
        if what():
            return
        time.sleep(0.1)
    pytest.fail("It did not happen in time")


def test_a_job_becomes_an_index_of_its_area(no_process: list[Path]) -> None:
    jobs.start("africa", ORDER)
    assert jobs.view("africa").state == "starting"
    assert worker.work(no_process[0]) == "done"
    view = jobs.view("africa")
    assert view.state == "done"
    whole = build_index(no_process[0].parent / "whole", pair=StandInPair(), cell_resolution=2, tile_resolution=1)
    import pyarrow.parquet as pq

    tables = {
        name: pq.read_table(path, columns=["id", "lon", "lat"])
        for name in ("africa", "whole")
        for path in (no_process[0].parent / name).glob("*/cells.parquet")
    }
    lon, lat = (tables["whole"][name].to_numpy() for name in ("lon", "lat"))
    inside = (lon >= -20) & (lon <= 60) & (lat >= -40) & (lat <= 70)
    assert tables["africa"]["id"].to_pylist() == tables["whole"]["id"].filter(inside).to_pylist()
    assert view.counts is not None
    assert 0 < view.counts["cells"] < whole.counts["cells"]


def test_a_job_that_is_only_starting_counts(no_process: list[Path]) -> None:
    for name in ("one", "two"):
        jobs.start(name, ORDER)
    with pytest.raises(IndexStoreError, match="2 jobs are running"):
        jobs.start("three", ORDER)


def test_a_paused_job_goes_on_to_the_same_bytes(no_process: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.build.SHARD_ROWS", {"cells": 200, "tiles": 60})
    jobs.start("one", ORDER)
    jobs.start("other", ORDER)
    one, other = no_process
    worker.work(other)
    shards = 0

    def asked_to_pause(now: Any) -> None:
        nonlocal shards
        shards += 1
        if shards == 3:
            jobs.pause("one")

    with pytest.raises(JobPaused):
        build_index(
            one, pair=StandInPair(), progress=asked_to_pause, cell_resolution=2, tile_resolution=1, bbox=ORDER.bbox
        )
    worker.write_worker(one, state="paused")
    view = jobs.view("one")
    assert view.state == "paused"
    assert 0 < view.shards[0] < view.shards[1]
    assert 0 < view.done < view.total
    assert not (one / PAUSE).exists()
    jobs.resume("one")
    assert jobs.view("one").state == "starting"
    assert worker.work(one) == "done"
    digests = [index_status(path)["manifest"]["fingerprint"] for path in (one, other)]
    assert digests[0] == digests[1]


def test_the_shell_and_the_page_see_the_same_job(no_process: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.build.SHARD_ROWS", {"cells": 200, "tiles": 60})
    jobs.start("one", ORDER)
    seen: list[tuple[jobs.JobView, dict[str, Any]]] = []

    def look(now: Any) -> None:
        if now.stage == "tiles":
            status = json.loads(CliRunner().invoke(cli, ["index", "status", "--path", str(path), "--json"]).stdout)
            seen.append((jobs.view("one"), status["building"]))

    path = no_process[0]
    build_index(path, pair=StandInPair(), progress=look, cell_resolution=2, tile_resolution=1, bbox=ORDER.bbox)
    assert len(seen) >= 2
    for view, building in seen:
        assert view.state == "running"
        assert building["running"]
        assert building["progress"]["done"] == view.done
        assert building["progress"]["rate"] == view.rate
        assert (building["shards_done"], building["shards"]) == view.shards
    assert seen[-1][0].rate
    assert [view.done for view, _ in seen] == sorted(view.done for view, _ in seen)
    text = CliRunner().invoke(cli, ["index", "status", "--path", str(path)]).stdout
    assert "ready" in text


def test_failures_are_told_by_shard(no_process: list[Path], tmp_path: Path) -> None:
    jobs.start("one", ORDER)
    work = no_process[0] / "building"
    work.mkdir()
    line = {"shard": "tiles-x-00001.parquet", "kind": "tiles", "rows": 1, "seconds": 1.0, "failed": [["a", "too dark"]]}
    (work / "ledger.jsonl").write_text(json.dumps(line) + "\n")
    assert jobs.view("one").failures == (("tiles-x-00001.parquet", "a", "too dark"),)


def test_a_wrong_order_fails_in_words(no_process: list[Path]) -> None:
    jobs.start("sea", jobs.Order("stand-in", ("blue-marble",), 2, 1, BBox(-35, -5, -30, 5)))
    assert worker.work(no_process[0]) == "failed"
    view = jobs.view("sea")
    assert view.state == "failed"
    assert "no land" in view.error.lower()


def test_what_runs_is_not_deleted_and_what_rests_is(no_process: list[Path]) -> None:
    jobs.start("one", ORDER)
    path = no_process[0]
    worker.write_worker(path, state="paused")
    with only_writer(path):
        assert is_running(path)
        assert jobs.view("one").state == "running"
        with pytest.raises(IndexStoreError, match="running"):
            jobs.delete("one")
        with pytest.raises(IndexStoreError, match="running"):
            jobs.resume("one")
    assert not is_running(path)
    jobs.delete("one")
    assert not path.exists()
    with pytest.raises(QueryError, match="no index"):
        jobs.view("one")


def test_a_name_is_taken_once(no_process: list[Path]) -> None:
    jobs.start("one", ORDER)
    with pytest.raises(QueryError, match="already"):
        jobs.start("one", ORDER)


def test_a_killed_worker_leaves_a_job_that_can_be_resumed(home: Path) -> None:
    """A real process, killed in the middle, as by a power cut; a second one ends the job."""
    order = jobs.Order("blue-marble-l40", ("blue-marble",), 3, 2, BBox(-20, -40, 60, 70))
    jobs.start("killed", order)
    path = home / "indexes" / "killed"
    process = jobs._started[-1]
    wait_for(lambda: (read_state(path) or {}).get("done", 0) > 0, 120)
    assert process.poll() is None
    process.kill()
    process.wait()
    view = jobs.view("killed")
    assert view.state in ("stopped", "starting")
    assert view.done > 0
    worker.write_worker(path, state="failed", error=None)
    jobs.resume("killed")
    wait_for(lambda: jobs.view("killed").state == "done", 120)
    assert jobs._started[-1].wait(30) == 0


def test_a_worker_is_in_a_session_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        given.update(options, command=command)
        return subprocess_popen([sys.executable, "-c", ""])

    subprocess_popen = subprocess.Popen
    monkeypatch.setattr(jobs.subprocess, "Popen", popen)
    jobs.start("one", ORDER)
    assert given["start_new_session"]
    assert given["stdin"] == subprocess.DEVNULL
    assert given["command"][1:3] == ["-m", "app.worker"]
    jobs._started[-1].wait()

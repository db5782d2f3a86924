"""Batch jobs: indexes that are built by a process of their own, which anybody may watch, pause, resume and delete.

Owns the starting of workers and what the page tells of them. The state lies in the index's folder, so every server
and ``samewhere index status`` see the same, after a restart too. A worker is never killed: it is asked to pause and
stops after the shard at hand. Names come from visitors, so they are checked before they are part of a path.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from app.resources import index_names, index_path, indexes_path
from app.worker import LOG, read_worker, write_worker
from data.errors import IndexStoreError, QueryError
from data.geo import BBox
from indexer.job import JOB, PAUSE, Ledger, is_running
from indexer.snapshot import BUILDING, LOCK, NAME, index_status

State = Literal["starting", "running", "pausing", "paused", "stopped", "failed", "done"]
STARTING_S = 120.0
"""A worker that has not taken the index's lock by then has not come up."""
MOST_WORKERS = 2
"""Jobs at once; each takes a core or more."""
STATES = {
    "starting": "Starting",
    "running": "Running",
    "pausing": "Pausing after the shard at hand",
    "paused": "Paused",
    "stopped": "Stopped before its time",
    "failed": "Failed",
    "done": "Done",
}
_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Order:
    """What a job shall make.

    Attributes:
        checkpoint: name of the model.
        sources: of tiles.
        cell_resolution: H3 resolution of cells.
        tile_resolution: H3 resolution of the Blue Marble's tiles.
        bbox: the area; None for the whole Earth.
    """

    checkpoint: str
    sources: tuple[str, ...]
    cell_resolution: int = 4
    tile_resolution: int = 3
    bbox: BBox | None = None

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        box = self.bbox
        return {
            "checkpoint": self.checkpoint,
            "sources": list(self.sources),
            "cell_resolution": self.cell_resolution,
            "tile_resolution": self.tile_resolution,
            "bbox": [box.west, box.south, box.east, box.north] if box else None,
        }


@dataclass(frozen=True)
class JobView:
    """A job as the page shows it.

    Attributes:
        name: of the index, None for the embedded one.
        path: of the index.
        state: how it stands.
        fraction: 0…1 of the work.
        done: rows made.
        total: rows there will be.
        rate: rows a second, or None.
        remaining_s: seconds to go, or None.
        shards: how many of how many are made.
        failures: id and reason of rows that could not be made, by shard.
        error: why it failed, or ''.
        asked: what it was to make, as far as that is known.
        counts: rows of the finished index.
    """

    name: str | None
    path: Path
    state: State
    fraction: float = 0.0
    done: int = 0
    total: int = 0
    rate: float | None = None
    remaining_s: float | None = None
    shards: tuple[int, int] = (0, 0)
    failures: tuple[tuple[str, str, str], ...] = ()
    error: str = ""
    asked: dict[str, Any] | None = None
    counts: dict[str, int] | None = None


def start(name: str, order: Order) -> None:
    """Start a job that makes a new index.

    Raises:
        QueryError: the name cannot be used, or nothing would be made.
        IndexStoreError: too many jobs run already, or the disk refuses.
    """
    if not NAME.fullmatch(name):
        raise QueryError(f"{name[:60]!r} cannot be a name. Use letters, digits, '-', '_' and '.', as in alps-s2.")
    if name in index_names():
        raise QueryError(f"There is an index {name!r} already. Choose another name, or delete that one first.")
    if not order.sources:
        raise QueryError("Choose at least one source of tiles.")
    _need_room()
    path = indexes_path() / name
    try:
        path.mkdir(parents=True)
        (path / LOCK).touch()  # marks the folder as an index's
        write_worker(path, asked=order.as_data(), state="starting", pid=None, started=_now(), error=None)
    except OSError as error:
        raise IndexStoreError(f"{path} cannot be made ({error.strerror}). Free some space.") from error
    _spawn(path)


def resume(name: str | None) -> None:
    """Have a worker go on with a job.

    Raises:
        QueryError: there is no such index.
        IndexStoreError: it is running already, nothing is unfinished, or too many jobs run.
    """
    path = index_path(name)
    if is_running(path):
        raise IndexStoreError("That job is running already.")
    told = read_worker(path)
    if not (path / BUILDING / JOB).is_file() and (told is None or told.get("state") == "done"):
        raise IndexStoreError("Nothing of that job is unfinished.")
    _need_room()
    (path / PAUSE).unlink(missing_ok=True)
    write_worker(path, asked=told["asked"] if told else {}, state="starting", pid=None, started=_now(), error=None)
    _spawn(path)


def pause(name: str | None) -> None:
    """Ask a job to stop after the shard at hand; its work is kept.

    Raises:
        QueryError: there is no such index.
    """
    path = index_path(name)
    if is_running(path):
        (path / PAUSE).touch()


def delete(name: str) -> None:
    """Remove an index and its job, whatever it holds.

    Raises:
        QueryError: there is no such index.
        IndexStoreError: a worker is at it, or the disk refuses.
    """
    path = index_path(name)
    if is_running(path) or view(name).state == "starting":
        raise IndexStoreError("That job is running. Pause it first, then delete it.")
    try:
        gone = path.rename(path.with_name(f".gone-{name}"))
        shutil.rmtree(gone)
    except OSError as error:
        raise IndexStoreError(f"{path} cannot be removed ({error.strerror}).") from error


def jobs() -> list[JobView]:
    """Every job and every index, the embedded one first."""
    _started[:] = [process for process in _started if process.poll() is None]
    embedded = view(None)
    return ([embedded] if embedded.path.is_dir() else []) + [view(name) for name in index_names()]


def view(name: str | None) -> JobView:
    """How one job stands.

    Raises:
        QueryError: there is no such index.
    """
    path = index_path(name)
    told = read_worker(path) or {}
    status = index_status(path)
    building = status["building"]
    running = is_running(path)
    now = (building or {}).get("progress") or {}
    counts = status["manifest"]["counts"] if status["manifest"] else None
    problem = "" if status["state"] in ("ready", "building", "missing") else status["problem"]
    return JobView(
        name=name,
        path=path,
        state=_state(path, told, running=running, unfinished=building is not None, ready=status["state"] == "ready"),
        fraction=min(1.0, max(0.0, float(now.get("fraction", 0.0)))),
        done=int(now.get("done", 0)),
        total=int(now.get("total", 0)),
        rate=now.get("rate"),
        remaining_s=now.get("remaining_s"),
        shards=(building["shards_done"], building["shards"]) if building else (0, 0),
        failures=_failures(path, status["manifest"]),
        error=str(told.get("error") or problem),
        asked=told.get("asked") or None,
        counts=counts,
    )


def _state(path: Path, told: dict[str, Any], *, running: bool, unfinished: bool, ready: bool) -> State:
    if running:
        return "pausing" if (path / PAUSE).exists() else "running"
    said = told.get("state")
    if said == "starting" and _age_s(told.get("started")) < STARTING_S:
        return "starting"
    if said == "failed":
        return "failed"
    if unfinished:
        return "paused" if said == "paused" else "stopped"
    return "done" if ready else "stopped"


def _failures(path: Path, manifest: dict[str, Any] | None) -> tuple[tuple[str, str, str], ...]:
    """Shard, row and reason of what could not be made: by the running job, or else by the finished one."""
    if (path / BUILDING).is_dir():
        lines = Ledger(path / BUILDING).lines
        return tuple((shard, row, why) for shard, line in sorted(lines.items()) for row, why in line["failed"])
    return tuple(("", row, why) for row, why in (manifest or {}).get("failed", []))


def _need_room() -> None:
    paths = [index_path(None), *(index_path(name) for name in index_names())]
    if sum(is_running(path) or _is_starting(path) for path in paths) >= MOST_WORKERS:
        raise IndexStoreError(f"{MOST_WORKERS} jobs are running, which is as many as at once. Wait, or pause one.")


def _is_starting(path: Path) -> bool:
    """Whether a worker was started that does not hold the index yet."""
    told = read_worker(path) or {}
    return told.get("state") == "starting" and _age_s(told.get("started")) < STARTING_S


def _spawn(path: Path) -> None:
    """A worker in a session of its own, so that it ends neither with the tab nor with the server."""
    with (path / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.worker", str(path)],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _started.append(process)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _age_s(text: Any) -> float:
    with contextlib.suppress(TypeError, ValueError):
        return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    return float("inf")

"""The state of a job on disk: what is to be made, which shards stand, and who works on it.

Owns ``building/``: ``job.json`` says everything that another process needs to go on, ``ledger.jsonl`` has one line for
each finished shard, ``progress.json`` tells the moment. All of it is plain files, so anybody may watch. One process
works on an index at a time; whoever puts a file ``pause`` beside ``building/`` has it stop after the shard at hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import filelock
import numpy as np

from data.errors import IndexStoreError
from data.files import append_line
from indexer.files import durable, refuse_links
from indexer.plan import Shard
from indexer.progress import Progress
from indexer.rows import read_ids
from indexer.shard import Made
from indexer.snapshot import BUILDING, FORMAT, LOCK
from indexer.sources import BuildParameters

JOB, LEDGER, SHARDS = "job.json", "ledger.jsonl", "shards"
STATE, PAUSE = "progress.json", "pause"
OWNER = "build.owner"
WAIT_S = 1.0
"""For the lock: who only asks whether it is held has it for a moment."""


class JobPaused(IndexStoreError):  # noqa: N818  # no mistake: it was asked for
    """A job that stopped because it was asked to; its work is kept."""


@dataclass(frozen=True)
class Job:
    """What is to be made.

    Attributes:
        checkpoint: ``name``, ``fingerprint``, ``dim``.
        parameters: of the build.
        plan: digest of all that is wanted.
        shards: how many are to be made; rows that an older snapshot holds need none.
        base: the snapshot whose rows stand, or None.
        name: of the pointer that will be switched, or None for the default.
    """

    checkpoint: dict[str, Any]
    parameters: BuildParameters
    plan: str
    shards: int
    base: str | None = None
    name: str | None = None

    def open(self, index: Path) -> Path:
        """The directory of this very job, ``building/``; unfinished work of any other is thrown away.

        Shards do not depend on how they will be searched, so a job of another method goes on with them.
        """
        work = index / BUILDING
        content = {"format": FORMAT} | asdict(self)
        plain = json.loads(json.dumps(content))
        try:
            standing = json.loads((work / JOB).read_bytes())
            standing["parameters"]["method"] = self.parameters.method
            same = standing == plain
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            same = False
        if not same and work.exists():
            shutil.rmtree(work)
        (work / SHARDS).mkdir(parents=True, exist_ok=True)
        with durable(work / JOB) as file:
            file.write(json.dumps(content, indent=2).encode())
        return work

    @classmethod
    def read(cls, index: Path) -> Self:
        """The unfinished job of an index.

        Raises:
            IndexStoreError: there is none, or it is of another version.
        """
        from pydantic import TypeAdapter  # what a file holds need not be of the types that a job has

        path = index / BUILDING / JOB
        try:
            content = json.loads(path.read_bytes())
            if content.pop("format") != FORMAT:
                raise ValueError("it is of another version of Samewhere")
            return TypeAdapter(cls).validate_python(content)
        except FileNotFoundError:
            raise IndexStoreError(f"No job of {index} is unfinished: there is nothing to resume.") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:300]
            raise IndexStoreError(f"{path} cannot be resumed ({reason}). Run the build again instead.") from error


class Ledger:
    """The finished shards of a job, a line of JSON each, on the disk before the next shard counts."""

    def __init__(self, work: Path) -> None:
        """Read what is there; a last line that a kill cut short does not count, nor does any that is no entry.

        Raises:
            IndexStoreError: the disk refuses.
        """
        self._path = work / LEDGER
        self._folder = work / SHARDS
        self.lines: dict[str, dict[str, Any]] = {}
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise IndexStoreError(
                f"{self._path} cannot be read ({error.strerror}). Remove it: its shards are made again."
            ) from error
        for line in content.split(b"\n"):
            if (entry := _entry(line)) is not None:
                self.lines[entry["shard"]] = entry

    def record(self, made: Made) -> None:
        """Add a shard."""
        self.lines[made.shard] = asdict(made)
        append_line(self._path, json.dumps(asdict(made)).encode())

    def is_made(self, shard: Shard) -> bool:
        """Whether a shard's file stands and holds all its rows; one that does not, or lacks some, is made again."""
        entry = self.lines.get(shard.file_name)
        path = self._folder / shard.file_name
        if entry is None or entry["failed"] or not path.is_file():
            return False
        try:
            return np.array_equal(read_ids(path).tolist(), shard.ids.tolist())
        except (OSError, ValueError, KeyError):  # pyarrow's errors are ValueErrors
            return False

    @property
    def failed(self) -> int:
        """Rows that could not be made, of all shards so far."""
        return sum(len(line["failed"]) for line in self.lines.values())

    def failures(self, shards: Sequence[Shard]) -> list[tuple[str, str]]:
        """Rows of these shards that could not be made, with the reason."""
        lines = (self.lines.get(shard.file_name) for shard in shards)
        return [(name, reason) for line in lines if line for name, reason in line["failed"]]


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line of the ledger says, if it is one that :meth:`Ledger.record` wrote."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds = {"shard": str, "kind": str, "rows": int, "seconds": float | int, "failed": list}
    if not isinstance(entry, dict) or entry.keys() != kinds.keys():
        return None
    pairs = all(
        isinstance(one, list) and len(one) == 2 and all(isinstance(text, str) for text in one)
        for one in (entry["failed"] if isinstance(entry["failed"], list) else [None])
    )
    return entry if pairs and all(isinstance(entry[name], kind) for name, kind in kinds.items()) else None


def write_state(work: Path, now: Progress, *, failed: int) -> None:
    """Write down how far a job is; where the disk refuses, the job goes on without.

    Args:
        work: ``building/``.
        now: the moment.
        failed: rows that could not be made.
    """
    state = asdict(now) | {"rate": now.rate, "failed": failed, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    beside = work / f"{STATE}.new"
    with contextlib.suppress(OSError):
        beside.write_text(json.dumps(state), encoding="utf-8")
        os.replace(beside, work / STATE)


def read_state(index: Path) -> dict[str, Any] | None:
    """How far the unfinished job of an index was when it last said so, or None.

    Returns:
        The fields of :class:`Progress`, ``rate`` (rows a second of this run, or None), ``failed`` (rows that could not
        be made) and ``at`` (time in UTC).
    """
    try:
        state = json.loads((index / BUILDING / STATE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return state if isinstance(state, dict) and all(_fits(state, *one) for one in _STATE.items()) else None


_STATE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("done", "made", "total", "failed"), (int,)),
    **dict.fromkeys(("elapsed_s", "fraction"), (int, float)),
    **dict.fromkeys(("remaining_s", "rate"), (int, float, type(None))),
    **dict.fromkeys(("stage", "at"), (str,)),
}


def _fits(state: dict[str, Any], name: str, kinds: tuple[type, ...]) -> bool:
    value = state.get(name)
    return isinstance(value, kinds) and (not isinstance(value, float | int) or abs(value) < 1e15)  # NaN is no less


def is_running(index: Path) -> bool:
    """Whether a process works on an index at this moment."""
    if not (index / LOCK).is_file() or (index / LOCK).is_symlink():
        return False
    lock = filelock.FileLock(index / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


@contextlib.contextmanager
def only_writer(index: Path) -> Iterator[None]:
    """Hold the index's lock, which the system drops even when the process is killed.

    Raises:
        IndexStoreError: another process holds it; names that process. Or a file there is a link to elsewhere.
    """
    refuse_links(index)
    refuse_links(index / BUILDING, below=True)
    owner = index / OWNER
    lock = filelock.FileLock(index / LOCK)
    try:
        lock.acquire(timeout=WAIT_S, poll_interval=0.05)
    except filelock.Timeout:
        try:
            who = owner.read_text(encoding="utf-8").strip()
        except OSError:
            who = "an unknown process"
        raise IndexStoreError(
            f"Another build of {index} is running ({who}). Wait for it, or end it and run this again."
        ) from None
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {since}\n", encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()

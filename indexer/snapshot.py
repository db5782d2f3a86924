"""An index on disk: immutable snapshots, each with a manifest, and pointers to those that readers open.

::

    index/
      current            one line: the name of the snapshot that readers open; replaced in one step
      current-clay       likewise, of the snapshot that is kept under the name "clay"
      snap-00001/        cells.parquet  cells.arrow  cells.faiss  the same of tiles  manifest.json
      building/          an unfinished job (job.json, ledger.jsonl, shards/, snapshot/); nobody reads it but the next

Owns what makes a snapshot valid and the switch from one to the next. The manifest is written last, so a snapshot
without one is half written, and refused. A reader holds the snapshot it has opened (:mod:`indexer.hold`), and what is
held is never removed, whatever is switched meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from data.errors import IndexStoreError
from data.files import TEMPORARY
from indexer.files import disk_errors, durable, sha256, sync_directory
from indexer.hold import Hold, unheld
from indexer.home import default_index_path
from indexer.rows import KINDS

FORMAT = 2
MANIFEST = "manifest.json"
POINTER = "current"
BUILDING = "building"
LOCK = "build.lock"
DIGEST = re.compile(r"[0-9a-f]{64}")
MOST_DIMENSIONS = 1 << 16
GONE = "gone-"
"""Beginning of the name of a snapshot that is being removed."""
DATA_FILES = tuple(f"{kind}.{suffix}" for kind in KINDS for suffix in ("parquet", "arrow", "faiss"))
"""Files that every snapshot has. They are the same, byte for byte, whenever the same things are built."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def build_command(path: Path | str, *, anew: bool = False) -> str:
    """The command that makes or finishes the index at ``path``, a directory or an address of Milvus; or replaces it."""
    if isinstance(path, str) and "://" in path:
        return f"samewhere index push {path}"
    path = Path(path)
    where = "" if path == default_index_path() else f" --path {path}"
    return f"samewhere index build{where}{' --force' if anew else ''}"


@dataclass(frozen=True)
class Manifest:
    """What a snapshot holds and what made it.

    Attributes:
        format: version of this layout.
        checkpoint: ``name``, ``fingerprint`` (SHA-256 of the weights) and ``dim`` of the encoder pair. Where the
            vectors were imported, there is no pair: ``imported`` is true.
        parameters: of the build: ``cell_resolution``, ``tile_resolution``, ``antarctica``, ``sources``, ….
        plan: SHA-256 over the ids and contents that were asked for; '' where rows were removed since.
        counts: rows of ``cells`` and ``tiles``.
        sources: rows of tiles by source.
        search: by kind, how rows are searched: ``method``; "flat" compares every row that passes the filters.
        failed: ids of rows that could not be made, each with the reason.
        files: size in bytes and SHA-256 of each file.
        created: time in UTC, ISO 8601.
        fingerprint: SHA-256 over all of this but the time, which differs between equal builds.
    """

    format: int
    checkpoint: dict[str, Any]
    parameters: dict[str, Any]
    plan: str
    counts: dict[str, int]
    sources: dict[str, int]
    search: dict[str, dict[str, Any]]
    failed: list[list[str]]
    files: dict[str, dict[str, Any]]
    created: str
    fingerprint: str

    @classmethod
    def describe(
        cls,
        directory: Path,
        *,
        checkpoint: Mapping[str, Any],
        parameters: Mapping[str, Any],
        plan: str,
        counts: Mapping[str, int],
        sources: Mapping[str, int],
        search: Mapping[str, Mapping[str, Any]],
        failed: list[list[str]],
    ) -> Self:
        """Take stock of the finished files in a directory."""
        files = {
            path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
            for path in sorted(directory.iterdir())
            if path.name != MANIFEST
        }
        created = datetime.now(UTC).isoformat(timespec="seconds")
        content = {
            "checkpoint": dict(checkpoint),
            "parameters": dict(parameters),
            "plan": plan,
            "counts": dict(counts),
            "sources": dict(sources),
            "search": {kind: dict(settings) for kind, settings in search.items()},
            "failed": failed,
            "files": files,
        }
        plain = json.loads(json.dumps(content))  # as it will be read: tuples are lists
        manifest = cls(format=FORMAT, created=created, fingerprint="", **plain)
        return cls(**(asdict(manifest) | {"fingerprint": manifest.digest()}))

    def digest(self) -> str:
        """The fingerprint that belongs to the other fields."""
        content = asdict(self)
        del content["created"], content["fingerprint"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def write(self, directory: Path) -> None:
        """Write the manifest, which commits the directory as a snapshot."""
        with durable(directory / MANIFEST) as file:
            file.write(json.dumps(asdict(self), indent=2, sort_keys=True).encode() + b"\n")

    @classmethod
    def read(cls, directory: Path, *, index: Path | str) -> Self:
        """Read and check the manifest of a snapshot that belongs to the index at ``index``.

        Raises:
            IndexStoreError: there is none, it cannot be read, or it is of another version.
        """
        path = directory / MANIFEST
        if not path.is_file():
            raise IndexStoreError(
                f"{directory} has no {MANIFEST}: it is half written. Run `{build_command(index)}` to finish it."
            )
        try:
            content = json.loads(path.read_bytes())
            version = content["format"]
            if version == FORMAT:
                manifest = cls(**{name: content[name] for name in cls.__dataclass_fields__})
                intact = manifest.digest() == manifest.fingerprint and set(DATA_FILES) <= set(manifest.files)
                wrong = manifest._wrong() if intact else ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"[:300]
            raise IndexStoreError(f"{path} cannot be read ({reason}). Rebuild it: `{build_command(index)}`.") from error
        if version != FORMAT:
            raise IndexStoreError(
                f"{path} has format version {version!r}; this version of Samewhere reads version {FORMAT}. "
                f"Update Samewhere, or rebuild the index: `{build_command(index, anew=True)}`."
            )
        if not intact:
            raise IndexStoreError(
                f"{path} was changed after it was written (its fingerprint does not fit). "
                f"Rebuild the index: `{build_command(index, anew=True)}`."
            )
        if wrong:
            raise IndexStoreError(
                f"{path} is not one that Samewhere writes: {wrong}. Do not use this index; "
                f"rebuild it: `{build_command(index, anew=True)}`."
            )
        return manifest

    def _wrong(self) -> str:
        """What in a manifest cannot be so, or ''. A fingerprint that fits proves nothing: anybody can compute it."""
        known = self.checkpoint
        if not all(isinstance(known.get(key), str) for key in ("name", "fingerprint")) or not _count(known.get("dim")):
            return "its checkpoint has no name, fingerprint or number of dimensions"
        if not 0 < known["dim"] <= MOST_DIMENSIONS:
            return f"{known['dim']} dimensions"
        if set(self.counts) != set(KINDS) or not all(map(_count, [*self.counts.values(), *self.sources.values()])):
            return "its numbers of rows are none"
        for name, entry in self.files.items():
            if not NAME.fullmatch(name) or not _count(entry["size"]) or not DIGEST.fullmatch(entry["sha256"]):
                return f"the entry {name[:60]!r} is no file of a snapshot with a size and a SHA-256"
        if set(self.search) != set(KINDS) or not all(isinstance(one["method"], str) for one in self.search.values()):
            return "how its rows are searched is not said"
        if not all(len(one) == 2 and all(isinstance(text, str) for text in one) for one in self.failed):
            return "its failures are no pairs of texts"
        if not isinstance(self.parameters, dict) or not isinstance(self.created, str):
            return "its parameters or its time are none"
        return ""

    def check_checkpoint(self, name: str, fingerprint: str, *, index: Path | str) -> None:
        """Refuse the encoders of another checkpoint: their vectors would mean nothing here.

        Raises:
            IndexStoreError: names both checkpoints.
        """
        if fingerprint != self.checkpoint["fingerprint"]:
            raise IndexStoreError(
                f"The index at {index} was built by the checkpoint {self.checkpoint['name']} "
                f"({self.checkpoint['fingerprint'][:12]}), not by {name} ({fingerprint[:12]}). Use the one that built "
                f"it, or rebuild the index: `{build_command(index)}`."
            )


def _count(value: object) -> bool:
    """Whether a value is a number of something."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _is_name(name: str) -> bool:
    """Whether a snapshot may be kept under a name: one whose pointer is no file that is being written."""
    return bool(NAME.fullmatch(name)) and not name.endswith(TEMPORARY)


def pointer_of(name: str | None) -> str:
    """File name of the pointer to the snapshot that is kept under a name; the unnamed one is the default.

    Raises:
        IndexStoreError: no such name is allowed.
    """
    if name is None:
        return POINTER
    if not _is_name(name):
        raise IndexStoreError(
            f"{name!r} cannot be a snapshot's name. Use letters, digits, '-', '_' and '.', as in clay."
        )
    return f"{POINTER}-{name}"


def names_of(index: Path) -> dict[str | None, str]:
    """Every pointer of an index: the name (None for the default) and the snapshot's directory.

    What only begins like a pointer is none: above all one that is being written.
    """
    names: dict[str | None, str] = {}
    for path in sorted(index.glob(f"{POINTER}*")):
        name = path.name.removeprefix(POINTER).removeprefix("-") or None
        if (name is None or _is_name(name)) and path.name == pointer_of(name) and path.is_file():
            names[name] = path.read_text(encoding="utf-8", errors="replace").strip()
    return names


def current_snapshot(index: Path, name: str | None = None) -> Path:
    """Directory of the snapshot that readers of the index at ``index`` open.

    Args:
        index: directory of the index, or of one snapshot.
        name: under which a snapshot is kept; by default the unnamed one.

    Raises:
        IndexStoreError: there is no index, or only an unfinished one, or none of that name.
    """
    if (index / MANIFEST).is_file():  # a snapshot's own directory was named
        return index
    pointer = index / pointer_of(name)
    try:
        content = pointer.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        if name is not None and (known := [n for n in names_of(index) if n]):
            raise IndexStoreError(f"{index} has no snapshot {name!r}; it has: {', '.join(known)}.") from None
        if (index / BUILDING).is_dir() or any(index.glob("snap-*")):
            reason = "holds an unfinished build and no finished snapshot"
            action = "to finish it; what was made is kept"
        elif index.is_dir() and any(index.iterdir()):
            reason, action = f"is not an index: it has no {MANIFEST} and no pointer to one", "to build one there"
        else:
            reason = "is empty" if index.is_dir() else "is a file" if index.exists() else "does not exist"
            action = "to build an index there" if not index.is_file() else "with the path of a directory"
        raise IndexStoreError(f"{index} {reason}. Run `{build_command(index)}` {action}.") from None
    if not content.startswith("snap-") or not NAME.fullmatch(content):
        raise IndexStoreError(f"{pointer} names no snapshot. Rebuild the index: `{build_command(index)}`.")
    return index / content


def check_files(directory: Path, manifest: Manifest, *, index: Path) -> None:
    """Compare names and sizes of a snapshot's files with its manifest; contents are ``indexer.verify``'s.

    Raises:
        IndexStoreError: a file is missing or of another size.
    """
    for name, promised in manifest.files.items():
        path, expected = directory / name, promised["size"]
        if path.is_symlink():
            raise IndexStoreError(f"{path} is a link, and a snapshot holds none. Copy the file itself there.")
        seen = path.stat().st_size if path.is_file() else None
        if seen != expected:
            state = "is missing" if seen is None else f"has {seen:,} bytes where its manifest promises {expected:,}"
            raise IndexStoreError(f"{path} {state}. Rebuild the index: `{build_command(index, anew=True)}`.")


def take_hold(index: Path, name: str | None = None) -> tuple[Path, Hold]:
    """The snapshot that a pointer names, held. Between the two a job may switch to another.

    Raises:
        IndexStoreError: there is none.
    """
    for _ in range(8):
        directory = current_snapshot(index, name)
        try:
            hold = Hold(directory)
        except OSError:
            if current_snapshot(index, name) == directory:
                break
            continue
        if directory.is_dir():
            return directory, hold
        hold.release()
    Manifest.read(directory, index=index)  # says what is wrong with it
    raise IndexStoreError(f"{directory} is being removed. Open the index again.")


@contextlib.contextmanager
def held_snapshot(index: Path, name: str | None = None) -> Iterator[Path]:
    """The snapshot that a pointer names, which nobody removes within the block.

    Raises:
        IndexStoreError: there is none.
    """
    directory, hold = take_hold(index, name)
    try:
        yield directory
    finally:
        hold.release()


def publish(index: Path, staged: Path, *, name: str | None = None) -> Path:
    """Make a finished, staged snapshot the one that a pointer names, in a single step.

    Returns:
        The snapshot's directory.
    """
    numbers = [int(p.name[5:]) for p in index.glob("snap-*") if p.name[5:].isdigit()]
    directory = index / f"snap-{max(numbers, default=0) + 1:05d}"
    staged.rename(directory)
    sync_directory(index)
    with durable(index / pointer_of(name)) as file:
        file.write(f"{directory.name}\n".encode())
    return directory


def sweep(index: Path) -> list[str]:
    """Remove snapshots that no pointer names and no reader holds. Whoever calls this holds the index's lock.

    Returns:
        Names of those removed.
    """
    kept = set(names_of(index).values())
    removed = []
    for directory in sorted(index.glob("snap-*")):
        if directory.name in kept:
            continue
        with unheld(directory) as free:
            if free:
                directory.rename(index / f"{GONE}{directory.name}")  # from here on nobody can open it
                removed.append(directory.name)
    for rest in index.glob(f"{GONE}*"):  # maybe of a sweep that was killed, too
        shutil.rmtree(rest, ignore_errors=True)
    return removed


def _shards(job: Path) -> int:
    """How many shards an unfinished job has; 0 where its file does not say."""
    try:
        wanted = json.loads(job.read_bytes())["shards"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return wanted if _count(wanted) else 0


def index_status(index: Path, name: str | None = None) -> dict[str, Any]:
    """State of the index at a path, for people and scripts; reads only, and never fails on a broken index.

    Returns:
        ``path``, ``state`` ("ready", "building", "missing", "damaged"), ``problem`` (a sentence, or None), ``manifest``
        (or None), ``names`` (of the snapshots kept there) and, while an unfinished build lies there, ``building`` with
        ``shards``, ``shards_done``, ``running`` and ``progress`` (:func:`indexer.job.read_state`).

    Raises:
        IndexStoreError: the directory may not be read.
    """
    from indexer.job import is_running, read_state  # it imports this module

    status: dict[str, Any] = {"path": str(index), "state": "ready", "problem": None, "manifest": None, "building": None}
    with disk_errors(index, "Reading"):
        status["names"] = {key or "": value for key, value in names_of(index).items()} if index.is_dir() else {}
        job = index / BUILDING / "job.json"
        if job.is_file():
            done = len(list((index / BUILDING / "shards").glob("*.parquet")))
            status["building"] = {"shards": _shards(job), "shards_done": done}
            status["building"] |= {"running": is_running(index), "progress": read_state(index)}
        try:
            directory = current_snapshot(index, name)
        except IndexStoreError as error:
            return status | {"state": "building" if status["building"] else "missing", "problem": str(error)}
        try:
            manifest = Manifest.read(directory, index=index)
            check_files(directory, manifest, index=index)
        except IndexStoreError as error:
            return status | {"state": "damaged", "problem": str(error)}
    return status | {"manifest": asdict(manifest), "bytes": sum(entry["size"] for entry in manifest.files.values())}

"""An index on disk: immutable snapshots, each with a manifest, and one pointer to the current one.

::

    index/
      current            one line: the name of the snapshot that readers open; replaced in one step
      snap-00001/        cells.parquet  tiles.parquet  cells.faiss  tiles.faiss  catalogue.duckdb  manifest.json
      building/          an unfinished build (job.json, shards/, snapshot/); nobody reads it but the next build

Owns what makes a snapshot valid and the switch from one to the next. The manifest is written last, so a snapshot
without one is half written, and refused. A reader keeps the files it has opened, whatever is switched meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from data.errors import IndexStoreError
from indexer.files import disk_errors, durable, sha256, sync_directory
from indexer.home import default_index_path

FORMAT = 1
MANIFEST = "manifest.json"
POINTER = "current"
BUILDING = "building"
LOCK = "build.lock"
CATALOGUE = "catalogue.duckdb"
KINDS = ("cells", "tiles")
DATA_FILES = tuple(f"{kind}.{suffix}" for kind in KINDS for suffix in ("parquet", "faiss"))
"""Files that are the same, byte for byte, whenever the same things are built. DuckDB stamps its files at random."""


def build_command(path: Path) -> str:
    """The command that makes, finishes or replaces the index at ``path``."""
    return "samewhere index build" if path == default_index_path() else f"samewhere index build --path {path}"


@dataclass(frozen=True)
class Manifest:
    """What a snapshot holds and what made it.

    Attributes:
        format: version of this layout.
        checkpoint: ``name``, ``fingerprint`` (SHA-256 of the weights) and ``dim`` of the encoder pair.
        parameters: of the build: ``cell_resolution``, ``tile_resolution``, ``antarctica``, ``tile_footprint_km``, ….
        counts: rows of ``cells`` and ``tiles``.
        files: size in bytes and SHA-256 of each file.
        created: time in UTC, ISO 8601.
        fingerprint: SHA-256 over all of this but the time and the catalogue, which differ between equal builds.
    """

    format: int
    checkpoint: dict[str, Any]
    parameters: dict[str, Any]
    counts: dict[str, int]
    files: dict[str, dict[str, Any]]
    created: str
    fingerprint: str

    @classmethod
    def describe(
        cls, directory: Path, *, checkpoint: dict[str, Any], parameters: dict[str, Any], counts: dict[str, int]
    ) -> Self:
        """Take stock of the finished files in a directory."""
        files = {
            name: {"size": (directory / name).stat().st_size, "sha256": sha256(directory / name)}
            for name in (*DATA_FILES, CATALOGUE)
        }
        manifest = cls(
            FORMAT, checkpoint, parameters, counts, files, datetime.now(UTC).isoformat(timespec="seconds"), ""
        )
        return cls(**(asdict(manifest) | {"fingerprint": manifest.digest()}))

    def digest(self) -> str:
        """The fingerprint that belongs to the other fields."""
        content = asdict(self)
        del content["created"], content["fingerprint"]
        content["files"] = {name: content["files"][name] for name in DATA_FILES}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def write(self, directory: Path) -> None:
        """Write the manifest, which commits the directory as a snapshot."""
        with durable(directory / MANIFEST) as file:
            file.write(json.dumps(asdict(self), indent=2, sort_keys=True).encode() + b"\n")

    @classmethod
    def read(cls, directory: Path, *, index: Path) -> Self:
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
                intact = manifest.digest() == manifest.fingerprint
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise IndexStoreError(
                f"{path} cannot be read ({type(error).__name__}: {error}). Rebuild it: `{build_command(index)}`."
            ) from error
        if version != FORMAT:
            raise IndexStoreError(
                f"{path} has format version {version!r}; this version of Samewhere reads version {FORMAT}. "
                f"Update Samewhere, or rebuild the index: `{build_command(index)}`."
            )
        if not intact:
            raise IndexStoreError(
                f"{path} was changed after it was written (its fingerprint does not fit). "
                f"Rebuild the index: `{build_command(index)} --force`."
            )
        return manifest

    def check_checkpoint(self, name: str, fingerprint: str, *, index: Path) -> None:
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


def current_snapshot(index: Path) -> Path:
    """Directory of the snapshot that readers of the index at ``index`` open.

    Raises:
        IndexStoreError: there is no index, or only an unfinished one.
    """
    if (index / MANIFEST).is_file():  # a snapshot's own directory was named
        return index
    try:
        name = (index / POINTER).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        if (index / BUILDING).is_dir() or any(index.glob("snap-*")):
            reason = "holds an unfinished build and no finished snapshot"
            action = "to finish it; what was made is kept"
        elif index.is_dir() and any(index.iterdir()):
            reason, action = f"is not an index: it has no {MANIFEST} and no pointer to one", "to build one there"
        else:
            reason = "is empty" if index.is_dir() else "is a file" if index.exists() else "does not exist"
            action = "to build an index there" if not index.is_file() else "with the path of a directory"
        raise IndexStoreError(f"{index} {reason}. Run `{build_command(index)}` {action}.") from None
    if not name.startswith("snap-") or Path(name).name != name:
        raise IndexStoreError(f"{index / POINTER} names no snapshot. Rebuild the index: `{build_command(index)}`.")
    return index / name


def check_files(directory: Path, manifest: Manifest, *, index: Path) -> None:
    """Compare names and sizes of a snapshot's files with its manifest; contents are ``indexer.verify``'s.

    Raises:
        IndexStoreError: a file is missing or of another size.
    """
    for name in (*DATA_FILES, CATALOGUE):
        path, expected = directory / name, manifest.files[name]["size"]
        seen = path.stat().st_size if path.is_file() else None
        if seen != expected:
            state = "is missing" if seen is None else f"has {seen:,} bytes where its manifest promises {expected:,}"
            raise IndexStoreError(f"{path} {state}. Rebuild the index: `{build_command(index)} --force`.")


def publish(index: Path, staged: Path) -> Path:
    """Make a finished, staged snapshot the current one in a single step, then remove what no reader can reach.

    Returns:
        The snapshot's directory.
    """
    numbers = [int(p.name[5:]) for p in index.glob("snap-*") if p.name[5:].isdigit()]
    directory = index / f"snap-{max(numbers, default=0) + 1:05d}"
    staged.rename(directory)
    sync_directory(index)
    with durable(index / POINTER) as file:
        file.write(f"{directory.name}\n".encode())
    sweep(index)
    return directory


def sweep(index: Path) -> None:
    """Remove snapshots that are not the current one. Their open files stay readable to whoever has them open."""
    current = current_snapshot(index)
    for directory in index.glob("snap-*"):
        if directory != current:
            shutil.rmtree(directory, ignore_errors=True)


def index_status(index: Path) -> dict[str, Any]:
    """State of the index at a path, for people and scripts; reads only, and never fails on a broken index.

    Returns:
        ``path``, ``state`` ("ready", "building", "missing", "damaged"), ``problem`` (a sentence, or None), ``manifest``
        (or None) and, while an unfinished build lies there, ``building`` with ``shards`` and ``shards_done``.
    """
    status: dict[str, Any] = {"path": str(index), "state": "ready", "problem": None, "manifest": None, "building": None}
    with disk_errors(index, "Reading"):
        job = index / BUILDING / "job.json"
        if job.is_file():
            done = len(list((index / BUILDING / "shards").glob("*.parquet")))
            status["building"] = {"shards": json.loads(job.read_bytes())["shards"], "shards_done": done}
        try:
            directory = current_snapshot(index)
        except IndexStoreError as error:
            return status | {"state": "building" if status["building"] else "missing", "problem": str(error)}
        try:
            manifest = Manifest.read(directory, index=index)
            check_files(directory, manifest, index=index)
        except IndexStoreError as error:
            return status | {"state": "damaged", "problem": str(error)}
    return status | {"manifest": asdict(manifest), "bytes": sum(entry["size"] for entry in manifest.files.values())}

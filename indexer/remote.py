"""Indexes in object stores: push a snapshot, fetch the current one.

::

    s3://bucket/folder/
      snap-0123456789abcdef/    the snapshot's files, then manifest.json; the first 16 digits of its fingerprint
      current-000007            names a snapshot, and its manifest's SHA-256; the highest number is the current one

Owns that layout. Nothing is overwritten: a snapshot's manifest comes after its files and a pointer after the manifest,
each by put-if-absent, so whoever reads meets whole snapshots only, and of two who push at once both are kept, one after
the other. Nothing that comes from a store is trusted before its size and SHA-256 are those that were promised.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from data.errors import IndexStoreError
from data.files import TEMPORARY
from data.home import home
from indexer.files import disk_errors, durable, sha256, sync_directory
from indexer.object_store import ObjectStore, is_plain_name, sha256_of
from indexer.snapshot import MANIFEST, POINTER, held_snapshot, sweep

BLOCK_BYTES = 1 << 24
MANIFEST_BYTES = 1 << 24
POINTER_BYTES = 1 << 16
ATTEMPTS = 100
_POINTER = re.compile(r"current-(\d{6,9})")

Progress = Callable[[int, int], None]
"""Is told bytes done and bytes in all."""


@dataclass(frozen=True)
class _Promise:
    """What a manifest says of its snapshot."""

    fingerprint: str
    files: dict[str, tuple[int, str]]

    @property
    def folder(self) -> str:
        return f"snap-{self.fingerprint[:16]}"

    @property
    def size(self) -> int:
        return sum(size for size, _ in self.files.values())

    @classmethod
    def read(cls, content: bytes, *, where: str) -> _Promise:
        """Raises IndexStoreError where the manifest is none, or names files outside its folder."""
        try:
            manifest = json.loads(content)
            files = {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
            fingerprint = str(manifest["fingerprint"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IndexStoreError(
                f"{where} is no manifest of an index ({type(error).__name__}: {error}). Push the index again."
            ) from error
        if not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
            raise IndexStoreError(f"{where}: its fingerprint is not 64 hex digits. Push the index again.")
        for name, (size, digest) in files.items():
            fits = is_plain_name(name) and name != MANIFEST and not name.endswith(TEMPORARY)
            if not fits or size < 0 or not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise IndexStoreError(
                    f"{where}: the entry {name!r} is no file of a snapshot with a size and a SHA-256. Do not use it; "
                    "push the index again from where it was built."
                )
        return cls(fingerprint, files)


def push(index: Path, url: str, *, options: Mapping[str, Any] | None = None, progress: Progress | None = None) -> str:
    """Copy the current snapshot of an index into an object store and make it the current one there.

    What is there already is not sent again, so a push that was cut off goes on where it stopped.

    Args:
        index: the index, or one of its snapshots.
        url: a folder of a store, as ``s3://bucket/folder``.
        options: see :class:`~indexer.object_store.ObjectStore`.
        progress: is told bytes done and in all.

    Returns:
        The address of the snapshot in the store.

    Raises:
        IndexStoreError: the snapshot is damaged, the store cannot be reached or written to, or holds another file in
            the place of one of the snapshot's, or it would overwrite what is there.
    """
    store = ObjectStore(url, options)
    with held_snapshot(index) as directory:
        with disk_errors(directory, "Reading"):
            manifest = (directory / MANIFEST).read_bytes()
            promise = _Promise.read(manifest, where=str(directory / MANIFEST))
            done = 0
            for name, (size, digest) in sorted(promise.files.items()):
                path = directory / name
                if not path.is_file() or path.stat().st_size != size or sha256(path) != digest:
                    raise IndexStoreError(
                        f"{path} is missing or damaged and was not pushed. Run `samewhere index verify`."
                    )
        for name, (size, _) in sorted(promise.files.items()):
            remote = f"{promise.folder}/{name}"
            if store.size(remote) is None:
                store.put(remote, directory / name)
            seen = store.size(remote)
            if seen != size:
                raise IndexStoreError(
                    f"{store.address}/{remote} has {seen or 0:,} bytes where {size:,} belong, and is not overwritten. "
                    "Remove it, or push to another folder."
                )
            done += size
            if progress is not None:
                progress(done, promise.size)
        manifest = _put_manifest(store, promise, manifest)
        _point(store, promise, manifest)
        return f"{store.address}/{promise.folder}"


def _put_manifest(store: ObjectStore, promise: _Promise, manifest: bytes) -> bytes:
    """Commit a snapshot: the bytes of the manifest that stands in the store, ours or an equal snapshot's.

    Raises:
        IndexStoreError: another snapshot stands there, or the store overwrites.
    """
    name = f"{promise.folder}/{MANIFEST}"
    if store.put(name, manifest) and store.put(name, manifest):  # the same bytes, so it does no harm
        raise IndexStoreError(
            f"{store.address} overwrites objects although it is asked not to (If-None-Match), so two who push at once "
            "would destroy each other's index. Nothing was made current. Use a store that honours it, as AWS S3, "
            "Cloudflare R2 or a recent MinIO."
        )
    there = store.read(name, 0, MANIFEST_BYTES)
    if _Promise.read(there, where=f"{store.address}/{name}") != promise:
        raise IndexStoreError(f"{store.address}/{name} is of another snapshot. Push to another folder.")
    return there


def _point(store: ObjectStore, promise: _Promise, manifest: bytes) -> None:
    """Make a committed snapshot the current one, after whatever others have made current meanwhile."""
    entry = {"size": len(manifest), "sha256": sha256_of(manifest)}
    pointer = json.dumps({"fingerprint": promise.fingerprint, "manifest": entry}, sort_keys=True).encode() + b"\n"
    for _ in range(ATTEMPTS):
        number = _newest(store)
        # Also where our own write got through and its answer was lost.
        if number and store.read(_pointer_name(number), 0, POINTER_BYTES) == pointer:
            return
        if store.put(_pointer_name(number + 1), pointer):
            return
    raise IndexStoreError(
        f"{store.address}: {ATTEMPTS} times another made its index current in the moment that this one tried. The "
        "snapshot is there; push it again later to make it current."
    )


def _newest(store: ObjectStore) -> int:
    """Number of the current pointer, 0 where there is none."""
    return max((int(found[1]) for name in store.names() if (found := _POINTER.fullmatch(name))), default=0)


def _pointer_name(number: int) -> str:
    return f"current-{number:06d}"


def fetch(url: str, cache: Path, *, options: Mapping[str, Any] | None = None, progress: Progress | None = None) -> Path:
    """Copy the current snapshot of an index in an object store into a local index, and make it the current one there.

    A fetch that was cut off goes on where it stopped; a snapshot that is here already is not read again.

    Args:
        url: a folder of a store, as ``s3://bucket/folder``.
        cache: directory of the local index; made where there is none.
        options: see :class:`~indexer.object_store.ObjectStore`.
        progress: is told bytes done and in all.

    Returns:
        Directory of the snapshot, in the local index.

    Raises:
        IndexStoreError: there is no index, the store cannot be reached, a file is not what its manifest promises, or
            the disk is full.
    """
    store = ObjectStore(url, options)
    number = _newest(store)
    if not number:
        raise IndexStoreError(f"{store.address} holds no index. Push one there, or correct the address.")
    manifest, promise = _read_manifest(store, _pointer_name(number))
    directory, staged = cache / promise.folder, cache / f"fetch-{promise.fingerprint[:16]}"
    with disk_errors(cache, "Fetching into"):
        cache.mkdir(parents=True, exist_ok=True)
        if _is_whole(directory, promise) and _points_to(cache) == directory.name:
            return directory
        with FileLock(cache / "fetch.lock"):
            if not _is_whole(directory, promise):
                if directory.exists():  # damaged: keep what is good of it
                    shutil.rmtree(staged, ignore_errors=True)
                    (directory / MANIFEST).unlink(missing_ok=True)
                    directory.rename(staged)
                staged.mkdir(exist_ok=True)
                done = 0
                for name in sorted(promise.files):
                    _copy(store, promise, name, staged, partial(_tell, progress, done, promise.size))
                    done += promise.files[name][0]
                with durable(staged / MANIFEST) as file:
                    file.write(manifest)
                staged.rename(directory)
                sync_directory(cache)
            with durable(cache / POINTER) as file:
                file.write(f"{directory.name}\n".encode())
            for left in cache.glob("fetch-*"):
                shutil.rmtree(left, ignore_errors=True)
            sweep(cache)
    return directory


def _points_to(cache: Path) -> str:
    try:
        return (cache / POINTER).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def cache_of(url: str) -> Path:
    """Where the copies of an address lie: those of others stand beside it."""
    return home() / "cache" / "indexes" / hashlib.sha256(url.encode()).hexdigest()[:16]


def _read_manifest(store: ObjectStore, name: str) -> tuple[bytes, _Promise]:
    """The manifest that a pointer names, checked against it."""
    where = f"{store.address}/{name}"
    try:
        pointer = json.loads(store.read(name, 0, POINTER_BYTES))
        fingerprint, size = str(pointer["fingerprint"]), int(pointer["manifest"]["size"])
        digest = str(pointer["manifest"]["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise IndexStoreError(
            f"{where} is no pointer to an index ({type(error).__name__}). Push the index again."
        ) from error
    remote = f"snap-{fingerprint[:16]}/{MANIFEST}"
    if not re.fullmatch(r"[0-9a-f]{64}", fingerprint) or not 0 < size <= MANIFEST_BYTES:
        raise IndexStoreError(f"{where} is no pointer to an index. Push the index again.")
    content = store.read(remote, 0, size)
    if sha256_of(content) != digest:
        raise IndexStoreError(f"{store.address}/{remote} is not what {name} promises: it was changed. Push it anew.")
    promise = _Promise.read(content, where=f"{store.address}/{remote}")
    if promise.fingerprint != fingerprint:
        raise IndexStoreError(f"{store.address}/{remote} is of another snapshot than {name} says. Push it anew.")
    return content, promise


def _is_whole(directory: Path, promise: _Promise) -> bool:
    """Whether a fetched snapshot is here, by its sizes; its contents were checked when it was fetched."""
    return (directory / MANIFEST).is_file() and all(
        (directory / name).is_file() and (directory / name).stat().st_size == size
        for name, (size, _) in promise.files.items()
    )


def _copy(store: ObjectStore, promise: _Promise, name: str, staged: Path, told: Callable[[int], None]) -> None:
    """Fetch one file, from where the last attempt stopped.

    Raises:
        IndexStoreError: twice it was not what the manifest promises.
    """
    size, digest = promise.files[name]
    path, part = staged / name, staged / (name + TEMPORARY)
    if path.is_file():
        if path.stat().st_size == size and sha256(path) == digest:
            told(size)
            return
        path.unlink()
    for fresh in (False, True):
        if fresh or (part.exists() and part.stat().st_size > size):
            part.unlink(missing_ok=True)  # what was kept may be of another file, or spoilt by a power cut
        with part.open("a+b") as file:
            file.seek(0)
            seen = hashlib.sha256()
            while block := file.read(BLOCK_BYTES):
                seen.update(block)
            at = file.tell()
            resumed = at > 0
            while at < size:
                block = store.read(f"{promise.folder}/{name}", at, min(at + BLOCK_BYTES, size))
                if not block:
                    break
                file.write(block)
                seen.update(block)
                at += len(block)
                told(at)
            file.flush()
            os.fsync(file.fileno())
        if at == size and seen.hexdigest() == digest:
            part.rename(path)
            return
        if not resumed:
            break
    part.unlink(missing_ok=True)
    raise IndexStoreError(
        f"{store.address}/{promise.folder}/{name} is not the file that its manifest promises ({size:,} bytes, SHA-256 "
        f"{digest[:12]}…): it is cut off or was changed. Push the index again, to another folder."
    )


def _tell(progress: Progress | None, before: int, total: int, done: int) -> None:
    if progress is not None:
        progress(before + done, total)

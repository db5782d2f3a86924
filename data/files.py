"""Durable writing: a file is whole under its name or not there at all.

Owns fsync, renaming and checksums. Refuses to leave a temporary file behind when writing fails; a kill may leave one,
under a name that nothing reads.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data.errors import SamewhereError

TEMPORARY = ".part"


@contextlib.contextmanager
def durable(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under ``path`` only when the block ends well, and is then on the disk."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        temporary.unlink(missing_ok=True)  # of a kill; or a link that somebody laid there, which is not followed
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file, on the disk when this returns. After a line that a kill cut short it begins a new one.

    Empty lines stand between the others: readers pass over them, as over those that were cut.
    """
    with path.open("ab") as file:
        file.write(b"\n" + line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Put a directory's entries on the disk: without this a rename may be forgotten in a power cut."""
    if os.name == "nt":  # directories cannot be opened there, and renames are journalled
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def disk_errors(path: Path, doing: str, *, kind: type[SamewhereError], full: str, denied: str) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into one sentence about ``path``.

    Args:
        path: what is worked on.
        doing: how the sentence begins, as "Writing".
        kind: class of the error.
        full: what to do where the disk is full.
        denied: what to do where it may not be written to.

    Raises:
        SamewhereError: of ``kind``: the disk is full, the directory is not writable, or the like.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = "Check the disk and run it again."
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = full
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = denied
        raise kind(f"{doing} {path} failed: {reason}. {advice}") from error

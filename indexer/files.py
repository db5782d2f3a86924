"""Trouble with an index's disk, as a sentence. Writing itself is :mod:`data.files`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from data import files
from data.errors import IndexStoreError
from data.files import durable, sha256, sync_directory

__all__ = ["disk_errors", "durable", "sha256", "sync_directory"]


def disk_errors(path: Path, doing: str) -> AbstractContextManager[None]:
    """Turn the operating system's refusals inside the block into an :class:`IndexStoreError` about ``path``."""
    return files.disk_errors(
        path,
        doing,
        kind=IndexStoreError,
        full="Free some space (an index of the whole Earth needs about 600 MB while it is built) and run it again.",
        denied="Choose a directory you may write to, with --path or SAMEWHERE_HOME.",
    )

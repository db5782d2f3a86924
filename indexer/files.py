"""Trouble with an index's disk, as a sentence. Writing itself is :mod:`data.files`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from data import files
from data.errors import IndexStoreError
from data.files import durable, sha256, sync_directory

__all__ = ["disk_errors", "durable", "refuse_links", "sha256", "sync_directory"]


def disk_errors(path: Path, doing: str) -> AbstractContextManager[None]:
    """Turn the operating system's refusals inside the block into an :class:`IndexStoreError` about ``path``."""
    return files.disk_errors(
        path,
        doing,
        kind=IndexStoreError,
        full="Free some space (an index of the whole Earth needs about 600 MB while it is built) and run it again.",
        denied="Choose a directory you may write to, with --path or SAMEWHERE_HOME.",
    )


def refuse_links(folder: Path, *, below: bool = False) -> None:
    """Refuse a folder in which a file is a link: whoever writes to it would write somewhere else.

    Args:
        folder: which need not exist.
        below: whether the folders in it are looked into too.

    Raises:
        IndexStoreError: names the link.
    """
    entries = folder.rglob("*") if below else folder.glob("*")
    link = next((path for path in entries if path.is_symlink() and (below or not path.is_dir())), None)
    if link is not None or (below and folder.is_symlink()):
        raise IndexStoreError(
            f"{link or folder} is a link to elsewhere, and an index holds none: writing to it would change another "
            "file. Remove it, or copy what it points to there."
        )

"""Holding a snapshot: as long as a reader has it open, on any thread of any process, nobody removes it.

Owns one shared lock on the manifest's file. The system drops it when the process ends, however that ends, so nothing is
ever held by the dead. Where there is no such lock (Windows) the system itself refuses to move what is open.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FILE = "manifest.json"


class Hold:
    """A snapshot that is held until :meth:`release`, or until the object is gone."""

    def __init__(self, directory: Path) -> None:
        """Take hold.

        Raises:
            OSError: there is no such snapshot, or it is being removed at this moment.
        """
        self._handle: int | None = None
        self._handle = os.open(directory / FILE, os.O_RDONLY)
        if fcntl is not None:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                self.release()
                raise
            except OSError:  # a file system without locks: what is open there is not held
                pass

    def release(self) -> None:
        """Let go; a second time does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __del__(self) -> None:
        self.release()


@contextlib.contextmanager
def unheld(directory: Path) -> Iterator[bool]:
    """Whether no reader has hold of a snapshot, and within the block none can take it.

    One without a manifest is no snapshot, and held by nobody.
    """
    if fcntl is None:
        yield True
        return
    try:
        handle = os.open(directory / FILE, os.O_RDONLY)
    except OSError:
        yield True
        return
    with contextlib.closing(os.fdopen(handle, "rb")):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True

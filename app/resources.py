"""What all sessions of one server share: the open index, its encoder, and the field's pixels. One copy, loaded once.

Owns when the heavy things are loaded: never while the first map is being drawn. ``ready_now`` looks without loading,
which ``st.cache_resource`` cannot do, so the copy is kept here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from data.errors import SamewhereError
from data.home import home
from indexer.home import default_index_path
from indexer.snapshot import BUILDING, POINTER, Manifest, current_snapshot

if TYPE_CHECKING:
    from indexer.progress import Progress
    from indexer.search import SearchIndex

PAUSES = 15
"""Tenths of a second between the first map and the loading of the model. Importing torch holds up every other thread,
and the browser is still fetching the map's files.
"""

Standing = Literal["none", "unfinished", "there"]


@dataclass(frozen=True)
class Ready:
    """An index that answers at once, and which of its cells each pixel of the field shows."""

    name: str
    index: SearchIndex
    rows: NDArray[np.int32]


_lock = threading.RLock()
_kept: dict[str, Ready] = {}


def standing(path: Path | None = None) -> Standing:
    """Whether the embedded index was never built, was being built, or is there (sound or not)."""
    path = path or default_index_path()
    if (path / POINTER).is_file():
        return "there"
    if (path / BUILDING).is_dir():
        return "unfinished"
    return "there" if path.is_dir() and any(child.is_dir() for child in path.iterdir()) else "none"


def has_tiles(path: Path | None = None) -> bool:
    """Whether the index holds tiles, that is, whether its model sees the Blue Marble. True where it cannot be told.

    The built-in model does. A SatCLIP pair sees Sentinel-2 alone, and compares in one way only.
    """
    path = path or default_index_path()
    try:
        return Manifest.read(current_snapshot(path), index=path).counts["tiles"] > 0
    except (SamewhereError, OSError):
        return True


def ready_now() -> Ready | None:
    """The index, if this process has it open; another one that was built since does not count as it."""
    return _kept.get(name_now())


def get_ready() -> Ready:
    """The index, opened and warmed up if need be.

    Raises:
        IndexStoreError: it is missing, damaged, half written or of another checkpoint.
        CheckpointError: the checkpoint that built it cannot be loaded.
        MissingDependencyError: FAISS is not installed.
    """
    name = name_now()
    with _lock:
        if name not in _kept:
            ready = _open(name)
            _kept.clear()
            _kept[name] = ready
        return _kept[name]


def forget() -> None:
    """Let the open index go, so that the next query opens it anew."""
    with _lock:
        _kept.clear()


def build(report: Callable[[Progress], None], *, anew: bool = False) -> None:
    """Build the embedded index with the embedded checkpoint, or finish building it.

    Args:
        report: called after every shard.
        anew: build even where an index stands.

    Raises:
        SamewhereError: another build is running, the disk refuses, or the checkpoint cannot be loaded.
    """
    from indexer.build import build_index
    from model import load  # torch, about two seconds

    build_index(default_index_path(), pair=load(), progress=report, force=anew)
    forget()


def name_now() -> str:
    """A name of the current snapshot: its path, and what the pointer says."""
    path = default_index_path()
    try:
        return f"{path} {(path / POINTER).read_text('utf-8').strip()}"
    except (OSError, UnicodeDecodeError):
        return f"{path} none"


def _open(name: str) -> Ready:
    from app.field_image import kept_pixel_rows
    from indexer.query import Query
    from indexer.search import SearchIndex

    index = SearchIndex.open()
    rows = kept_pixel_rows(index.cells()["id"].to_numpy(), home() / "cache")
    index.query_vector(Query.place(0, 0))  # loads the location encoder, and finds out whether it fits the index
    return Ready(name, index, rows)

"""What all sessions of one server share: open indexes, their encoders, the field's pixels, predictors. One copy each.

Owns when the heavy things are loaded: never while the first map is being drawn. ``ready_now`` looks without loading,
which ``st.cache_resource`` cannot do, so the copies are kept here. Owns which indexes there are, too: the embedded one
and those in ``SAMEWHERE_HOME/indexes``; a name is only ever compared with that list, never used as a path by itself.
"""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from data.errors import QueryError, SamewhereError
from data.home import home
from indexer.home import default_index_path
from indexer.snapshot import BUILDING, NAME, POINTER, Manifest, current_snapshot

if TYPE_CHECKING:
    from indexer.progress import Progress
    from indexer.search import SearchIndex
    from model.predict import Predictor

PAUSES = 15
"""Tenths of a second between the first map and the loading of the model. Importing torch holds up every other thread,
and the browser is still fetching the map's files.
"""
OPEN_INDEXES = 2
"""Indexes that stay open at once; whoever switches back and forth between two waits for neither."""
OPEN_PREDICTORS = 24
"""Predictors that stay in memory."""
PREDICTED = ("temperature", "precipitation")
"""Variables that are told beside hits, once their heads are there."""

Standing = Literal["none", "unfinished", "there"]


@dataclass(frozen=True)
class Ready:
    """An index that answers at once, and which of its cells each pixel of the field shows."""

    name: str
    index: SearchIndex
    rows: NDArray[np.int32]


_lock = threading.RLock()
_kept: OrderedDict[str, Ready] = OrderedDict()
_predictors: OrderedDict[tuple[str, str], tuple[int, Predictor]] = OrderedDict()
_fitting = threading.Lock()
_trouble: dict[str, str] = {}


def indexes_path() -> Path:
    """Where indexes lie that were built under a name of their own."""
    return home() / "indexes"


def index_names() -> list[str]:
    """Names of the indexes beside the embedded one, in alphabetical order; unfinished ones are among them."""
    folder = indexes_path()
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and NAME.fullmatch(path.name))


def index_path(name: str | None) -> Path:
    """Where an index lies; None is the embedded one.

    Raises:
        QueryError: there is none of this name.
    """
    if name is None:
        return default_index_path()
    if name not in index_names():
        raise QueryError(
            f"There is no index {name[:60]!r} on this machine. The page Models & data lists what there is."
        )
    return indexes_path() / name


def standing(path: Path | None = None) -> Standing:
    """Whether the embedded index was never built, was being built, or is there (sound or not)."""
    path = path or default_index_path()
    if (path / POINTER).is_file():
        return "there"
    if (path / BUILDING).is_dir():
        return "unfinished"
    return "there" if path.is_dir() and any(child.is_dir() for child in path.iterdir()) else "none"


def sees_blue_marble(manifest: Manifest | None) -> bool:
    """Whether the model of an index sees the Blue Marble. True where it cannot be told.

    The built-in model does. A SatCLIP pair sees Sentinel-2 alone, and compares in one way only.
    """
    return manifest is None or manifest.parameters.get("tile_footprint_km") is not None


def has_tiles(manifest: Manifest | None) -> bool:
    """Whether an index holds tiles. True where it cannot be told."""
    return manifest is None or manifest.counts["tiles"] > 0


def is_ours(name: str | None) -> bool:
    """Whether an index is the embedded one, made by the built-in model or unreadable: :func:`build` makes it again."""
    from model.hub import embedded_names

    if name is not None:
        return False
    manifest = manifest_at(default_index_path())
    return manifest is None or manifest.checkpoint.get("name") in embedded_names()


def manifest_at(path: Path) -> Manifest | None:
    """What an index holds; None where that cannot be read."""
    try:
        return Manifest.read(current_snapshot(path), index=path)
    except (SamewhereError, OSError):
        return None


def ready_now(index: str | None = None) -> Ready | None:
    """The index, if this process has it open; another one that was built since does not count as it."""
    return _kept.get(name_now(index))


def get_ready(index: str | None = None) -> Ready:
    """The index, opened and warmed up if need be.

    Raises:
        IndexStoreError: it is missing, damaged, half written or of another checkpoint.
        CheckpointError: the checkpoint that built it cannot be loaded.
        MissingDependencyError: FAISS is not installed.
    """
    name = name_now(index)
    with _lock:
        if name not in _kept:
            ready = _open(name, index_path(index))
            for old in [kept for kept in _kept if kept.rsplit(" ", 1)[0] == name.rsplit(" ", 1)[0]]:
                del _kept[old]  # an older snapshot of the same index
            while len(_kept) >= OPEN_INDEXES:
                _kept.popitem(last=False)
            _kept[name] = ready
            _settle()
        _kept.move_to_end(name)
        return _kept[name]


def forget() -> None:
    """Let what is open go, so that the next query opens it anew."""
    with _lock:
        _kept.clear()
        _predictors.clear()
        _trouble.clear()
        gc.unfreeze()


def predictor(ready: Ready, variable: str, *, progress: Callable[[float, str], None] | None = None) -> Predictor:
    """A predictor for the index's checkpoint, fitted if it is the first time, then shared.

    Raises:
        SamewhereError: there is no such variable, or the index's vectors were imported.
    """
    from model.predict import load_predictor

    key = (ready.index.manifest.checkpoint["fingerprint"], variable)
    with _fitting:
        if key not in _predictors or _predictors[key][0] != _written(*key):
            found = load_predictor(variable, ready.index.encoder, progress=progress)  # type: ignore[arg-type]
            _predictors[key] = _written(*key), found
            while len(_predictors) > OPEN_PREDICTORS:
                _predictors.popitem(last=False)
            _settle()
        _predictors.move_to_end(key)
        return _predictors[key][1]


def _written(fingerprint: str, variable: str) -> int:
    """When a variable's head was written, in nanoseconds; 0 where there is none yet."""
    from model.head_file import heads_path

    try:
        return (heads_path(fingerprint) / f"{variable}.safetensors").stat().st_mtime_ns
    except OSError:
        return 0


def predictors_now(ready: Ready) -> list[Predictor]:
    """The predictors of :data:`PREDICTED` that are loaded already."""
    fingerprint = ready.index.manifest.checkpoint["fingerprint"]
    return [found[1] for name in PREDICTED if (found := _predictors.get((fingerprint, name))) is not None]


def forget_predictor(ready: Ready, variable: str) -> None:
    """Let a predictor go, because its head was fitted again."""
    _predictors.pop((ready.index.manifest.checkpoint["fingerprint"], variable), None)


def made_at(ready: Ready, variable: str) -> int:
    """Which head a variable's open predictor has: a number that another one does not have."""
    kept = _predictors.get((ready.index.manifest.checkpoint["fingerprint"], variable))
    return kept[0] if kept else 0


def prepare_predictors(ready: Ready) -> None:
    """Load the predictors of :data:`PREDICTED` in the background; where that fails, hits go without."""
    if _fitting.locked() or len(predictors_now(ready)) == len(PREDICTED) or ready.name in _trouble:
        return

    def work() -> None:
        for name in PREDICTED:
            try:
                predictor(ready, name)
            except SamewhereError as error:
                _trouble[ready.name] = str(error)
                return

    threading.Thread(target=work, name="samewhere-predictors", daemon=True).start()


def build(report: Callable[[Progress], None], *, anew: bool = False) -> None:
    """Build the embedded index with the embedded checkpoint, or finish building it.

    Args:
        report: called after every shard.
        anew: build even where an index stands.

    Raises:
        SamewhereError: another build is running, the disk refuses, or the checkpoint cannot be loaded.
    """
    from indexer.build import build_index
    from indexer.sources import BLUE_MARBLE
    from model import load  # torch, about two seconds

    standing = manifest_at(default_index_path())  # its datasets' tiles are made again, too
    sources = standing.parameters.get("sources") if standing is not None else None
    build_index(default_index_path(), pair=load(), progress=report, sources=sources or (BLUE_MARBLE,), force=anew)
    forget()


def name_now(index: str | None = None) -> str:
    """A name of an index's current snapshot: its path, and what the pointer says."""
    path = index_path(index)
    try:
        return f"{path} {(path / POINTER).read_text('utf-8').strip()}"
    except (OSError, UnicodeDecodeError):
        return f"{path} none"


def _settle() -> None:
    """Tell the garbage collector that what is loaded now will stay.

    Streamlit collects garbage after every run of every session, and all others wait meanwhile. Going through the
    290,000 objects that torch and an index bring with them took half of all processor time of a query.
    """
    gc.unfreeze()  # what was dropped since is looked through once more
    gc.collect()
    gc.freeze()


def _open(name: str, path: Path) -> Ready:
    from app.field_image import kept_pixel_rows
    from indexer.query import Query
    from indexer.search import SearchIndex

    index = SearchIndex.open(path)
    rows = kept_pixel_rows(index.cells()["id"].to_numpy(), home() / "cache")
    if not index.manifest.checkpoint.get("imported"):
        index.query_vector(Query.place(0, 0))  # loads the location encoder, and finds out whether it fits the index
    return Ready(name, index, rows)

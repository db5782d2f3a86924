"""Embeddings and indexes that several benchmarks measure: made once a run, in a folder that all of its processes see.

Owns where they lie: in the folder that ``SAMEWHERE_BENCHMARKS`` names, as ``python -m benchmarks`` sets it, else in one
that is removed when the process ends. The rows are land cells of resolution 6, evenly drawn, in the order of an index,
embedded by the pair that ships; where more are wanted than there are, all cells of the Earth.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.geo import Cells, all_cells, cell_lonlat
from data.land import land_cells
from indexer.commit import commit, weightings_of
from indexer.merge import Input
from indexer.rows import ROW_GROUP, make_rows
from indexer.vectors import VectorIndex, write_vectors
from model import load

FOLDER = "SAMEWHERE_BENCHMARKS"
CHECKPOINT = "blue-marble-l40"
BATCH = 100_000
MOST = 1_000_000
"""So many cells are embedded once; fewer are some of them."""


@functools.cache
def scratch() -> Path:
    """The folder for what is made."""
    given = os.environ.get(FOLDER)
    if given:
        return Path(given)
    folder = tempfile.mkdtemp(prefix="samewhere-benchmarks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def cells(count: int) -> Cells:
    """(count,) uint64 cells in the order of an index; up to :data:`MOST` a choice of those."""
    path = scratch() / f"cells-{count}.npy"
    if not path.exists():
        if count < MOST:
            found = cells(MOST)
        else:
            found = land_cells(6, antarctica=True)
            found = found if len(found) >= count else all_cells(6)
        _save(path, found[_chosen(count, len(found))])
    return np.asarray(np.load(path, allow_pickle=False))


def _chosen(count: int, among: int) -> NDArray[np.int64]:
    return np.linspace(0, among - 1, count).astype(np.int64)


def embeddings(count: int) -> NDArray[np.float32]:
    """(count, D) float32 unit rows of :func:`cells`, mapped from a file."""
    path, all_of_them = scratch() / f"vectors-{count}.npy", scratch() / f"vectors-{MOST}.npy"
    if not path.exists() and count < MOST and all_of_them.exists():
        _save(path, np.load(all_of_them, mmap_mode="r", allow_pickle=False)[_chosen(count, MOST)])
    if not path.exists():
        pair = load(CHECKPOINT, part="location")
        lonlat = cell_lonlat(cells(count))
        partial = path.with_suffix(".part")
        rows = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=(count, pair.dim))
        for start in range(0, count, BATCH):
            rows[start : start + BATCH] = pair.encode_location(lonlat[start : start + BATCH])
        rows.flush()
        partial.rename(path)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def vector_index(count: int) -> VectorIndex:
    """The same as our exact index."""
    path = scratch() / f"vectors-{count}.faiss"
    rows = embeddings(count)
    if not path.exists():
        with path.with_suffix(".part").open("wb") as file:
            write_vectors(file, [rows], dim=rows.shape[1], count=count)
        path.with_suffix(".part").rename(path)
    return VectorIndex(path, count=count, dim=rows.shape[1])


def cells_index(count: int, *, method: str = "auto") -> Path:
    """Directory of an index of so many cells and no tiles, made as every job makes one."""
    index = scratch() / f"index-{count}-{method}"
    if (index / "current").exists():
        return index
    shutil.rmtree(index, ignore_errors=True)
    index.mkdir()
    vectors, ids, inputs = embeddings(count), cells(count), []
    for start in range(0, count, BATCH):
        some = ids[start : start + BATCH]
        rows = make_rows("cells", some, lonlat=cell_lonlat(some), vectors=np.asarray(vectors[start : start + BATCH]))
        inputs.append(Input(index / f"rows-{start}.parquet"))
        pq.write_table(rows, inputs[-1].path, row_group_size=ROW_GROUP["cells"])
    pair = load(CHECKPOINT, part="location")
    checkpoint: dict[str, Any] = {"name": pair.name, "fingerprint": pair.fingerprint, "dim": pair.dim}
    commit(
        index,
        index / "work",
        {"cells": inputs, "tiles": []},
        checkpoint=checkpoint,
        parameters={"method": method},
        plan="",
        weightings=lambda: weightings_of(pair),
    )
    for source in inputs:
        source.path.unlink()
    return index


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.with_suffix(".part").open("wb") as file:
        np.save(file, array)
    path.with_suffix(".part").rename(path)

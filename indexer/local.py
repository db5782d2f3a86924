"""A snapshot on this machine's disk as a store: mapped columns, mapped vectors, nothing read before it is needed.

Owns the way from a filter and query vectors to the best rows: filter, plan, vectors. Holds its snapshot while open.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from data.errors import IndexStoreError
from indexer.ann import AnnIndex
from indexer.encoder import Vectors
from indexer.files import disk_errors
from indexer.light import LightColumns
from indexer.planner import choose_plan
from indexer.rows import KINDS, read_light
from indexer.snapshot import Manifest, check_files, take_hold
from indexer.store import Found
from indexer.vectors import VectorIndex
from indexer.where import Where


class LocalStore(LightColumns):
    """An open snapshot; safe to use from many threads."""

    def __init__(self, index: Path, *, name: str | None = None) -> None:
        """Open the snapshot that a pointer of the index names, and hold it.

        Raises:
            IndexStoreError: it is missing, half written, damaged or of another version.
            MissingDependencyError: FAISS is not installed.
        """
        self.where = str(index)
        self._path = index
        self._reading = threading.Lock()
        with disk_errors(index, "Opening the index at"):
            self.directory, self._hold = take_hold(index, name)
            self.manifest = Manifest.read(self.directory, index=index)
            check_files(self.directory, self.manifest, index=index)
            dim = self.manifest.checkpoint["dim"]
            super().__init__({kind: self._read(kind) for kind in KINDS}, folder=self.directory)
            self._vectors: dict[str, VectorIndex] = {}
            for kind in KINDS:
                self._vectors[kind] = VectorIndex(
                    self.directory / f"{kind}.faiss",
                    count=self.manifest.counts[kind],
                    dim=dim,
                )
            self._ann = {
                kind: AnnIndex(self.directory / f"{kind}.ann", self._vectors[kind], settings)
                for kind, settings in self.manifest.search.items()
                if settings["method"] != "flat"
            }
            self._tile_file = pq.ParquetFile(self.directory / "tiles.parquet", memory_map=True)
        sizes = [self._tile_file.metadata.row_group(g).num_rows for g in range(self._tile_file.num_row_groups)]
        self._group_ends = np.cumsum(sizes, dtype=np.int64)

    def _read(self, kind: str) -> pa.Table:
        path = self.directory / f"{kind}.arrow"
        try:
            table = read_light(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise IndexStoreError(f"{path} cannot be read: {error}. Rebuild the index.") from error
        if len(table) != self.manifest.counts[kind]:
            raise IndexStoreError(
                f"{path} holds {len(table)} rows, the manifest promises {self.manifest.counts[kind]}. "
                "Rebuild the index."
            )
        return table

    def vectors(self, kind: str, rows: ArrayLike) -> Vectors:
        """(n, D) stored vectors."""
        return self._vectors[kind].take(np.asarray(rows, dtype=np.int64))

    def scores(self, kind: str, queries: Vectors) -> Vectors:
        """Exact inner products with every row: (N,) float32, the largest over the queries."""
        return self._vectors[kind].scores(queries)

    def search(self, kind: str, queries: Vectors, k: int, *, where: Where, view: str) -> Found:
        """The k best rows that pass."""
        selected = self.select(kind, where)
        count = self.manifest.counts[kind]
        dim = self.manifest.checkpoint["dim"]
        plan = choose_plan(count, dim, selected, self.manifest.search[kind], view, len(queries), k=k)
        reasons = plan.reasons
        if plan.route == "ann":
            found = self._ann[kind].search(queries, k, view=view, depth=plan.depth, among=plan.rows)
            if found is not None:
                return Found(*found, reasons)
            reasons += (f"Of the first {plan.depth:,} rows fewer than {k:,} pass, so the answer is exact.",)
        rows, scores = self._vectors[kind].search(queries, k, among=plan.rows, route=plan.exact)
        return Found(rows, scores, reasons)

    def thumbnail(self, row: int) -> bytes:
        """A tile's picture as JPEG; empty where there is none."""
        group = int(np.searchsorted(self._group_ends, row, side="right"))
        before = int(self._group_ends[group - 1]) if group else 0
        # Parquet readers are not for two threads
        with self._reading, disk_errors(self._path, "Reading a thumbnail in"):
            column = self._tile_file.read_row_group(group, columns=["thumbnail"])["thumbnail"]
        return bytes(column[row - before].as_py())

    def close(self) -> None:
        """Let go of the snapshot."""
        self._hold.release()

    def describe(self) -> dict[str, Any]:
        """How each kind is searched."""
        return dict(self.manifest.search)

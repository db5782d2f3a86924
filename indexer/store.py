"""Where the rows of an index lie and are searched: one protocol, met by a snapshot on disk.

Owns the seam. Everything above it (queries, views, spacing, hits) is the same for every store, and so are the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from numpy.typing import ArrayLike

from indexer.encoder import Vectors
from indexer.rowset import RowSet
from indexer.snapshot import Manifest
from indexer.vectors import Rows
from indexer.where import Where


@dataclass(frozen=True)
class Found:
    """The best rows of one search.

    Attributes:
        rows: (M,) int64 row numbers, best first, M <= k.
        scores: (M,) float32 inner products; with several query vectors the largest of each row's.
        plan: how they were found, for ``--explain``: one sentence a step.
    """

    rows: Rows
    scores: Vectors
    plan: tuple[str, ...] = ()


class Store(Protocol):
    """Rows of both kinds (``cells``, ``tiles``), in the order of ``indexer.rows``; row numbers count from 0."""

    @property
    def where(self) -> str:
        """Path or address, as users gave it."""

    @property
    def manifest(self) -> Manifest:
        """What the index holds and what made it."""

    def table(self, kind: str) -> pa.Table:
        """The light columns of every row."""

    def rows_of(self, kind: str, ids: list[str]) -> list[int | None]:
        """Row number of each id as users see it (hex for cells), None where there is none."""

    def take(self, kind: str, rows: ArrayLike) -> pa.Table:
        """The light columns of some rows, in the order asked."""

    def vectors(self, kind: str, rows: ArrayLike) -> Vectors:
        """(n, D) stored vectors."""

    def scores(self, kind: str, queries: Vectors) -> Vectors:
        """Exact inner products of (Q, D) queries with every row: (N,) float32, the largest of each row's."""

    def search(self, kind: str, queries: Vectors, k: int, *, where: Where, view: str) -> Found:
        """The k best rows that pass the filter, by the largest inner product with any of (Q, D) queries.

        Args:
            kind: ``cells`` or ``tiles``.
            queries: (Q, D) float32, weighted by the view already.
            k: how many; fewer come back when fewer pass.
            where: which rows may be answered.
            view: of the queries; says how far an approximate search must look.
        """

    def select(self, kind: str, where: Where) -> RowSet | None:
        """The rows that pass, or None where all do."""

    def thumbnail(self, row: int) -> bytes:
        """A tile's picture as JPEG; empty where there is none."""

    def close(self) -> None:
        """Let go of files and connections."""

    def describe(self) -> dict[str, Any]:
        """What is known of the search structures: method, recall, bytes; for ``status``."""

"""The light columns of an index as every store has them at hand: by row, by id, by filter.

Owns what does not depend on where the vectors lie, so that all stores number and filter rows alike.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from data.geo import cell_key, hex_to_cell
from indexer.rows import numbers_of, row_numbers
from indexer.rowset import RowSet
from indexer.select import RowFilter
from indexer.where import Where


class LightColumns:
    """The light columns of both kinds of rows. Many threads may use one."""

    def __init__(self, tables: Mapping[str, pa.Table], *, folder: Path = Path()) -> None:
        """Look at nothing yet.

        Args:
            tables: by kind, rows in the order of ``indexer.rows``.
            folder: of the row files, for messages.
        """
        self._tables = dict(tables)
        self._lock = threading.Lock()
        self._filters = {kind: RowFilter(folder / f"{kind}.parquet", table) for kind, table in self._tables.items()}

    def table(self, kind: str) -> pa.Table:
        """The light columns of every row."""
        return self._tables[kind]

    def rows_of(self, kind: str, ids: list[str]) -> list[int | None]:
        """Row number of each id as users see it; None where there is none."""
        if kind == "cells":
            return [self._cell_row(hex_to_cell(text)) for text in ids]
        with self._lock:
            row_of = self._row_of_tile
        return [row_of.get(text) for text in ids]

    def take(self, kind: str, rows: ArrayLike) -> pa.Table:
        """The light columns of some rows, in the order asked."""
        return self._tables[kind].take(row_numbers(rows))

    def select(self, kind: str, where: Where) -> RowSet | None:
        """The rows that pass, or None where all do."""
        return self._filters[kind].select(where)

    @cached_property
    def _row_of_tile(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self._tables["tiles"]["id"].to_pylist())}

    def _cell_row(self, cell: int) -> int | None:
        keys, ids = (numbers_of(self._tables["cells"][name]) for name in ("key", "id"))
        row = int(np.searchsorted(keys, cell_key(cell)))
        return row if row < len(ids) and int(ids[row]) == cell else None

"""Which rows may be answered, and which of the ranked ones are.

Owns the filters, which act before the nearest-neighbour search, and the spacing of hits. A filter reads no vectors:
places go by the bounds of blocks (``indexer.zones``), H3 cells by binary search on the sort key, countries, continents
and sources by the runs of equal codes, numbers and times by NumPy, other text by DuckDB; all of them over the mapped
light columns. One column of 1,000,000 numbers took DuckDB 12 ms over a Parquet file in groups of 4,096 rows, 160-330 ms
in the tiles' groups of 128 and 3-4 ms over the mapped column; NumPy takes 0.07 ms.
"""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data import atlas
from data.errors import CoordinateError, QueryError
from data.geo import EARTH_RADIUS_KM, Floats, cell_key, hex_to_cell, key_range, unit_vectors
from indexer.rows import numbers_of, row_numbers
from indexer.rowset import RowSet
from indexer.vectors import Rows
from indexer.where import Compare, Where
from indexer.zones import Zones, ascending, conditions

Mask = NDArray[np.bool_]

_OFFLINE: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
_KEPT_ANSWERS, _KEPT_BYTES = 64, 32 << 20
_NARROW = 4
"""Where at most one row in so many is left, only those rows' values are looked at."""
_SPARSE = 16
"""Where at most one row in so many passes, runs come of row numbers (0.15 ms of 1,000,000), not of a mask (2 ms)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CODES = pa.dictionary(pa.int32(), pa.string())
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class RowFilter:
    """The filters of one kind of rows. Many threads may use one.

    Answers are kept, the last used 64 of them and at most 32 MB, so the pages of one search filter once.
    """

    def __init__(self, parquet: Path, table: pa.Table) -> None:
        """Look at nothing yet.

        Args:
            parquet: the row file, for messages.
            table: its light columns, mapped (:func:`indexer.rows.read_light`).
        """
        self._parquet, self._table = parquet, table
        self._coded: dict[str, tuple[list[str], Rows, NDArray[np.int32]]] = {}
        self._sampled: dict[str, pa.ChunkedArray] = {}
        self._sampling = threading.Lock()
        self._kept: OrderedDict[Where, RowSet] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def _zones(self) -> Zones:
        return Zones(self._numbers("lon"), self._numbers("lat"))

    @cached_property
    def _duckdb(self) -> Any:
        return duckdb.connect(":memory:", config=_OFFLINE)

    def select(self, where: Where) -> RowSet | None:
        """The rows that pass a filter, or None where it filters nothing.

        Raises:
            QueryError: a condition names a column that these rows do not have, or compares text with a number.
            CoordinateError: a cell is none.
        """
        if where.is_empty:
            return None
        with self._lock:
            if where in self._kept:
                self._kept.move_to_end(where)
                return self._kept[where]
        rows = self._answer(where)
        with self._lock:
            self._kept[where] = rows
            while len(self._kept) > 1 and (
                len(self._kept) > _KEPT_ANSWERS or sum(kept.runs.nbytes for kept in self._kept.values()) > _KEPT_BYTES
            ):
                self._kept.popitem(last=False)
        return rows

    def _answer(self, where: Where) -> RowSet:
        """The rows that pass, anew."""
        compared = list(where.compare)
        if where.after is not None:
            compared.append(Compare("acquired", ">=", where.after.isoformat()))
        if where.before is not None:
            compared.append(Compare("acquired", "<", where.before.isoformat()))
        if where.max_cloud_percent is not None:
            compared.append(Compare("cloud_percent", "<=", float(where.max_cloud_percent)))
        tests = [(one, self._parameter(one)) for one in compared]  # refuses before anything is searched
        parts: list[RowSet] = []
        if where.cells is not None:
            parts.append(self._in_cells(where.cells))
        for column in ("country", "continent", "source"):
            wanted = {"country": where.countries, "continent": where.continents, "source": where.sources}[column]
            if wanted is not None:
                self._type(column)
                parts.append(self._of_code(column, set(wanted).__contains__))
        if where.climates is not None:
            parts.append(self._of_code("koppen", partial(_begins, where.climates)))
        for one, value in tests:
            if pa.types.is_dictionary(self._type(one.column)):
                compare = _OPERATORS[one.operator]
                parts.append(self._of_code(one.column, partial(_holds, compare, value)))
        if where.not_ids:
            parts.append(self._without(where.not_ids))
        if places := conditions(where):
            parts.append(self._zones.select(places))
        rows = parts.pop(0) if parts else None
        for part in parts:
            rows = part if rows is None else rows & part
        tests = [(one, value) for one, value in tests if not pa.types.is_dictionary(self._type(one.column))]
        return self._by_values(tests, rows) if tests or rows is None else rows

    def _column(self, name: str) -> pa.ChunkedArray:
        """A stored column, or what the atlas says of every row's centre, which is sampled once."""
        if name in self._table.column_names:
            return self._table[name]
        with self._sampling:
            if name not in self._sampled:
                lonlat = np.stack([self._numbers("lon"), self._numbers("lat")], axis=1)
                if name == "koppen":
                    values = pa.array(atlas.koppen(lonlat) if len(lonlat) else [], type=pa.string()).dictionary_encode()
                else:
                    known = atlas.sample(name, lonlat) if len(lonlat) else np.empty(0)
                    values = pa.array(known, type=pa.float64())
                self._sampled[name] = pa.chunked_array([values])
            return self._sampled[name]

    def _numbers(self, column: str) -> NDArray[Any]:
        """A column without nulls as an array, the mapped one where it lies in one piece."""
        return numbers_of(self._table[column])

    def _in_cells(self, cells: Sequence[int]) -> RowSet:
        """Rows whose own cell lies in any of the cells, by binary search: they stand in the order of the key."""
        for cell in cells:
            hex_to_cell(f"{cell:x}")
        first, last = key_range(np.asarray(cells, dtype=np.uint64))
        keys = self._numbers("key")
        return RowSet.from_runs(
            np.stack([np.searchsorted(keys, first, side="left"), np.searchsorted(keys, last, side="right")], axis=1)
        )

    def _of_code(self, column: str, wanted: Callable[[str], bool]) -> RowSet:
        """Rows whose text in a column of few values is wanted, by the runs of equal codes, which are found once."""
        if column not in self._coded:
            values = self._column(column)
            values = values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
            if not pa.types.is_dictionary(values.type):
                values = values.dictionary_encode()
            indices = values.indices.fill_null(-1) if values.indices.null_count else values.indices
            codes = numbers_of(pa.chunked_array([indices])).astype(np.int32, copy=False)
            starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.empty(0, dtype=np.int64)
            self._coded[column] = (values.dictionary.to_pylist(), np.r_[starts, len(codes)], codes[starts])
        names, edges, codes = self._coded[column]
        chosen = np.array([wanted(name) for name in names], dtype=np.bool_)[codes] if len(codes) else codes
        runs = np.flatnonzero(chosen)
        return RowSet.from_runs(np.stack([edges[runs], edges[runs + 1]], axis=1))

    def _without(self, ids: Sequence[str]) -> RowSet:
        """All rows but those of some ids; an id that no row has takes nothing away."""
        stored = self._table["id"]
        if pa.types.is_integer(stored.type):
            cells = np.array(sorted({cell for cell in map(_cell_or_none, ids) if cell is not None}), dtype=np.uint64)
            own, keys = self._numbers("id"), self._numbers("key")
            at = np.searchsorted(keys, cell_key(cells), side="left")
            at, cells = at[at < len(own)], cells[at < len(own)]
            rows = np.sort(at[own[at] == cells])
        else:
            rows = np.flatnonzero(np.asarray(pc.is_in(stored, value_set=pa.array(ids, type=stored.type))))
        edges = np.r_[-1, rows, self._table.num_rows].astype(np.int64)
        return RowSet.from_runs(np.stack([edges[:-1] + 1, edges[1:]], axis=1))

    def _type(self, column: str) -> pa.DataType:
        """The type of a column by name.

        Raises:
            QueryError: there is none of that name.
        """
        names = [name for name in self._table.column_names if name != "key"]
        if column not in names and column in _atlas_names():
            return _CODES if column == "koppen" else pa.float64()
        if column not in names:
            known = f"{', '.join(names)}; of the atlas: {', '.join(_atlas_names())}"
            raise QueryError(f"{self._parquet.stem} have no column {column!r}; they have: {known}.")
        return self._table.schema.field(column).type

    def _parameter(self, one: Compare) -> Any:
        """The value of a condition as its column's type holds it: a 20.1 in single precision is not above 20.1.

        Raises:
            QueryError: the value is no such thing.
        """
        kind, value, column = self._type(one.column), one.value, one.column
        is_text = isinstance(value, str)
        if kind == pa.uint64() and (column == "id" or column.startswith("parent_")):
            if not is_text or one.operator not in ("=", "!="):
                raise QueryError(f"{column} holds H3 cells: compare it by = or != with hex digits, quoted if need be.")
            return hex_to_cell(str(value))
        if pa.types.is_timestamp(kind):
            try:
                moment = datetime.fromisoformat(value if isinstance(value, str) else "")
            except ValueError as error:
                raise QueryError(f"{column} holds times and was compared with {value!r}; write 2021-06-30.") from error
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return (moment - _EPOCH) // timedelta(microseconds=1)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            if isinstance(value, str):
                raise QueryError(f"{column} holds numbers and was compared with the text {value!r}; give a number.")
            if pa.types.is_integer(kind):
                return int(value) if float(value).is_integer() and abs(value) < 1 << 62 else float(value)
            with np.errstate(over="ignore"):
                return np.asarray(value, dtype=kind.to_pandas_dtype())[()]
        if pa.types.is_dictionary(kind) or _is_text(kind):
            if not is_text:
                raise QueryError(f"{column} holds text and was compared with the number {value!r}; put it in quotes.")
            return value
        raise QueryError(f"{column} holds {kind}, which is not compared; choose a column of numbers, text or times.")

    def _by_values(self, tests: Sequence[tuple[Compare, Any]], rows: RowSet | None) -> RowSet:
        """Of some rows, or of all, those that pass every test."""
        count = self._table.num_rows
        few = rows is not None and rows.count * _NARROW <= count
        numbers = rows.rows() if rows is not None and few else None
        passing = np.ones(count if numbers is None else len(numbers), dtype=np.bool_)
        for one, value in tests:
            by = self._by_duckdb if _is_text(self._type(one.column)) else self._by_numbers
            passing &= by(one, value, numbers)
        chosen = np.flatnonzero(passing) if numbers is None else numbers[passing]
        sparse = numbers is not None or len(chosen) * _SPARSE <= count  # a mask of a few rows is none of all
        found = ascending(chosen) if sparse else RowSet.from_mask(passing)
        return found if rows is None or few else rows & found

    def _by_numbers(self, one: Compare, value: Any, rows: Rows | None) -> Mask:
        """Which of some rows, or of all, pass a condition on numbers, times or cells: NaN and missing values fail."""
        column = self._column(one.column)
        stored = numbers_of(column)
        stored = stored if rows is None else stored[rows]
        mask = np.asarray(_OPERATORS[one.operator](stored, value), dtype=np.bool_)
        if one.operator == "!=":
            mask &= ~np.isnan(stored)
        if column.null_count:
            valid = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
            mask &= valid if rows is None else valid[rows]
        return mask

    def _by_duckdb(self, one: Compare, value: Any, rows: Rows | None) -> Mask:
        """Which of some rows, or of all, pass a condition on text, in the order of code points."""
        table = self._table.select([one.column])
        table = table if rows is None else table.take(row_numbers(rows))
        name = '"' + one.column.replace('"', '""') + '"'
        with self._duckdb.cursor() as cursor:
            cursor.register("rows_", table)
            # the column's name is the schema's own, the operator is one of six, the value is a parameter
            query = f"SELECT coalesce({name} {one.operator} ?, false) AS passes FROM rows_"  # noqa: S608
            return np.asarray(cursor.execute(query, [value]).fetchnumpy()["passes"], dtype=np.bool_)


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text of many values."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _atlas_names() -> tuple[str, ...]:
    """What may be compared beside the stored columns."""
    return tuple(name for name in atlas.names() if name != "country")


def _begins(starts: Sequence[str], name: str) -> bool:
    """Whether a climate's code begins with any of the given ones."""
    return any(name.startswith(start) for start in starts if start)


def _holds(compare: Callable[[Any, Any], bool], value: str, name: str) -> bool:
    """Whether one of a column's few texts passes a condition."""
    return compare(name, value)


def _cell_or_none(text: str) -> int | None:
    """A cell's number, or None for text that is no cell."""
    try:
        return hex_to_cell(text)
    except CoordinateError:
        return None


def pick_spaced(lonlat: Floats, k: int, spacing_km: float) -> Rows:
    """Greedy choice down a ranking: each point that is at least ``spacing_km`` from all chosen before it.

    Args:
        lonlat: (M, 2) degrees, best first.
        k: stop after so many.
        spacing_km: kilometres on the sphere.

    Returns:
        Positions in the ranking, ascending, at most k.
    """
    points = unit_vectors(lonlat)
    limit = np.cos(min(spacing_km / EARTH_RADIUS_KM, np.pi))  # nearer means a larger cosine
    free = np.ones(len(points), dtype=bool)
    chosen: list[int] = []
    start = 0
    while len(chosen) < k and start < len(points):
        step = int(np.argmax(free[start:]))
        if not free[start + step]:
            break
        chosen.append(start + step)
        start += step + 1
        free[start:] &= points[start:] @ points[chosen[-1]] <= limit
    return np.array(chosen, dtype=np.int64)

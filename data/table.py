"""A user's own table of places: CSV, Parquet or GeoParquet, read with suspicion.

Owns the reading of coordinates, of a target and of feature columns, and every sentence about what is wrong with them;
each names the column and the row (the first row of data is 1). Refuses coordinates off the globe, text among numbers,
targets without anything to learn, and leaks. What can be mended is mended and noted: rows without a target are left
out, rows at one coordinate become one.
"""

from __future__ import annotations

import difflib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from data.errors import CoordinateError, TableError
from data.geo import Floats, validate_lonlat
from data.leaks import find_leak

LON_NAMES = ("lon", "longitude", "lng", "long", "decimallongitude", "x")
LAT_NAMES = ("lat", "latitude", "decimallatitude", "y")
LARGEST_BYTES = 4 << 30
MOST_COLUMNS = 5000
LONGEST_CLASS = 200
"""Letters of a class's name. Arrays of text hold as much for each row as for the longest."""
FEWEST_ROWS = 30
FEW_VALUES = 12
"""Whole numbers of at most so many different values, each ten times on average, are taken for classes."""
DEGREES = (None, "OGC:CRS84", "EPSG:4326", "EPSG:4979", "EPSG:4258")
"""Coordinate systems that are degrees, longitude first, as GeoParquet stores them."""


@dataclass(frozen=True)
class Points:
    """A table whose rows are places.

    Attributes:
        name: of the file, for messages.
        table: all columns as they were read; longitude and latitude may still be text.
        lonlat: (N, 2) degrees.
        lon: name of the column of longitudes, or of the geometry.
        lat: name of the column of latitudes, or of the geometry.
    """

    name: str
    table: pa.Table
    lonlat: Floats
    lon: str
    lat: str

    def __len__(self) -> int:
        """How many rows."""
        return len(self.lonlat)

    def numbers(self, column: str) -> Floats:
        """A column as (N,) float64, NaN where it is empty.

        Raises:
            TableError: there is no such column, or a row of it holds something else.
        """
        return _numbers(need(self.table, column, self.name), column, self.name)


@dataclass(frozen=True)
class Sample:
    """What a head is fitted on: n places with a target.

    Attributes:
        lonlat: (n, 2) degrees, no two the same.
        target: (n,) float64, or text for classes.
        features: (n, F) float64.
        kind: "regression" or "classification".
        why: how the kind was found.
        notes: sentences about what was mended.
    """

    lonlat: Floats
    target: NDArray[Any]
    features: Floats
    kind: str
    why: str
    notes: tuple[str, ...]


def read_points(
    path: Path, *, lon: str | None = None, lat: str | None = None, most_bytes: int = LARGEST_BYTES
) -> Points:
    """Read a table of places.

    Args:
        path: a ``.csv`` (also ``.tsv`` or ``.txt``; comma, semicolon or tab), ``.parquet`` or ``.geoparquet`` file.
        lon: column of longitudes; guessed, or taken from GeoParquet's points, where not given.
        lat: column of latitudes.
        most_bytes: of the file, and of what it holds when it is unpacked.

    Raises:
        TableError: the file or a column cannot be read, or it is too large.
        CoordinateError: a coordinate is missing or off the globe.
    """
    table = _read(path, most_bytes)
    if len(table) == 0:
        raise TableError(f"{path.name} has no rows.")
    names = table.column_names
    lon_name = lon or _guess(names, LON_NAMES)
    lat_name = lat or _guess(names, LAT_NAMES)
    if (lon is None and lat is None) and (lon_name is None or lat_name is None):
        points = _geometry(table, path.name)
        if points is not None:
            return points
    if lon_name is None or lat_name is None:
        missing, option = ("longitudes", "--lon") if lon_name is None else ("latitudes", "--lat")
        raise TableError(
            f"{path.name}: which column holds the {missing} is not clear; it has {_listed(names)}. "
            f"Say so with {option}."
        )
    columns = [_numbers(need(table, name, path.name), name, path.name) for name in (lon_name, lat_name)]
    lonlat = np.stack(columns, axis=1)
    _check_places(lonlat, (lon_name, lat_name), path.name)
    return Points(path.name, table, validate_lonlat(lonlat), lon_name, lat_name)


def take_sample(points: Points, target: str, *, kind: str | None = None, features: Sequence[str] = ()) -> Sample:
    """The places of a table on which a head can be fitted.

    Args:
        points: the table.
        target: column to predict.
        kind: "regression" or "classification"; found from the data where not given.
        features: columns of numbers that are known beside the place.

    Raises:
        TableError: nothing can be learned from it, or it gives its answer away.
    """
    column = need(points.table, target, points.name)
    if target in (points.lon, points.lat):
        raise TableError(f"{points.name}: the target {target!r} is a coordinate itself; choose another column.")
    found, why = (kind, "as asked for") if kind else _kind_of(column, target)
    values: NDArray[Any]
    if found == "classification":
        values = _texts(column, f"{points.name}, column {target!r}")
        there = values != ""
    else:
        values = _numbers(column, target, points.name)
        there = ~np.isnan(values)
    extra = np.empty((len(points), 0))
    if features:
        extra = np.stack([points.numbers(name) for name in features], axis=1)
    notes = []
    usable = there & np.isfinite(extra).all(axis=1)
    if not usable.all():
        first = int(np.argmin(usable))
        gap = target if not there[first] else features[int(np.argmin(np.isfinite(extra[first])))]
        notes.append(
            f"{int((~usable).sum()):,} row(s) with an empty or infinite {gap!r} or the like were left out, the first "
            f"is row {first + 1}."
        )
    rows = np.flatnonzero(usable)
    lonlat, values, extra = points.lonlat[rows], values[rows], extra[rows]
    lonlat, values, extra, merged = _merge(lonlat, values, extra, rows, found)
    notes += merged
    where = f"{points.name}, column {target!r}"
    if len(np.unique(lonlat, axis=0)) == 1 and len(rows) > 1:
        raise TableError(f"{points.name}: all {len(rows):,} rows lie at one coordinate; there is no map to learn.")
    if len(values) < FEWEST_ROWS:
        raise TableError(
            f"{where}: {len(values)} places with a value are too few to fit and to check a head; give at least "
            f"{FEWEST_ROWS}."
        )
    _check_target(values, found, where)
    leak = find_leak(values, lonlat, extra, target=target, places=(points.lon, points.lat), features=tuple(features))
    if leak:
        raise TableError(f"{points.name}: {leak}")
    return Sample(lonlat, values, extra, found, why, tuple(notes))


def need(table: pa.Table, name: str, where: str) -> pa.ChunkedArray:
    """A column by name.

    Raises:
        TableError: there is none; names the closest.
    """
    if name in table.column_names:
        return table[name]
    close = difflib.get_close_matches(name, table.column_names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise TableError(f"{where} has no column {name!r}; it has {_listed(table.column_names)}.{hint}")


def _read(path: Path, most_bytes: int) -> pa.Table:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".txt", ".parquet", ".geoparquet", ".pq"):
        raise TableError(f"{path}: give a table that ends in .csv, .tsv, .parquet or .geoparquet.")
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise TableError(f"{path} has {size:,} bytes; at most {most_bytes:,} are read. Split it.")
        if suffix in (".parquet", ".geoparquet", ".pq"):
            return _read_parquet(path, most_bytes)
        with path.open("rb") as file:
            head = file.readline(1 << 20)
        delimiter = max(",;\t", key=lambda mark: head.count(mark.encode()))
        _check_width(path, head.count(delimiter.encode()) + 1)
        table = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True),
        )
        _check_names(path, table.column_names)
        return table
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:300]
        raise TableError(f"{path} cannot be read as a table: {reason}") from error


def _read_parquet(path: Path, most_bytes: int) -> pa.Table:
    """A Parquet file, a few rows at a time: one text that stands once in the file may stand in every row."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        _check_width(path, len(schema.names))
        _check_names(path, schema.names)
        batches, held = [], 0
        for batch in file.iter_batches(batch_size=max(1, min(1 << 16, most_bytes >> 20))):
            held += batch.nbytes
            if held > most_bytes:
                raise TableError(f"{path} unpacks to more than {most_bytes:,} bytes. Leave columns out, or split it.")
            batches.append(batch)
        return pa.Table.from_batches(batches, schema=schema)


def _check_width(path: Path, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise TableError(f"{path} has {columns:,} columns; at most {MOST_COLUMNS:,} are read. Leave some out.")


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse columns that cannot be told apart, and names that are none. Names are decoded when they are asked for."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise TableError(f"{path} has several columns {twice[:LONGEST_CLASS]!r}. Rename all but one.")
    if any(len(name) > LONGEST_CLASS for name in names):
        raise TableError(f"{path} has a column whose name is longer than {LONGEST_CLASS} letters. Rename it.")


def _geometry(table: pa.Table, name: str) -> Points | None:
    """The points of a GeoParquet table, or None where it is none."""
    try:
        about = json.loads((table.schema.metadata or {})[b"geo"])
        column = str(about["primary_column"])
        system = about["columns"][column].get("crs", {"id": {"authority": "OGC", "code": "CRS84"}})
        known = None if system is None else f"{system['id']['authority']}:{system['id']['code']}"
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if known not in DEGREES:
        raise TableError(f"{name}: its geometry is in {known}, not in degrees. Convert it to EPSG:4326 first.")
    try:
        shapes = shapely.from_wkb(need(table, column, name).to_numpy(zero_copy_only=False))
    except (shapely.errors.GEOSException, TypeError, pa.ArrowException) as error:
        raise TableError(f"{name}: its geometry cannot be read ({error}).") from error
    wrong = (shapely.get_type_id(shapes) != 0) | shapely.is_empty(shapes)
    if wrong.any():
        row = int(np.argmax(wrong))
        kind = "empty" if shapes[row] is None or shapely.is_empty(shapes[row]) else f"a {shapes[row].geom_type}"
        raise TableError(f"{name}, column {column!r}, row {row + 1} is {kind}; points are wanted.")
    lonlat = shapely.get_coordinates(shapes)
    _check_places(lonlat, (column, column), name)
    return Points(name, table, validate_lonlat(lonlat), column, column)


def _check_places(lonlat: Floats, columns: tuple[str, str], name: str) -> None:
    """Refuse the first coordinate that is none, by column and row."""
    for axis, (column, low, high) in enumerate(((columns[0], -180, 360), (columns[1], -90, 90))):
        values = lonlat[:, axis]
        wrong = ~((values >= low) & (values <= high))  # NaN too
        if wrong.any():
            row = int(np.argmax(wrong))
            what = ("longitude", "latitude")[axis]
            if np.isnan(values[row]):
                raise CoordinateError(f"{name}, column {column!r}, row {row + 1}: the {what} is missing. Fill it in.")
            swapped = axis == 1 and bool(np.abs(lonlat[:, 0]).max() <= 90)
            hint = "Are longitude and latitude swapped?" if swapped else "Give decimal degrees."
            raise CoordinateError(
                f"{name}, column {column!r}, row {row + 1}: {what} {values[row]:g} is outside {low}…{high}. {hint}"
            )


def _numbers(column: pa.ChunkedArray, name: str, where: str) -> Floats:
    """A column as float64; text is read as numbers where all of it can be."""
    kind = column.type
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        return np.array(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    if pa.types.is_null(kind):
        raise TableError(f"{where}, column {name!r} is empty.")
    for row, value in enumerate(column.to_pylist()):
        if value is not None and _number(value) is None:
            raise TableError(
                f"{where}, column {name!r}, row {row + 1}: {str(value)[:40]!r} is no number. Mend it, or leave the "
                "cell empty."
            )
    return np.array([np.nan if v is None else _number(v) for v in column.to_pylist()], dtype=np.float64)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _number(value: Any) -> float | None:
    if isinstance(value, str) and not value.strip():
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: float) -> str:
    """A number as a class's name."""
    if math.isnan(value):
        return ""
    return f"{value:.0f}" if value.is_integer() else repr(value)


def _texts(column: pa.ChunkedArray, where: str) -> NDArray[np.str_]:
    """A column as classes: text, '' where it is empty; whole numbers without a point."""
    kind = column.type
    if pa.types.is_floating(kind):
        values = column.to_numpy()
        return np.array([_text(value) for value in values.astype(np.float64).tolist()], dtype=np.str_)
    texts = ["" if v is None else str(v).strip() for v in column.to_pylist()]
    if max(map(len, texts), default=0) > LONGEST_CLASS:
        row = next(number for number, text in enumerate(texts, 1) if len(text) > LONGEST_CLASS)
        raise TableError(
            f"{where}: row {row} has {len(texts[row - 1]):,} letters; a class's name has at most {LONGEST_CLASS}. "
            "Choose another column, or shorten it."
        )
    return np.array(texts, dtype=np.str_)


def _kind_of(column: pa.ChunkedArray, name: str) -> tuple[str, str]:
    """Regression or classification, and why."""
    kind = column.type
    if pa.types.is_boolean(kind):
        return "classification", f"{name!r} is true or false"
    if not _is_number(kind):
        values = [value for value in column.to_pylist() if value is not None]
        numbers = sum(_number(value) is not None for value in values)
        if numbers > len(values) / 2:
            return "regression", f"most of {name!r} are numbers"
        return "classification", f"{name!r} is text"
    different = len(pc.unique(column.drop_null()))
    if pa.types.is_integer(kind) and different <= FEW_VALUES and len(column) >= 10 * different:
        return "classification", f"{name!r} is whole numbers of {different} different values"
    return "regression", f"{name!r} is numbers"


def _check_target(values: NDArray[Any], kind: str, where: str) -> None:
    if kind == "classification":
        names = np.unique(values)
        if len(names) == 1:
            raise TableError(f"{where}: every row is {str(names[0])!r}; there must be two classes or more.")
        if len(names) > len(values) / 2:
            raise TableError(
                f"{where}: {len(names):,} different texts in {len(values):,} places are names, not classes. "
                "Choose a column whose values come back."
            )
        return
    if not np.isfinite(values).all():
        raise TableError(f"{where}: a value is infinite. Mend it, or leave the cell empty.")
    if np.ptp(values) == 0:
        raise TableError(f"{where}: it is {values[0]:g} in every row; there is nothing to learn.")


def _merge(
    lonlat: Floats, values: NDArray[Any], extra: Floats, rows: NDArray[np.intp], kind: str
) -> tuple[Floats, NDArray[Any], Floats, list[str]]:
    """Rows at one coordinate become one: the mean of numbers, the most frequent class."""
    places, first, group, counts = np.unique(lonlat, axis=0, return_index=True, return_inverse=True, return_counts=True)
    if len(places) == len(lonlat):
        return lonlat, values, extra, []
    group = group.reshape(-1)
    twin = np.flatnonzero(counts > 1)[0]
    pair = rows[np.flatnonzero(group == twin)[:2]] + 1
    how = "their mean" if kind == "regression" else "their most frequent class"
    note = (
        f"{int(counts[counts > 1].sum()):,} rows share a coordinate with another (the first are rows {pair[0]} and "
        f"{pair[1]}, at {places[twin, 0]:g}, {places[twin, 1]:g}); each such place counts once, with {how}."
    )
    if extra.shape[1]:
        extra = np.stack([np.bincount(group, column) / counts for column in extra.T], axis=1)
    if kind == "regression":
        values = np.bincount(group, values) / counts
    else:
        names, number = np.unique(values, return_inverse=True)
        pairs, votes = np.unique(group * len(names) + number, return_counts=True)
        order = np.lexsort((pairs % len(names), -votes, pairs // len(names)))  # most votes first, then by name
        winner = order[np.unique((pairs // len(names))[order], return_index=True)[1]]
        values = names[pairs[winner] % len(names)]
    by_row = np.argsort(first)  # in the table's order
    return places[by_row], values[by_row], extra[by_row] if extra.shape[1] else extra[first[by_row]], [note]


def _guess(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The first of the wanted names that is a column, whatever its case."""
    plain = {name.casefold().replace("_", "").replace(" ", ""): name for name in reversed(names)}
    return next((plain[name] for name in wanted if name in plain), None)


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more
